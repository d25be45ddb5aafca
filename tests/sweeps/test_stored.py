"""A sweep that is made of Python objects, run, and read as objects; what a notebook shows of it."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import sweeps as sw
from sweeps.api import display, mappings
from sweeps.errors import SweepError, UnknownNameError
from sweeps.spec import loader, yaml_document
from sweeps.store.local import FolderStore
from trainables.errors import TrialError

NAME = "<b>mean</b> & fill"
BASE: dict[str, Any] = {
    "data": {"name": "cifar10", "train": 8, "val": 4, "test": 4},
    "mask": {"name": "centre", "fraction": 0.25},
    "model": {"name": "vanilla_autoencoder", "width": 4},
    "batch": 4,
    "epochs": 2,
}
SWEEP: dict[str, Any] = {
    "name": "small",
    "task": "inpaint",
    "base": BASE,
    "seeds": 2,
    "arms": [{"name": NAME, "set": {"model": {"name": "mean_fill"}}}],
    "claims": [{"text": "it <i>learns</i>", "metric": "test/psnr_db", "better": "base", "than": NAME}],
}
Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, data_root: Path) -> sw.OpenedStore:
    """A store with the sweep."""
    made = sw.open(tmp_path_factory.mktemp("store"))
    options = sw.RunOptions(address="in-process", data=data_root)
    assert sw.run(sw.load(SWEEP, question="Is it <better>?"), made, options).complete
    return made


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a script as `__main__` in an empty folder, with `SWEEP` and `sw`; returns its names."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def run(text: str, **names: Any) -> dict[str, Any]:
        (tmp_path / "script.py").write_text(text)
        return runpy.run_path("script.py", {"SWEEP": SWEEP, "BASE": BASE, "sw": sw, **names}, "__main__")

    return run


# --- mappings ---------------------------------------------------------------------------------------------------------


def test_a_mapping_means_what_a_file_means(tmp_path: Path) -> None:
    """Also its ids, and text that looks like a number."""
    given = {
        **SWEEP,
        "seeds": range(2),
        "arms": ({"name": "1e-3", "set": {"optimiser": {"name": "adam", "lr": np.float64(1e-5)}}},),
    }
    given.pop("claims")
    loaded = sw.load(given, changes=["batch=2"], question="Why?\nBecause.")
    file = tmp_path / "small.yaml"
    file.write_text(loaded.sweep.document.text)
    again = sw.load(file, changes=["batch=2"])
    assert [arm.name for arm in sw.plan(loaded).arms] == ["base", "1e-3"]
    assert [arm.config for arm in sw.plan(loaded).arms] == [arm.config for arm in sw.plan(again).arms]
    assert [t.id for t, _ in sw.plan(loaded).runs()] == [t.id for t, _ in sw.plan(again).runs()]
    assert loaded.sweep.document.question == "Why?"


@pytest.mark.parametrize(
    "value", ["1e-3", "12:30", "on", "~", "", " a", "a: b", "é", "'", "# x", "0x1F", "1_0", "two\nlines"]
)
def test_text_stays_text(value: str) -> None:
    assert yaml_document.parse(yaml_document.dump({"key": [value], value: 1}), "f").value == {"key": [value], value: 1}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"epochs": {3}}, "`base.epochs` = {3}\n  why:     a value of type set has no place in a sweep file"),
        ({"epochs": float("nan")}, "`base.epochs` = nan"),
        ({"model": {"name": torch.nn.Identity()}}, "`base.model.name`: an object of type Identity"),
        ({"model": {"name": lambda image, mask: image}}, "`base.model.name`: a lambda"),
        ({"model": {"name": len}}, "`base.model.name`"),
        ({"model": {"name": "partial_conv_unett"}}, "partial_conv_unet"),
        ({1: 1, "1": 2}, "`base.1`\n  why:     the key is repeated"),
        ({"epochs": "three"}, "<python>: epochs"),
    ],
)
def test_a_wrong_mapping_is_an_error_in_four_parts(change: dict[Any, Any], says: str) -> None:
    with pytest.raises(SweepError) as raised:
        sw.plan(sw.load({**SWEEP, "base": {**BASE, **change}}))
    assert says in str(raised.value)
    assert mappings.PYTHON in raised.value.given


def test_a_mapping_that_contains_itself_is_an_error() -> None:
    circle: dict[str, Any] = {}
    circle["again"] = circle
    with pytest.raises(SweepError, match="contains itself"):
        sw.load({**SWEEP, "base": circle})
    with pytest.raises(SweepError, match="the file says it itself"):
        sw.load("partial_conv", question="Why?")


def test_a_mapping_cannot_be_submitted() -> None:
    with pytest.raises(SweepError, match="made in Python"):
        sw.submit(sw.load(SWEEP), "s3://bucket/prefix", sw.ClusterJob("http://head:8265"))


# --- code of the session ----------------------------------------------------------------------------------------------

CODE = """
import torch
GAIN = 0.5

