"""Golden records: today's code computes, stores and reports what it did when they were written."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import background
from tests.background import Background
from tests.golden import arithmetic, compare, doors, identities, old_store, produce, reports, store_files
from tests.golden.conftest import TOLERANCE

HERE = produce.HERE
FIX = "if that is meant: make golden, and read its diff"
NOT_COVERED = {"object", "fill_refiner"}
"""`object` masks need data sets which say where their objects are: `test_cub_and_pets.py` makes small ones. The method
`fill_refiner` is newer than the records, which one processor has written: `test_inpaint.py` has its first losses."""


@pytest.fixture(scope="session")
def produced(tmp_path_factory: pytest.TempPathFactory, data_root: Path) -> Iterator[Background]:
    """What today's code computes, file by file."""
    folder = tmp_path_factory.mktemp("golden")
    command, environment = produce.process(folder, data_root)
    with background.started(command, folder, environment) as found:
        yield found


@pytest.fixture
def exact(produced: Background, record_property: Callable[[str, object], None]) -> bool:
    """Whether every bit counts; the end of the run says so where not."""
    unlike = _unlike(produced.file("fingerprint.json").parent)
    if unlike:
        record_property(TOLERANCE, f"this machine has {unlike}")
    return not unlike


def _unlike(folder: Path) -> str:
    golden, found = (store_files.read_json(one / "fingerprint.json") for one in (HERE, folder))
    return arithmetic.unlike(golden, found)


def _check(expected: Any, found: Any, exact: bool) -> None:
    lines = compare.differences(expected, found, exact)
    assert not lines, "\n".join(["golden records have changed:", *lines, FIX])


# --- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", produce.IN_ORDER)
def test_a_sweep_gives_its_golden_records(name: str, produced: Background, exact: bool) -> None:
    _check(golden(name), store_files.read_json(produced.file("records", f"{name}.json")), exact)


def test_a_sweep_through_ray_gives_its_golden_records(
    data_root: Path,
    ray_address: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    produce.start(tmp_path, data_root, "tests.golden.arithmetic")
    unlike = _unlike(tmp_path)
    if unlike:
        record_property(TOLERANCE, f"this machine has {unlike}")
    environment = {"runtime_env": {"env_vars": arithmetic.PINNED}}  # of trial actors: they compute as the records were
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps(environment))
    there = ("--store", str(tmp_path / "store"), "--data", str(data_root), "--address", ray_address, "--quiet")
    assert doors.command(("run", str(produce.SWEEPS / "ray.yaml"), *there)) == 0
    found = store_files.records(tmp_path / "store", "golden-ray")
    _check(store_files.read_json(HERE / "records" / "ray.json"), found, not unlike)


def test_everything_that_has_a_name_is_in_a_golden_sweep() -> None:
    used = _names([yaml.safe_load(file.read_text()) for file in produce.SWEEPS.glob("*.yaml")])
    used |= {"outputs"}  # an arm's `outputs: FOLDER` is short for it
    known = doors.model_names() | doors.mask_names() | doors.loss_names()
    assert known - used - NOT_COVERED == set(), "add arms to tests/golden/sweeps, then: make golden"


def _names(value: Any) -> set[str]:
    """Every `name`, and every key, anywhere in a sweep file."""
    if isinstance(value, dict):
        keys = {part for key in value for part in (str(key), str(key).rpartition(".")[2])}
        named = {value["name"]} if isinstance(value.get("name"), str) else set()
        return keys | named | set().union(*map(_names, value.values()))
    return set().union(*map(_names, value)) if isinstance(value, list) else set()


