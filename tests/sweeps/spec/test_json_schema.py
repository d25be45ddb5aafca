"""The JSON schema of sweep files: it accepts every study, and refuses what `sweeps check` refuses."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from sweeps import api
from sweeps.api.arguments import LoadedSweep
from sweeps.cli.new.skeletons import SWEEPS
from sweeps.errors import SweepError
from sweeps.results import columns
from sweeps.spec import loader, yaml_document
from sweeps.spec.sections.claims import CLAIM_FORMS, ClaimSpec
from tests.sweeps.conftest import SMALL
from trainables.errors import TrialError

ROOT = Path(__file__).resolve().parents[3]
STUDIES = sorted((ROOT / "sweeps").glob("*/*.yaml"))
BEST = {"best": {"sweep": "text-encoder", "metric": "val/text_r1"}}


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = api.json_schema()
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema)


def small(*changes: tuple[str, Any]) -> dict[str, Any]:
    """The small sweep with changes at dotted places; None removes a key."""
    value = copy.deepcopy(yaml_document.parse(SMALL, "small.yaml").value)
    for place, item in changes:
        inner: Any = value
        *path, last = place.split("/")
        for part in path:
            inner = inner[int(part)] if isinstance(inner, list) else inner.setdefault(part, {})
        if item is None:
            del inner[last]
        else:
            inner[last] = item
    return value


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_it_accepts_every_study(validator: Any, path: Path) -> None:
    errors = list(validator.iter_errors(yaml_document.read(path).value))
    assert [(list(error.absolute_path), error.message) for error in errors] == []


def test_it_accepts_the_files_in_the_documentation(validator: Any) -> None:
    from tests.test_docs import sweep_files

    files = sweep_files()
    assert len(files) > 5
    for _, name, text in files:
        errors = list(validator.iter_errors(yaml_document.parse(text, name).value))
        assert errors == [], name


@pytest.mark.parametrize(
    "changes",
    [
        (),
        (("seeds", [3, 5]),),
        (("seeds", {"first": 4, "step": 4, "most": 32, "until": "decided"}),),
        (("protocol", "lines-32"),),
        (("protocol", {"name": "./mine.yaml", "images": "photographs", "hash": "0123456789abcdef"}),),
        (("base/judge", BEST),),
        (("base/judge", {"trial": "0123456789abcdef"}),),
        (("base/model", {"name": "tdanet", "text_encoder": {**BEST, "frozen": False}}),),
        (("arms/0/set", {"model": {"name": "glcic"}, "loss.adversarial_global": 0.1, "data.augment": {"flip": 0.5}}),),
        (("grid", {"model.width": {"narrow": 8, "wide": 16}, "optimiser.lr": [1.0e-3, 3.0e-4]}),),
        (("grid", {"model.width": [8, 16]}), ("baseline", {"model.width": 16})),
        (("base/test_masks", {"lines": {"name": "lines"}}),),
        (("base/schedule", {"name": "step", "every": 2}),),
        (("report/metrics", ["test/psnr_db_hole_on_lines", "sys/time_s", "test/l1_share_10_20", "train/hole"]),),
        (("report/at", "best(val/psnr_db)"),),
        (("report/extra", ["lpips_alex", "./mine.py:Score"]),),
        (("report/extra", [{"name": "./mine.py:score", "level": 2}]), ("report/metrics", ["test/score_on_lines"])),
        (("base/data", {"name": "./my_data.py", "count": 5, "size": 32}),),
        (("base/data", {"name": "my_package.data:Mine", "train": 100}),),
        (
            (
                "search",
                {"space": {"optimiser.lr": {"float": [0.1, 1.0]}}, "trials": 3, "metric": "val/l1", "goal": "min"},
            ),
        ),
        (("base/model", {"name": "./mine.py:Mine", "anything": 1}),),
        (("base/mask", {"name": "my_package.masks:zigzag"}),),
    ],
)
def test_it_accepts_what_is_right(validator: Any, changes: tuple[tuple[str, Any], ...]) -> None:
    assert [error.message for error in validator.iter_errors(small(*changes))] == []


WRONG: list[tuple[str, Any]] = [
    ("report/extra", [{"naem": "./mine.py"}]),
    ("report/extra", ["psnr"]),
    ("report", {"extra": ["lpips_alex"], "metrics": ["test/score"]}),
    ("protocol", {"images": "photographs"}),
    ("protocol", {"name": "lines-32", "truth": "photographs"}),
    ("base/protocol", {"name": "lines-32"}),
    ("name", None),
    ("name", "With Spaces"),
    ("task", None),
    ("task", "inpant"),
    ("base", None),
    ("base/data", None),
    ("base/mask", None),
    ("base/model", None),
    ("extra_key", 1),
    ("base/extra_key", 1),
    ("base/data/side", 32),
    ("base/data/size", "32"),
    ("base/data/size", 4),
    ("base/data/name", "cifar11"),
    ("base/data/augment", {"flip": 2.0}),
    ("base/mask/name", "line"),
    ("base/mask/count", [1, 2, 3]),
    ("base/mask/fraction", 0.5),
    ("base/model/name", "vanila_autoencoder"),
    ("base/model/width", 0),
    ("base/model/depth", 3),
    ("base/loss", {"l3": 1.0}),
    ("base/loss", {"l2": -1.0}),
    ("base/optimiser/lr", 0),
    ("base/optimiser/lr", "high"),
    ("base/optimiser/momentum", 0.9),
    ("base/schedule", {"every": 2}),
    ("base/batch", 1),
    ("base/epochs", 0),
    ("base/precision", "fp16"),
    ("base/judge", {"trial": "x", **BEST}),
    ("base/judge", {"best": {"sweep": "text-encoder"}}),
    ("seeds", 0),
    ("seeds", "two"),
    ("seeds", []),
    ("seeds", [1, 1]),
    ("seeds", {"first": 4, "most": 32}),
    ("seeds", {"first": 1, "step": 4, "most": 32}),
    ("seeds", {"first": 4, "step": 4, "most": 32, "until": "bored"}),
    ("arms/0/name", None),
    ("arms/0/sett", {}),
    ("arms/0/set", {"model.width": "wide"}),
    ("arms/0/set", {"model.name": "glcik"}),
    ("arms/0/set", {"Model Width": 3}),
    ("grid", {"optimiser.lr": [-1.0]}),
    ("grid", {"model.width": 8}),
    ("baseline", {"Model Width": 8}),
    ("baseline", {}),
    ("baseline", 8),
    ("report/metrics", ["test/psnr"]),
    ("report/metrics", []),
    ("report/at", "best(test/psnr_db)"),
    ("report/at", "first"),
    ("report/extra", ["lpips"]),
    ("report/statistic", "median"),
    ("report/pareto", {"quality": "val/psnr_db"}),
    ("claims/0/metric", "psnr_db"),
    ("claims/0/than", None),
    ("claims/0/order", ["base", "wide"]),
    ("claims/0/text", None),
    ("search", {"space": {}, "trials": 0, "metric": "val/l1", "goal": "min"}),
    ("search", {"space": {}, "trials": 1, "metric": "test/l1", "goal": "min"}),
    ("search", {"space": {}, "trials": 1, "metric": "val/l1", "goal": "low"}),
    ("search", {"space": {}, "trials": 1, "metric": "val/l1", "goal": "min", "sampler": "grid"}),
    ("resources", {"workers": 0}),
    ("small", {"set": {"model.width": -1}}),
    ("tiny", {"set": {"model.width": -1}}),
]


@pytest.mark.parametrize("change", WRONG, ids=str)
def test_it_refuses_what_is_wrong(validator: Any, change: tuple[str, Any]) -> None:
    wrong = small(change)
    assert not validator.is_valid(wrong)


@pytest.mark.parametrize("change", [one for one in WRONG if one[0] not in ("search", "small", "tiny")], ids=str)
def test_check_refuses_the_same(change: tuple[str, Any]) -> None:
    """The schema is not stricter than the command. A search's goal and sampler are checked when it starts."""
    document = yaml_document.Document("small.yaml", "", small(change), {})
    with pytest.raises((SweepError, TrialError)):
        api.plan(LoadedSweep(loader.Sweep(document), None))