def half(x):
    return x * GAIN  # a comment

class Net(torch.nn.Module):
    def __init__(self, width: int = 4):
        super().__init__()
        self.last = torch.nn.Conv2d(4, 3, 1)
    def forward(self, image, mask):
        return half(self.last(torch.cat([image, mask], 1)))

def disc(n, size, generator, *, share=0.5):
    return torch.rand(n, 1, size, size, generator=generator) < share

def edges(prediction, target, mask):
    return ((prediction - target) * mask).diff(dim=3).abs().mean()

MODEL = {"name": Net, "width": 8}
arms = [{"name": "edges", "set": {"loss": {"l2": 1.0, edges: 0.1}, "mask": {"name": disc, "share": 0.3}}}]
sweep = sw.load({**SWEEP, "base": {**BASE, "model": MODEL}, "arms": arms, "claims": []})
ids = [trial.id for trial, _ in sw.plan(sweep).runs()]
"""


def test_code_of_a_script_is_run_and_resumed(
    script: Run, tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = sw.RunOptions(address="in-process", data=data_root)
    names = script(CODE + "result = sw.run(sweep, 'store', options)\n", options=options)
    assert names["result"].complete
    found = sw.open(tmp_path / "store")["small"]
    assert "train/edges" in found.records.columns
    assert found.trial(names["ids"][0]).config["model"]["name"].startswith("python_Net.py:Net#")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine"))  # its code comes from the store
    assert sw.resume(tmp_path / "store", "small", options, changes=["epochs=3"]).complete
    image = np.zeros((16, 16, 3), dtype=np.uint8)
    assert sw.open(tmp_path / "store")["small"].trial(names["ids"][0]).predict(image, (2, 2, 4, 4)).shape == image.shape
    edited = script(
        CODE.replace("GAIN = 0.5", "GAIN = 0.6").replace('"claims": []})', '"claims": []}, changes=["epochs=3"])')
        + "result = sw.run(sweep, 'store', options)\n",
        options=options,
    )
    assert edited["result"].complete, "changed code needs no --replace"
    assert not set(edited["ids"]) & set(names["ids"])
    assert "older code (./python_Net.py:Net changed since)" in " ".join(sw.status(tmp_path / "store", "small").notes)


def test_only_code_that_is_used_makes_new_trials(script: Run) -> None:
    first = script(CODE)["ids"]
    assert script(CODE.replace("  # a comment", "").replace("MODEL =", "other = 1\n\nMODEL ="))["ids"] == first
    changed = script(CODE.replace("abs()", "square()"))["ids"]
    assert [one == other for one, other in zip(first, changed, strict=True)] == [True, False, True, False]


def test_two_definitions_of_one_name_are_two_models(script: Run) -> None:
    text = CODE.partition("MODEL")[0] + (
        "old = Net\nclass Net(old):\n    def forward(self, image, mask):\n        return image\n"
        "arms = [{'name': 'new', 'set': {'model.name': Net}}]\n"
        "sweep = sw.load({**SWEEP, 'base': {**BASE, 'model': {'name': old}}, 'arms': arms, 'claims': []})\n"
    )
    with pytest.raises(SweepError, match="two definitions of Net"):
        script(text)
    text = text.replace("class Net(old)", "class Net(torch.nn.Module)")
    arms = sw.plan(script(text)["sweep"]).arms
    hashes = {arm.config["model"]["name"] for arm in arms}
    assert len(hashes) == 2
    assert all(name.startswith("python_Net.py:Net#") for name in hashes)


def test_a_class_of_a_module_is_named_by_its_file(script: Run, tmp_path: Path) -> None:
    (tmp_path / "my_net.py").write_text(CODE.partition("def disc")[0])
    sys.path.insert(0, str(tmp_path))
    try:
        names = script("import my_net\nsweep = sw.load({**SWEEP, 'base': {**BASE, 'model': {'name': my_net.Net}}})\n")
        assert names["sweep"].sweep.spec.base["model"]["name"] == "./my_net.py:Net"
        name = sw.plan(names["sweep"]).arms[0].config["model"]["name"]
        assert name.startswith("my_net.py:Net#")
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("my_net", None)


# --- a sweep in a store -----------------------------------------------------------------------------------------------


def test_a_store_is_a_mapping_of_sweeps(store: sw.OpenedStore, tmp_path: Path) -> None:
    assert list(store) == ["small"]
    assert ("small" in store, "other" in store, len(store)) == (True, False, 1)
    assert isinstance(store.plain, FolderStore)
    assert sw.read(store, "small").name == "small"
    with pytest.raises(KeyError) as raised:
        store["smal"]
    assert isinstance(raised.value, UnknownNameError)
    assert (raised.value.allowed, raised.value.fix) == ("small", "did you mean `small`?")
    empty = sw.open(tmp_path / "empty")
    assert empty, "a store without sweeps is still a store"
    assert list(empty) == []
    assert "No sweeps yet" in empty._repr_html_()


def test_a_sweep_gives_tables(store: sw.OpenedStore) -> None:
    found = store["small"]
    assert found.question == "Is it <better>?"
    assert found.records.groupby("arm").size().to_dict() == {"base": 4, NAME: 2}
    table = found.table().set_index(["arm", "metric"])
    row, interval = table.loc[("base", "test/psnr_db")], found.study.interval("base", "test/psnr_db")
    assert interval is not None
    assert (row["n"], row["mean"], row["low"], row["high"]) == (2, interval.mean, interval.low, interval.high)
    assert found.claims()[["claim", "verdict"]].to_numpy().tolist() == [["it <i>learns</i>", "undecided"]]
    records = found.records
    records["arm"] = ""
    assert set(found.records["arm"]) == {"base", NAME}, "a change of the table does not change the sweep"


def test_figures_are_saved(store: sw.OpenedStore, tmp_path: Path) -> None:
    figures = store["small"].figures()
    assert list(figures) == ["curves", "pictures"]
    saved = figures["pictures"].save(tmp_path / "pictures.png")
    with Image.open(saved) as opened:
        assert opened.format == "PNG"
    with pytest.raises(SweepError, match="No such file"):
        figures["pictures"].save(tmp_path / "none" / "pictures.png")


def test_trials_are_listed_and_found(store: sw.OpenedStore) -> None:
    found = store["small"]
    trials = list(found)
    assert [(one.arm, one.seed, one.state) for one in trials] == [
        ("base", 0, "done"),
        ("base", 1, "done"),
        (NAME, 0, "done"),
    ]
    first = trials[0]
    assert found.trial(first.id[:6]).id == first.id
    assert first.records["epoch"].tolist() == [1, 2]
    assert first.config["model"]["width"] == 4
    with pytest.raises(KeyError, match="no such name"):
        found.trial("zzzz")
    with pytest.raises(UnknownNameError):
        found.trial("")


# --- predictions ------------------------------------------------------------------------------------------------------


def test_a_trial_predicts_in_kind(store: sw.OpenedStore, tmp_path: Path) -> None:
    trial = next(iter(store["small"]))
    pixels = np.random.default_rng(0).integers(0, 255, (24, 40, 3), dtype=np.uint8)
    image, hole = Image.fromarray(pixels), np.zeros((24, 40))
    image.save(tmp_path / "image.png")
    hole[6:16, 10:30] = 1
    of_path = trial.predict(tmp_path / "image.png", mask=(10, 6, 20, 10))
    of_pil = trial.predict(image, mask=Image.fromarray(hole.astype(np.uint8) * 255))
    of_array = trial.predict(pixels, mask=hole)
    tensor = torch.from_numpy(pixels).movedim(-1, 0).double() / 255
    of_tensor = trial.predict(tensor, mask=torch.from_numpy(hole)[None] > 0)
    assert isinstance(of_path, Image.Image)
    for other in (np.asarray(of_pil), of_array):
        assert np.array_equal(np.asarray(of_path), other)
    assert np.array_equal(of_array[hole == 0], pixels[hole == 0])
    assert (of_array != pixels)[hole == 1].any()
    assert (of_tensor.shape, of_tensor.dtype) == (tensor.shape, tensor.dtype)
    assert np.array_equal((of_tensor * 255).round().to(torch.uint8).movedim(0, -1).numpy(), of_array)
    assert torch.equal(of_tensor[:, hole == 0], tensor[:, hole == 0])
    assert trial.predict(tensor[None].float(), mask=hole).shape == (1, 3, 24, 40)
    grey = trial.predict(pixels[..., 0], mask=hole)
    assert (grey.shape, grey.dtype) == ((24, 40), np.uint8)


@pytest.mark.parametrize(
    ("image", "mask", "says"),
    [
        (np.zeros((8, 8, 3)), None, "an inpainter needs a hole"),
        (np.full((8, 8, 3), 2.0), (1, 1, 2, 2), "its values are from 2 to 2"),
        (np.full((8, 8, 3), np.nan), (1, 1, 2, 2), "its values are from nan"),
        (np.zeros((3, 8, 8)), (1, 1, 2, 2), "not the shape of one image"),
        (np.zeros((8, 8, 3), dtype=np.int64), (1, 1, 2, 2), "its values are int64"),
        (torch.zeros(2, 3, 8, 8), (1, 1, 2, 2), "not the shape of one image"),
        (Image.new("F", (8, 8)), (1, 1, 2, 2), "does not decode"),
        ("none.png", (1, 1, 2, 2), "does not decode"),
        (np.zeros((8, 8, 3)), (1, 1, 20, 2), "it is not inside the image"),
        (np.zeros((8, 8, 3)), (1, 2, 3), "neither four numbers nor an image"),
        (np.zeros((8, 8, 3)), np.zeros((8, 8)), "the mask has no hole"),
        (np.zeros((8, 8, 3)), np.ones((8, 9)), "the mask has 9 x 8 px"),
    ],
)
def test_a_wrong_image_is_an_error_in_four_parts(store: sw.OpenedStore, image: Any, mask: Any, says: str) -> None:
    trial = next(iter(store["small"]))
    with pytest.raises((SweepError, TrialError)) as raised:
        trial.predict(image, mask)
    assert says in str(raised.value)
    assert "  do:      " in str(raised.value)


# --- what a notebook shows --------------------------------------------------------------------------------------------


class Tags(HTMLParser):
    """Fails on unbalanced tags; collects the names of the tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.add(tag)
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_everything_shows_itself_escaped(store: sw.OpenedStore, tmp_path: Path) -> None:
    sweep = sw.load(SWEEP, question="Is it <better>?")
    found = store["small"]
    shown = {
        "sweep": sweep._repr_html_(),
        "plan": sw.plan(sweep, store)._repr_html_(),
        "plan without store": sw.plan(sweep)._repr_html_(),
        "plan in an empty store": sw.plan(sweep, tmp_path / "none")._repr_html_(),
        "store": store._repr_html_(),
        "found": found._repr_html_(),
        "figure": found.figures()["pictures"]._repr_html_(),
    }
    for html in shown.values():
        assert Tags(html).seen <= {"div", "strong", "p", "table", "thead", "tbody", "tr", "th", "td", "img"}
    assert display.escape(NAME) in shown["sweep"]
    assert "3 of 3 trials done, 0 to run." in shown["plan"]
    assert "3 trials; plan it with a store" in shown["plan without store"]
    assert "0 of 3 trials done, 3 to run." in shown["plan in an empty store"]
    assert "Is it &lt;better&gt;?" in shown["store"]
    assert "undecided" in shown["found"]
    assert "it &lt;i&gt;learns&lt;/i&gt;" in shown["found"]