# --- the old store ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", old_store.SWEEPS)
def test_a_sweep_of_the_old_store_is_resumed_to_the_numbers_of_an_undisturbed_run(
    name: str, produced: Background, exact: bool
) -> None:
    resumed = store_files.read_json(produced.file("resumed", f"{name}.json"))
    undisturbed = golden(name)
    for block, row in resumed.items():
        for key in [key for key in row if "/ssim" in key]:  # SSIM was computed a little differently then
            assert row.pop(key) == pytest.approx(undisturbed[block].pop(key), abs=1e-5), f"{block}: {key}"
        for each in (row, undisturbed[block]):
            each.pop(f"{store_files.DIGEST}per_image.npz", None)
        for key in [key for key in {**undisturbed[block], **row} if key.startswith(store_files.DIGEST)]:
            if key.endswith(".png") or key not in row:  # grey in the old store, or left out of it
                undisturbed[block].pop(key, None)
                row.pop(key, None)
    _check(undisturbed, resumed, exact)


@pytest.mark.parametrize("file", sorted(path.name for path in (HERE / "reports").glob("*")))
def test_what_is_said_of_the_old_store_is_as_before(file: str, produced: Background, exact: bool) -> None:
    """It is made from stored numbers, so it is the same on every machine but for what libraries draw."""
    before, after = ((folder / file).read_text(encoding="utf-8") for folder in (HERE / "reports", _reports(produced)))
    if not exact:
        before, after = map(reports.without_digests, (before, after))
    assert after == before, f"{FIX}; where only words have changed: make golden ARGS=--wording"


def _reports(produced: Background) -> Path:
    """Complete when the first sweep of the old store is resumed."""
    produced.file("resumed", f"{old_store.SWEEPS[0]}.json")
    return produced.folder / "reports"


def test_nothing_more_is_said_of_the_old_store(produced: Background) -> None:
    before, after = ({path.name for path in folder.iterdir()} for folder in (HERE / "reports", _reports(produced)))
    assert after == before, FIX
    produced.end()


# --- the comparison itself --------------------------------------------------------------------------------------------


def golden(name: str) -> store_files.Records:
    found: store_files.Records = store_files.read_json(HERE / "records" / f"{name}.json")
    return found


@pytest.mark.parametrize("name", produce.IN_ORDER)
def test_one_bit_is_seen(name: str) -> None:
    records = golden(name)
    changed = copy.deepcopy(records)
    block, column = next((b, c) for b, row in records.items() for c in row if c.startswith(("test/", "values")))
    changed[block][column][-1] = math.nextafter(changed[block][column][-1], math.inf)
    (line,) = compare.differences(records, json.loads(compare.to_text(changed)), exact=True)
    assert line.startswith(f"{block} > {column}")
    assert compare.differences(records, changed, exact=False) == []


def test_a_column_or_trial_that_is_missing_or_new_is_seen() -> None:
    records = golden("ray")
    block = next(iter(records))
    without = {**records, block: {key: value for key, value in records[block].items() if key != "epoch"}}
    for exact in (True, False):
        assert compare.differences(records, without, exact)
        assert compare.differences(without, records, exact)
        assert compare.differences(records, {block: records[block]}, exact)
        assert compare.differences(records, copy.deepcopy(records), exact) == []


def test_digests_count_only_where_bits_do() -> None:
    before, after = ({"a": {f"{store_files.DIGEST}state.pt": text}} for text in ("1", "2"))
    assert compare.differences(before, after, exact=True)
    assert not compare.differences(before, after, exact=False)


def test_golden_files_are_as_the_command_writes_them() -> None:
    for file in sorted((HERE / "records").iterdir()):
        assert compare.to_text(store_files.read_json(file)) == file.read_text(encoding="utf-8"), file.name


def test_the_folder_is_small() -> None:
    files = [path for path in HERE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in files) < 720_000


def test_numbers_of_reports_are_told_from_words() -> None:
    assert reports.numbers(["so 1.5 dB"]) == reports.numbers(["1.5 dB, so"])
    assert reports.numbers(["1.5 dB"]) != reports.numbers(["1.6 dB"])
    assert not reports.numbers([f"{store_files.DIGEST}12ab"])


def test_every_study_keeps_its_trials() -> None:
    assert identities.identities() == json.loads(identities.FILE.read_text()), (
        "finished trials of these studies would be trained again, or their configurations differ from the stored ones; "
        + FIX
    )