ENTRY_POINTS = """\
[inpaint_sweeps.methods]
their_net = theirs:Net
[inpaint_sweeps.masks]
their_mask = theirs:mask
[inpaint_sweeps.losses]
their_loss = theirs:loss
[inpaint_sweeps.datasets]
their_data = theirs:Data
[inpaint_sweeps.metrics]
their_metric = theirs:metric
[inpaint_sweeps.tasks]
their_task = theirs:task
"""


@pytest.mark.parametrize(
    "changes",
    [
        (("base/model", {"name": "their_net", "anything": 1}),),
        (("base/mask", {"name": "their_mask"}),),
        (("base/loss", {"l2": 1.0, "their_loss": 0.5}),),
        (("base/data", {"name": "their_data"}),),
        (("report/extra", ["their_metric"]), ("report/metrics", ["test/their_metric"])),
        (("task", "their_task"), ("base", {"anything": 1}), ("arms", [])),
    ],
    ids=str,
)
def test_names_of_installed_packages(
    validator: Any, changes: tuple[tuple[str, Any], ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = small(*changes)
    assert not validator.is_valid(sweep), "nothing of these names is installed"
    folder = tmp_path / "theirs-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    (folder / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert [error.message for error in jsonschema.Draft7Validator(api.json_schema()).iter_errors(sweep)] == []


def test_the_values_of_other_tasks_are_refused(validator: Any) -> None:
    value = yaml_document.read(ROOT / "sweeps/detection/transfer.yaml").value
    assert validator.is_valid(value)
    value["task"] = "inpaint"
    assert not validator.is_valid(value)


def test_a_stack_names_trials_or_refers_to_them(validator: Any) -> None:
    value = copy.deepcopy(yaml_document.read(ROOT / "sweeps/detection/classifier_ensemble.yaml").value)
    value["base"]["data"]["bases"] = {"one": {"0": "0123"}, "two": {"trials_of": {"sweep": "transfer", "arm": "a"}}}
    assert validator.is_valid(value)
    value["base"]["data"]["bases"]["two"] = {"trials_of": {"sweep": "transfer"}}
    assert not validator.is_valid(value)


# --- what the schema repeats ------------------------------------------------------------------------------------------


def some_columns() -> Iterator[str]:
    suffixes = ("", "_hole", "_seam_raw", "_share_10_20", "_on_lines", "_tuned", "_tuned_on_jpeg", "_sharp_low", "_x")
    for name, suffix in itertools.product(columns.metrics(), suffixes):
        yield from [name + suffix] if "/" in name else [f"{split}/{name}{suffix}" for split in ("val", "test")]


def test_the_pattern_of_columns_accepts_all_that_are_described() -> None:
    item = {"pattern": columns.column_pattern()}
    described = [name for name in some_columns() if columns.is_column(name) and columns.describe(name)[2]]
    assert len(described) > 300
    assert [name for name in described if not jsonschema.Draft7Validator(item).is_valid(name)] == []
    unknown = [name for name in some_columns() if name.endswith("_x") and not name.startswith("train/")]
    assert [name for name in unknown if jsonschema.Draft7Validator(item).is_valid(name)] == []


def test_parameters_of_a_program_are_accepted(validator: Any) -> None:
    text = SWEEPS["command"].replace("FILE", "s.yaml").replace("CODE", "s.py").replace("NAME", "s")
    value = yaml_document.parse(text, "s.yaml").value
    assert {"lr", "degree"} <= value["base"].keys()
    validator.validate(value)
    for wrong in ({"Lr": 1}, {"metrics": {"val/error": "least"}}, {"epochs": 0}):
        assert not validator.is_valid({**value, "base": {**value["base"], **wrong}}), wrong


def test_every_form_of_a_claim_is_accepted(validator: Any) -> None:
    values = {
        "metric": "test/l1",
        "equal": ["a", "b"],
        "order": ["a", "b"],
        "within": 0.1,
        "after": 2,
        "above": "test/l2",
        "like": "test/l2",
        "share": 0.1,
    }
    for form in CLAIM_FORMS:
        claim = {"text": "a claim", **{key: values.get(key, "base") for key in form}}
        assert ClaimSpec.model_validate(claim).can_be_judged
        assert validator.is_valid(small(("claims", [claim]))), form
        for key in form:
            without = {name: value for name, value in claim.items() if name != key}
            is_form = form - {key} in CLAIM_FORMS
            assert validator.is_valid(small(("claims", [without]))) == is_form, (form, key)