def test_a_sweep_without_results_shows_itself(tmp_path: Path) -> None:
    from cluster.driver import driver

    driver.write(sw.plan(sw.load(SWEEP)), FolderStore(tmp_path), ())
    found = sw.open(tmp_path)["small"]
    assert "3 queued" in found._repr_html_() or "4 queued" in found._repr_html_()
    assert found.figures() == {}
    assert found.records.empty
    assert found.table()["mean"].isna().all()
    assert [one.state for one in found] == ["queued"] * 3


# --- progress ---------------------------------------------------------------------------------------------------------


def test_progress_is_printed_or_given_to_a_function(
    tmp_path: Path, data_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options, sweep = sw.RunOptions(address="in-process", data=data_root), sw.load(SWEEP, changes=["seeds=1"])
    seen: list[sw.TrialProgress] = []
    sw.run(sweep, tmp_path, options, progress=seen.append)
    first = [(one.state, one.finished, one.total) for one in seen if one.label == "base · seed 0"]
    assert first == [("started", 1, 2), ("epoch", 1, 2), ("epoch", 1, 2), ("done", 2, 2)], "after the fill"
    records = [one.record for one in seen if one.state == "epoch" and one.label == "base · seed 0"]
    assert [record["epoch"] for record in records] == [1, 2]
    assert "val/psnr_db" in records[0]
    assert capsys.readouterr().out == ""
    sw.resume(tmp_path, "small", options, changes=["seeds=2"], progress=True)
    assert capsys.readouterr().out == "3 of 3  done     small: base · seed 1\n"
    with pytest.raises(SweepError, match="both are given"):
        sw.run(sweep, tmp_path, options, object(), progress=True)  # type: ignore[arg-type]
    with pytest.raises(SweepError, match="it is not called"):
        sw.run(sweep, tmp_path, options, progress="yes")  # type: ignore[arg-type]


def test_an_unknown_name_is_a_key_error() -> None:
    error = loader.unknown_name_error("given", "smal", ["small"])
    assert isinstance(error, KeyError)
    assert str(error).startswith("given\n  why:")
