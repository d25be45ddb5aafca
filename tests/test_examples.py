"""The examples of code of one's own: they run as they are, and the documentation shows them."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from sweeps.cli import common
from sweeps.cli.main import main
from sweeps.store import layout
from sweeps.store import plans as stored_plans
from sweeps.store.local import FolderStore
from trainables import registry, schema
from trainables.data import images
from trainables.errors import TrialError
from trainables.inpaint.batch import Batch
from trainables.inpaint.task import build_method
from trainables.training.networks import build_network
from trainables.training.session import Machine

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"


@pytest.fixture
def examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder, as a user has one, and an empty cache of code."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Path(shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__")))


def test_the_sweep_runs(examples: Path, tmp_path: Path, data_root: Path) -> None:
    store = FolderStore(tmp_path / "store")
    arguments = [str(examples / "my_sweep.yaml"), "--tiny", "--store", store.uri, "--data", str(data_root)]
    assert main(["run", *arguments]) == common.DONE
    arms = {arm["name"]: arm for arm in stored_plans.require_plan(store, "my-sweep-tiny")["arms"]}
    assert {name for name, arm in arms.items() if not arm["trains"]} == {"pipeline", "onion peel", "Telea", "mean fill"}
    assert len([key for key in store.keys("trials/") if "/result/" in key]) == len(arms)
    history = {name: result_of(store, arms[name]) for name in ("base", "with my loss")}
    assert "train/my_loss" in history["with my loss"]
    assert history["base"]["train/l2_hole"] != history["with my loss"]["train/l2_hole"]
    assert {"val/my_metric", "test/my_metric", "test/my_metric_on_disc"} <= set(history["base"])


def test_the_sweep_of_a_task_runs(examples: Path, tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    assert main(["run", str(examples / "my_task.yaml"), "--tiny", "--store", store.uri]) == common.DONE
    histories = [result_of(store, arm) for arm in stored_plans.require_plan(store, "my-task-tiny")["arms"]]
    assert [history["epoch"] for history in histories] == [[1, 2]] * 3
    assert all(history["val/psnr_db"][1] > history["val/psnr_db"][0] for history in histories)


def result_of(store: FolderStore, arm: dict[str, Any]) -> dict[str, Any]:
    trial = arm["trials"]["0"]
    history: dict[str, Any] = json.loads(store.get(layout.result_key(trial["id"], trial["epochs"])))["history"]
    return history


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("(prediction - target).abs()", r"(?s)term \(own\.py:1\).*returned a tensor \(8, 3, 8, 8\)"),
        ("3.0", "returned float"),
        ("(1, 2, 3)", "returned tuple"),
    ],
)
def test_a_loss_term_that_is_no_number_is_refused(examples: Path, body: str, says: str) -> None:
    (examples / "own.py").write_text(f"def term(prediction, target): return {body}\n")
    config = schema.resolve(
        "inpaint",
        {
            "data": {"name": "cifar10", "size": 8},
            "mask": {"name": "lines"},
            "model": {"name": "./residual_network.py", "width": 4},
            "loss": {"./own.py": 1.0},
        },
        examples,
    )
    network = build_network(config["model"], 8)
    method, _ = build_method({**config, "seed": 0}, network, 8, Machine())
    with pytest.raises(TrialError, match=says):
        method.training_step(Batch.of(torch.rand(8, 3, 8, 8), torch.ones(8, 1, 8, 8)))


def test_a_torchscript_file_fills_holes(examples: Path) -> None:
    class Grey(torch.nn.Module):
        def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return image * (1 - mask) + 0.25 * mask

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch plans to remove TorchScript
        torch.jit.script(Grey()).save(examples / "lama.pt")
    config = schema.resolve(
        "inpaint",
        {
            "data": {"name": "cifar10"},
            "mask": {"name": "lines"},
            "model": {"name": "./torchscript_lama.py:lama", "file": "lama.pt"},
        },
        examples,
    )
    code = registry.model(config["model"]["name"])
    network = code.load().build(code.options(config["model"]), 20)
    image, mask = torch.rand(2, 3, 20, 20), torch.zeros(2, 1, 20, 20)
    mask[:, :, 3:9, 3:9] = 1
    (examples / "lama.pt").unlink()  # the copy that was planned is used
    assert torch.allclose(network(image, mask), torch.where(mask > 0, torch.tensor(0.25), image))


def test_the_data_set_has_different_images_in_each_split(examples: Path) -> None:
    data = {"name": "./my_data.py", "size": 16, "count": 20}
    section = schema.resolve(
        "inpaint", {"data": data, "mask": {"name": "lines"}, "model": {"name": "mean_fill"}}, examples
    )["data"]
    assert images.check(section, None) == {"train": 20, "val": 4, "test": 4}
    loaded = images.load(section, None)
    every = torch.cat([loaded.train, loaded.val, loaded.test]).flatten(1)
    assert len(every.unique(dim=0)) == 28


def test_the_documentation_shows_the_files() -> None:
    page = (ROOT / "docs" / "your-own.md").read_text(encoding="utf-8")
    shown = re.findall(r'^```python title="examples/(\w+\.py)"\n(.*?)^```$', page, re.MULTILINE | re.DOTALL)
    assert len(shown) == 7
    for name, text in shown:
        assert text.strip() == (EXAMPLES / name).read_text(encoding="utf-8").strip()


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.py")), ids=lambda file: file.name)
def test_an_example_is_short(file: Path) -> None:
    most = {"diffusion_method.py": 80, "my_task.py": 40}.get(file.name, 30)
    assert len(file.read_text().splitlines()) <= most


# --- in Python --------------------------------------------------------------------------------------------------------


def python_blocks() -> list[str]:
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def notebook() -> Any:
    import nbformat

    read = nbformat.read(EXAMPLES / "notebook.ipynb", 4)
    nbformat.validate(read)
    return read


def test_the_notebook_has_the_cells_of_the_page_and_no_outputs() -> None:
    cells = [cell for cell in notebook().cells if cell.cell_type == "code"]
    assert [cell.source.strip() for cell in cells] == [block.strip() for block in python_blocks()]
    assert [cell.outputs for cell in cells] == [[]] * len(cells)


def test_the_page_runs_as_a_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data_root: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("SWEEPS_DATA", str(data_root))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "page.py").write_text("\n\n".join(python_blocks()))
    names = runpy.run_path("page.py", run_name="__main__")
    assert names["result"].complete
    assert names["records"].groupby("arm")["epoch"].max().to_dict() == {"base": 5, "with edges": 5, "mean fill": 0}
    assert names["filled"].shape == (48, 64, 3)
    assert (tmp_path / "curves.svg").read_bytes().startswith(b"<?xml")


@pytest.mark.slow
def test_the_notebook_runs_and_shows_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data_root: Path) -> None:
    """In a kernel. Afterwards its network is edited: the same cells train it again, and only it."""
    from nbclient import NotebookClient
    from nbformat.v4 import new_code_cell

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("SWEEPS_DATA", str(data_root))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    book = notebook()
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    redefined = code[0].source.replace("torch.relu(", "torch.tanh(")
    assert redefined != code[0].source
    added = [redefined, *(cell.source for cell in code[1:4])]
    book.cells += [new_code_cell(source) for source in added]
    NotebookClient(book, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    cells = [cell for cell in book.cells if cell.cell_type == "code"]
    shown = [
        output.data["text/html"] for cell in cells for output in cell.outputs if "text/html" in output.get("data", {})
    ]
    assert "Does a loss on edges help?" in shown[0]
    assert "0 of 5 trials done, 5 to run." in shown[1]
    assert "data:image/svg+xml;base64," in shown[2]
    assert "<table" in shown[3]  # pandas
    assert "1 of 5 trials done, 4 to run." in shown[-1], "the fill is not trained again, the networks are"
    assert printed(cells[3])[:1] == ["1 of 5  done     edges: mean fill"], "fills come first"
    assert [line.split()[0] for line in printed(cells[-1])] == ["2", "3", "4", "5"]


def printed(cell: Any) -> list[str]:
    return "".join(output.text for output in cell.outputs if output.get("name") == "stdout").splitlines()
