"""Conditions, cost, provenance and missing cells of a report, as plain data."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from analysis import wording
from analysis.claims import plan_history
from analysis.report.sections import searches
from analysis.study import Cell, Study, StudyArm
from analysis.trial_times import trial_seconds
from sweeps.results import columns as record_columns

Pairs = list[tuple[str, str]]
_UNTRAINED = {
    "inpaint": ("a fill without training", "`{name: mean fill, set: {model: {name: mean_fill}}}`"),
    "detect": ("a baseline without training", "`{name: constant box, set: {model: {name: constant_box}}}`"),
}
"""What an arm without training is, and an example of one, by task."""
_MISSING = ("failed", "damaged", "interrupted", "running", "queued")


@dataclass(frozen=True)
class ArmFacts:
    """Conditions and cost of one arm; None where unknown."""

    arm: str
    changes: str
    parameters: int | None
    trials: int
    """Number of distinct finished trials."""
    time_s: float | None
    """Median duration of a trial."""
    images_per_s: float | None
    """Median training speed."""


@dataclass(frozen=True)
class CellFacts:
    """One cell, for the lists of trials and of missing cells."""

    arm: str
    seed: int
    state: str
    trial: str
    epoch: int | None
    commit: str
    error: str
    checkpoint: str
    """Key of the final checkpoint, or ''."""


def without_baseline(study: Study) -> list[str]:
    """A sentence if the sweep has no arm without training, which every trained arm has to beat."""
    if study.plan["task"] not in _UNTRAINED or any(not arm.trains for arm in study.arms):
        return []
    words, arms = _UNTRAINED[study.plan["task"]]
    return [f"No arm is {words}, so nothing here shows that training was worth it; add one, such as {arms}."]


def arm_facts(study: Study) -> list[ArmFacts]:
    """Conditions and cost of each arm, in plan order."""
    seconds = trial_seconds(study)
    return [_arm_facts(study, arm, seconds) for arm in study.arms]


def _arm_facts(study: Study, arm: StudyArm, seconds: Mapping[tuple[str, int], float]) -> ArmFacts:
    keys = {key for key in arm.trials.values() if key in study.results}
    parameters = {study.results[key].get("facts", {}).get("parameters") for key in keys}
    times = [seconds[key] for key in keys if key in seconds]
    model = arm.config.get("model", {}).get("name")
    changes = (
        words_of(arm.set) if arm.set else (f"model {model}" if arm.name == study.baseline and model else "nothing")
    )
    return ArmFacts(
        arm.name,
        changes,
        next(iter(parameters)) if len(parameters) == 1 else None,
        len(keys),
        statistics.median(times) if times else None,
        _speed(study, arm) if arm.trains else None,
    )


def _speed(study: Study, arm: StudyArm) -> float | None:
    rows = study.records
    if record_columns.IMAGES_PER_S not in rows.columns:
        return None
    speeds = rows.loc[rows["arm"] == arm.name, record_columns.IMAGES_PER_S].dropna()
    return float(speeds.median()) if len(speeds) else None


def cost(study: Study) -> Pairs:
    """Trials and computing time of the study; a trial that serves several cells counts once."""
    planned = {(cell.trial, cell.epochs) for cell in study.cells}
    seconds = list(trial_seconds(study).values())
    up_to = "up to " if study.plan.get("looks") else ""
    cells = f"{len(study.arms) - len(study.waiting)} arms × {up_to}{wording.count(len(study.seeds), 'seed')}"
    shared = f" ({wording.count(len(planned), 'distinct trial')})" if len(planned) != len(study.cells) else ""
    pairs = [
        ("cells", f"{cells} = {len(study.cells)}{shared}"),
        ("finished", f"{len(study.results)} of {wording.count(len(planned), 'trial')}"),
    ]
    if seconds:
        pairs.append(
            ("computing", f"{wording.duration(sum(seconds))} in total; longest trial {wording.duration(max(seconds))}")
        )
    return [*pairs, *searches.cost(study)]


def provenance(study: Study) -> Pairs:
    """Origin of the results; if trials differ in a value, each value is listed with its number of trials."""
    results = list(study.results.values())
    sources = [result.get("provenance") or {} for result in results]
    names = dict.fromkeys(name for source in sources for name in source.get("versions") or {})
    versions = [tally((s.get("versions") or {}).get(name) for s in sources) for name in names]
    pairs = [
        ("code", tally(map(commit, results))),
        ("versions", ", ".join(f"{name} {found}" for name, found in zip(names, versions, strict=True))),
        ("hardware", tally(words_of(s.get("hardware")) for s in sources if s.get("hardware"))),
        ("threads", tally(s.get("cpus") for s in sources)),
        ("data fingerprint", tally(words_of((r.get("facts") or {}).get("data_fingerprint")) for r in results)),
        ("seeds", ", ".join(map(str, study.seeds))),
        ("planned", _planned(study)),
        ("results", _span(results)),
        ("file", str(study.plan.get("file") or "")),
        ("store", study.store.uri),
    ]
    return [(name, text) for name, text in pairs if text]


def _planned(study: Study) -> str:
    moment, number = _moment(study.plan["planned_at"]), plan_history.plan_count(study)
    return f"{moment}, version {number} of the plan, hash {study.plan['hash']}"


def commit(result: Mapping[str, Any]) -> str:
    """Commit of the code that made a result: 'a1b2c3d4e5f6', with '+ changes' if there were uncommitted changes."""
    source = result.get("provenance") or {}
    git = source.get("code") or source.get("git") or {}
    if not git.get("commit"):
        return "unknown"
    return str(git["commit"])[:12] + (" + changes" if git.get("dirty") else "")


def warnings(study: Study) -> list[str]:
    """What limits the comparison of cells: changes of the plan, different code, different versions of torch."""
    results = list(study.results.values())
    codes = Counter(map(commit, results))
    sentences = [*plan_history.change_sentences(study), *versions_of_code(study), *without_baseline(study)]
    if any(code.endswith("+ changes") for code in codes):
        sentences.append("Some cells were run from code with uncommitted changes.")
    torches = [((r.get("provenance") or {}).get("versions") or {}).get("torch") for r in results]
    if len(set(filter(None, torches))) > 1:
        sentences.append(f"Cells were run with different versions of torch: {tally(torches)}.")
    return sentences


def versions_of_code(study: Study) -> list[str]:
    """A sentence if cells were run with several versions of the code; the main table repeats it."""
    results = study.results.values()
    codes = set(map(commit, results))
    return (
        [f"Cells were run with {len(codes)} versions of the code: {tally(map(commit, results))}."]
        if len(codes) > 1
        else []
    )


def cells(study: Study) -> list[CellFacts]:
    """All cells in plan order."""
    return [_cell(study, cell) for cell in study.cells]


def missing(facts: Iterable[CellFacts]) -> list[CellFacts]:
    """Cells without a result, failed ones first."""
    return sorted((f for f in facts if f.state in _MISSING), key=lambda fact: _MISSING.index(fact.state))


def _cell(study: Study, cell: Cell) -> CellFacts:
    error = cell.progress.error or {}
    message = ": ".join(" ".join(str(error[key]).split()) for key in ("type", "message") if error.get(key))
    result = study.results.get((cell.trial, cell.epochs))
    epoch = cell.epochs if cell.state == "done" else cell.progress.epoch
    code, checkpoint = (commit(result), _checkpoint(cell, result)) if result else ("", "")
    return CellFacts(cell.arm, cell.seed, cell.state, cell.trial, epoch, code, message, checkpoint)


def _checkpoint(cell: Cell, result: Mapping[str, Any]) -> str:
    return f"trials/{cell.trial}/checkpoint/{result['attempt']}/{cell.epochs}" if cell.epochs else ""


def tally(values: Iterable[Any]) -> str:
    """A single value unchanged; several values with their numbers of trials, the most frequent first."""
    counts = Counter(str(value) for value in values if value not in (None, ""))
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(f"{value} ({wording.count(n, 'trial')})" for value, n in counts.most_common())


def words_of(value: Any) -> str:
    """A configuration value as text: mappings as 'key value, key value', integers with thousands separators."""
    if isinstance(value, Mapping):
        items = [(key, item) for key, item in value.items() if item is not None]
        return ", ".join(words_of(item) if key == "name" else f"{key} {words_of(item)}" for key, item in items)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(words_of, value)) + "]"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)


def _moment(seconds: float | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _span(results: list[Mapping[str, Any]]) -> str:
    began = [r["started_at"] for r in results if r.get("started_at") is not None]
    ended = [r["ended_at"] for r in results if r.get("ended_at") is not None]
    return f"{_moment(min(began))} to {_moment(max(ended))}" if began and ended else ""
