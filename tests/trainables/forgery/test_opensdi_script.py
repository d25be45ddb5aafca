"""The script that unpacks OpenSDI, on small Parquet files with the published columns."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from PIL import Image

from trainables.forgery import public_datasets
from trainables.forgery.config import resolve_set

SCRIPT = Path(__file__).resolve().parents[3] / "examples" / "published_sets" / "opensdi_to_set.py"


def encoded(pixels: np.ndarray, form: str = "PNG") -> dict[str, object]:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return {"bytes": buffer.getvalue(), "path": None}


@pytest.fixture
def parquets(tmp_path: Path) -> Path:
    """Two shards with photographs, edited and fully made images, four of each."""
    (tmp_path / "data").mkdir()
    random = np.random.default_rng(0)
    for shard in range(2):
        rows = []
        for number in range(2 * shard, 2 * shard + 2):
            image = random.integers(0, 256, (24, 32, 3), np.uint8)
            mask = np.zeros((24, 32), np.uint8)
            mask[4:12, 8:20] = 255
            rows += [
                {"key": f"partial/real/{number}", "image": encoded(image, "JPEG"), "mask": None, "label": 0},
                {"key": f"partial/fake/{number}", "image": encoded(image), "mask": encoded(mask), "label": 1},
                {"key": f"entire/fake/{number}", "image": encoded(image), "mask": None, "label": 1},
            ]
        parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "data" / f"flux-0000{shard}-of-00002.parquet")
    return tmp_path / "data"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_the_set_can_be_tested_on(parquets: Path, tmp_path: Path) -> None:
    said = run(parquets, tmp_path / "opensdi", "--model", "flux")
    assert said.stdout.endswith("opensdi: 4 photographs, 8 made or changed\n"), said.stderr
    section = resolve_set({"layout": "folder", "path": "opensdi", "use": "all", "size": 32})
    found = public_datasets.load(section, tmp_path, test_alone=True).test
    assert (len(found), found.label_n.sum().item()) == (12, 8)
    assert set(found.source) == {"0", "1", "2", "3"}
    shares = found.hole_share_n[found.label_n == 1]
    assert sorted({round(share, 2) for share in shares.tolist()}) == [0.13, 1.0], "a part, and the whole image"
    row = parquet.read_table(parquets / "flux-00000-of-00002.parquet").to_pylist()[0]
    assert (tmp_path / "opensdi" / "images" / "flux-000000.jpg").read_bytes() == row["image"]["bytes"]


def test_a_part_of_it(parquets: Path, tmp_path: Path) -> None:
    said = run(parquets, tmp_path / "few", "--model", "flux", "--most", 3, "--edited")
    assert said.stdout.endswith("few: 3 photographs, 3 made or changed\n"), said.stderr


def test_what_cannot_be_unpacked(parquets: Path, tmp_path: Path) -> None:
    said = run(parquets, tmp_path / "x", "--model", "sd9")
    assert said.returncode == 1
    assert "has no sd9-*.parquet\n  allowed: flux\n" in said.stderr
    assert "it has files" in run(parquets, parquets, "--model", "flux").stderr
    parquet.write_table(pa.table({"key": ["a"], "label": [0]}), parquets / "sd3-00000-of-00001.parquet")
    assert "it has no column image, but key, label" in run(parquets, tmp_path / "y", "--model", "sd3").stderr
    assert (
        "--most 0\n  why:     a set needs images"
        in run(parquets, tmp_path / "z", "--model", "flux", "--most", 0).stderr
    )


def test_a_damaged_file_is_named_and_not_read_if_enough_images_came_before(parquets: Path, tmp_path: Path) -> None:
    damaged = parquets / "flux-00001-of-00002.parquet"
    damaged.write_bytes(damaged.read_bytes()[:100])
    assert run(parquets, tmp_path / "few", "--model", "flux", "--most", 2).returncode == 0
    said = run(parquets, tmp_path / "all", "--model", "flux")
    assert said.returncode == 1
    assert f"PARQUET {damaged}\n  why:     it cannot be read" in said.stderr
