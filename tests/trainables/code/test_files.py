"""Files that options name: part of the identity, brought from the store, and refused where they cannot be used."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from cluster.worker import user_code
from sweeps.spec.trial import digest
from sweeps.store.local import FolderStore
from trainables import registry, schema
from trainables.code import cache, files
from trainables.errors import TrialError

FILL = """
from pathlib import Path
from typing import Optional
from pydantic import FilePath

def fill(image, mask, weights: Path, other: Optional[FilePath] = None, level: float = 0.5):
    return image + float(weights.read_text()) * mask

def drawn(n, size, generator, *, table: Path = Path("table.txt")):
    import torch
    return torch.full((n, size, size), int(table.read_text()))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "own.py").write_text(FILL)
    (tmp_path / "home" / "weights.txt").write_text("0.25")
    (tmp_path / "home" / "table.txt").write_text("1")
    return tmp_path / "home"


def resolve(folder: Path, **model: Any) -> dict[str, Any]:
    config = {
        "data": {"name": "cifar10"},
        "mask": {"name": "./own.py:drawn"},
        "model": {"name": "./own.py:fill", "weights": "weights.txt", **model},
    }
    return schema.resolve("inpaint", config, folder)


def trial(resolved: dict[str, Any]) -> str:
    return digest(schema.identity("inpaint", resolved, 0))


def test_content_and_name_are_part_of_the_trial_and_the_place_is_not(folder: Path, tmp_path: Path) -> None:
    first = resolve(folder)
    assert first["model"]["weights"].startswith("weights.txt#")
    assert first["mask"]["table"].startswith("table.txt#"), "a default is a file too"
    assert first["model"]["other"] is None
    shutil.copy(folder / "weights.txt", tmp_path / "weights.txt")
    assert trial(resolve(folder, weights=str(tmp_path / "weights.txt"))) == trial(first)
    assert schema.resolve("inpaint", {**first, "epochs": 1}) == first, "planned once"
    (folder / "weights.txt").write_text("0.5")
    assert trial(resolve(folder)) != trial(first)
    assert trial(resolve(folder, other="table.txt")) != trial(resolve(folder))


def test_the_code_gets_the_file_as_it_was_planned_from_the_store(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    planned = resolve(folder)
    store = FolderStore(tmp_path / "store")
    user_code.store_code(store, "inpaint", [planned])
    shutil.rmtree(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine"))
    with pytest.raises(TrialError, match="not on this machine"):
        files.path_of(planned["model"]["weights"])
    user_code.bring_code(store, schema.code_of("inpaint", planned))
    code = registry.model(planned["model"]["name"])
    network = code.load().build(code.options(planned["model"]), 8)
    assert torch.equal(network(torch.zeros(1, 3, 8, 8), torch.ones(1, 1, 8, 8)), torch.full((1, 3, 8, 8), 0.25))

    copy = files.path_of(planned["model"]["weights"])
    copy.write_text("0.75")
    with pytest.raises(TrialError, match="has been changed in the cache"):
        files.path_of(planned["model"]["weights"])


@pytest.mark.parametrize(
    ("given", "why"),
    [("none.txt", "No such file"), (".", "cannot be read"), ("a#b.txt", "has a `#`"), ("large.bin", "GB")],
)
def test_files_that_cannot_be_used(folder: Path, given: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "a#b.txt").write_text("1")
    (folder / "large.bin").write_bytes(b"0" * 64)
    monkeypatch.setattr(files, "MOST_BYTES", 63)
    with pytest.raises(TrialError) as caught:
        resolve(folder, weights=given)
    assert given in caught.value.given
    assert why in caught.value.why
    assert all((caught.value.allowed, caught.value.fix))


@pytest.mark.parametrize("hostile", ["../evil#0123456789abcdef", "..#0123456789abcdef", "/etc/passwd", "x#0123"])
def test_a_name_from_a_store_cannot_leave_the_cache(folder: Path, hostile: str) -> None:
    planned = resolve(folder)
    code = registry.model(planned["model"]["name"])
    with pytest.raises(TrialError):
        code.options({**planned["model"], "weights": hostile})
    assert cache.cache_folder().is_dir()
