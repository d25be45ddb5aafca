"""Results in the Python interface: the state of sweeps, their tables, reports, claims and comparisons."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sweeps import data_roots
from sweeps.api import arguments
from sweeps.data_roots import DataFolders
from sweeps.errors import SweepError

if TYPE_CHECKING:
    from analysis.audit.audit import Audit
    from analysis.claims.overview import ClaimLine
    from analysis.report.compare_sweeps import ComparedArm
    from analysis.report.content import Report
    from analysis.study import Study
    from sweeps.api.arguments import StoreLike
    from sweeps.results.progress import TrialState
    from sweeps.search.status import SearchState
    from sweeps.store.archive.pack import Packed
    from sweeps.store.base import Store
    from sweeps.store.layout import Json


# --- state ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SweepStatus:
    """The state of a sweep."""

    plan: Json
    """Its newest stored plan."""
    trials: Mapping[str, TrialState]
    """The state of each trial, by id."""
    searches: Sequence[SearchState] = ()
    """The state of each search of the plan."""
    notes: Sequence[str] = ()
    """Sentences on finished trials that older code made, the user's or ours, and on results from different data."""


def newest_plan(store: StoreLike, name: str) -> Json:
    """The newest stored plan of a sweep. SweepError, with the names that exist, if there is none."""
    from sweeps.store import plans as stored_plans

    return stored_plans.require_plan(arguments.plain_store(store), name)


def status(store: StoreLike, name: str) -> SweepStatus:
    """The state of each trial and each search of a sweep. SweepError for an unknown name."""
    from cluster.worker import stale_code
    from sweeps.protocols import results as protocol_results
    from sweeps.results import data_versions, missing_metrics
    from sweeps.results.leaks import leaks_note
    from sweeps.results.older_code import older_code
    from sweeps.search import status
    from sweeps.store import plans as stored_plans
    from sweeps.store import record_cache

    store = arguments.plain_store(store)
    stored = newest_plan(store, name)
    copied = record_cache.CachedStore(store, name)
    states, searches = record_cache.trial_states(copied, stored), status.search_states(copied, stored)
    finished = _finished(stored, states)
    lacking = missing_metrics.of_plan(copied, stored, finished)
    states = missing_metrics.with_errors(copied, states, (trial for trial, _ in lacking))
    notes = (
        *protocol_results.notes(stored_plans.protocol(stored), ()),
        older_code(copied, stored_plans.read_plans(store, name)),
        *missing_metrics.notes(copied, stored, finished),
        stale_code.find(copied, stored).sentence,
        *data_versions.mixed_data_of(copied, stored),
        *leaks_note(copied, name, [trial for trial, of_trial in states.items() if of_trial.state == "done"]),
        *_seeds_notes(store, stored),
    )
    return SweepStatus(stored, states, searches, tuple(filter(None, notes)))


def _finished(plan: Json, states: Mapping[str, TrialState]) -> list[tuple[str, int]]:
    """The finished trials of a stored plan as (id, target epoch)."""
    from sweeps.results import progress

    targets = progress.targets(plan).items()
    return [(trial, epochs) for trial, many in targets for epochs in many if states[trial].at(epochs) == "done"]


def _seeds_notes(store: Store, plan: Json) -> list[str]:
    """How looks have added seeds. Imported where there are looks alone, because pandas takes long to import."""
    if not plan.get("looks"):
        return []
    from analysis.claims.added_seeds import status_notes

    return status_notes(store, plan)


def list_sweeps(store: StoreLike) -> list[SweepStatus]:
    """The state of every sweep of a store, without the searches."""
    from sweeps.results import progress
    from sweeps.store import plans as stored_plans

    store = arguments.plain_store(store)
    plans = [stored_plans.newest_plan(store, name) for name in stored_plans.sweep_names(store)]
    return [SweepStatus(stored, progress.trial_states(store, stored)) for stored in plans if stored]


# --- tables and reports -----------------------------------------------------------------------------------------------


def read(store: StoreLike, name: str) -> Study:
    """The results of a sweep: records as a table, intervals and differences."""
    from analysis import studies

    return studies.read(arguments.plain_store(store), name)


def report(
    store: StoreLike, name: str, *, columns: Sequence[str] = (), transpose: bool = False, sd: bool = False
) -> Report:
    """The report of a sweep as data: table, verdicts and figures; `write_report` writes it.

    columns: metrics of the main tables; none: those of the sweep's report. transpose: metrics in rows, arms in columns.
    sd: standard deviations over seeds after the ±, not half-widths of intervals.
    SweepError for an unknown name, and for columns that no finished trial has.
    """
    from analysis.report import build
    from analysis.report.paper.shape import Shape
    from cluster.worker import stale_code

    store = arguments.plain_store(store)
    stale = stale_code.find(store, newest_plan(store, name)).sentence
    shape = Shape(tuple(columns), transpose, sd)
    return build.build(store, name, notes=[stale] if stale else [], shape=shape)


def write_report(report: Report, out: str | Path, formats: Sequence[str] = ("html", "md", "csv")) -> list[Path]:
    """Write a report to files in a folder, which is created if needed, and replace older ones. Returns their paths.

    formats: of html, md, tex, csv, parquet, svg, pdf. SweepError for another one, and for a folder that cannot be
    written.
    """
    from analysis.report import formats as report_formats

    return report_formats.write(report, Path(out), formats)


def publish_report(report: Report, store: StoreLike, formats: Sequence[str] = ("html", "md", "csv")) -> list[str]:
    """Write the files of a report to a store, below `reports/NAME/`; returns their keys.

    formats: as for `write_report`.
    """
    from analysis.report import formats as report_formats

    return report_formats.publish(report, arguments.plain_store(store), formats)


@dataclass(frozen=True)
class RedrawnImages:
    """The disputed test images of a sweep, filled by the final checkpoint of each arm."""

    images: int
    """Number of images."""
    drawn: Sequence[str]
    """Arms for which they were drawn now."""
    kept: int
    """Number of arms for which the store already had them."""
    skipped: Mapping[str, str]
    """Arms for which they could not be drawn, and why."""


def redraw(
    store: StoreLike, report: Report, data: DataFolders | None = None, arms: Sequence[str] = ()
) -> RedrawnImages | None:
    """Fill the test images on which the arms differ with the final checkpoint of each arm, for the files of a report.

    They are kept in the store; images that were drawn before for the same trials are not drawn again. data: folder of
    the data sets; None: $SWEEPS_DATA. arms: take the images on which these arms differ, and draw only them; otherwise
    all arms. Returns None if no two arms have values of single test images. Raises SweepError for an unknown arm.
    """
    from analysis.report.sections import images

    for name in arms:
        _check_arm(report.study, name)
    store = arguments.plain_store(store)
    shown = images.read_images(report.study, arms) if arms else report.images
    if shown is None or shown.disputed is None:
        return None
    disputed = shown.disputed.images
    folders = {arm: images.redrawn_folder(report.study, arm, seed, disputed) for arm, seed in shown.seeds.items()}
    kept = store.exists_many(f"{folder}/composite.png" for folder in folders.values())
    drawn, skipped = [], {}
    for arm, folder in folders.items():
        if f"{folder}/composite.png" in kept:
            continue
        strips = _strips(store, report.study, arm, shown.seeds[arm], disputed, data_roots.local(data))
        if isinstance(strips, str):
            skipped[arm] = strips
            continue
        for name in ("truth.png", "damaged.png", "composite.png"):  # the last one marks the folder as complete
            store.put(f"{folder}/{name}", strips[name])
        drawn.append(arm)
    return RedrawnImages(len(disputed), drawn, len(kept), skipped)


def _check_arm(study: Study, name: str) -> None:
    if name not in study.names:
        allowed = ", ".join(map(repr, study.names))
        raise SweepError(f"arm {name!r}", f"{study.name} has no such arm", allowed, f"--redraw-arm {study.names[0]!r}")


def _strips(
    store: Store, study: Study, arm: str, seed: int, images: Sequence[int], data_root: Path | None
) -> Mapping[str, bytes] | str:
    """The test images with these numbers as an arm fills them, as PNG by file name; a text says why it cannot."""
    from sweeps.store import checkpoints
    from sweeps.store import trials as stored_trials
    from trainables import schema
    from trainables.code import cache
    from trainables.inference import redraw
    from trainables.training.session import Machine

    trial, epochs = study.arm(arm).trials[seed]
    saved = checkpoints.latest_checkpoint(store, trial, epochs, epochs) if study.arm(arm).trains else None
    if study.arm(arm).trains and saved is None:
        return f"the store has no checkpoint of trial {trial} at epoch {epochs}"
    body = stored_trials.read_trial(store, trial)
    config = {**body["config"], "epochs": epochs, "seed": body["seed"]}
    if not all(map(cache.is_kept, schema.code_of(body["task"], config))):
        return (
            "it runs code of a user that this machine does not have, and a report takes no code from a store; "
            f"`sweeps predict {trial} ...` does"
        )
    return redraw.strips(config, saved.files if saved else None, images, Machine(data_root=data_root))


# --- claims and comparisons -------------------------------------------------------------------------------------------


def claims(store: StoreLike, names: Sequence[str] = ()) -> list[ClaimLine]:
    """The claims of sweeps: published value, measured value, verdict.

    names: the sweeps; none: all of the store, then the studies of this package that were not run.
    SweepError for an unknown name.
    """
    from analysis.claims import overview
    from sweeps.spec.studies import studies

    files = [] if names else [study.path for study in studies()]
    return overview.collect(arguments.plain_store(store), names, files)


@dataclass(frozen=True)
class SweepComparison:
    """How the results of a sweep differ from those of another one."""

    arms: list[ComparedArm]
    """The shared arms, in each shared metric."""
    unmatched: list[str]
    """Sentences on arms that only one of the two sweeps has."""
    mixed: Sequence[str] = ()
    """What the protocols of the two differ in, if `mix` allows it."""

    @property
    def drifted(self) -> bool:
        """Whether any difference exceeds the noise."""
        from analysis.report.compare_sweeps import DRIFT

        return any(line.verdict == DRIFT for line in self.arms)


def compare(
    store: StoreLike,
    before: str,
    after: str | None = None,
    *,
    after_store: StoreLike | None = None,
    mix: bool = False,
) -> SweepComparison:
    """Compare two sweeps, or a sweep in two stores, arm by arm; seeds are paired.

    after: the other sweep; None: the one of the same name in `after_store`. after_store: its store; None: `store`.
    mix: compare columns of different protocols all the same; what they differ in is part of the result.
    SweepError for an unknown name, for sweeps that have no arm or metric in common, and, with the fields that differ,
    for columns that different protocols rated, or one on different images.
    """
    from analysis.report import compare_sweeps

    store = arguments.plain_store(store)
    old = read(store, before)
    new = read(store if after_store is None else after_store, after or before)
    mixed = compare_sweeps.rated_differently(old, new, mix)
    return SweepComparison(compare_sweeps.compare(old, new), compare_sweeps.unmatched_arms(old, new), mixed)


def export_to(store: StoreLike, name: str, tool: str, out: str | None = None) -> tuple[int, str]:
    """Write the finished trials of a sweep for another tool. Returns their number and where they are.

    tool: tensorboard, mlflow or wandb. out: a folder, a tracking URI or a project; None for the tool's default.
    SweepError for an unknown sweep or tool, a package that is not installed, and a sweep without a finished trial.
    """
    from analysis import export_to as exporting
    from analysis.trackers import PACKAGES

    if tool not in PACKAGES:
        given, allowed = f"export-to {tool}", ", ".join(PACKAGES)
        raise SweepError(given, "there is no such tool", allowed, f"sweeps export-to tensorboard {name}")
    return exporting.export(read(store, name), tool, out)


def archive(
    store: StoreLike, file: str | Path, names: Collection[str] = (), *, parts: Collection[str] = ("pictures", "scores")
) -> Packed:
    """Write sweeps of a store, by default all, to one zip file, which every function that reads takes as its store.

    It holds plans, trials and results, also those of trials of other sweeps that the sweeps name, and the parts:
    pictures, scores (of each test image), logs, weights, notes (of people). SweepError for an unknown sweep or part,
    and for a file that exists and is no archive.
    """
    from sweeps.store.archive import pack

    return pack.pack(arguments.plain_store(store), names, Path(file), parts)


def audit(file: str | Path, *, metric: str | None = None, goal: Literal["max", "min"] | None = None) -> Audit:
    """Tell what a CSV table of methods and seeds (or images), from anywhere, can decide.

    file: one row for each value, with columns such as method, seed and psnr_db; or one row for each method, with a
    column for each seed. metric: the column of values, where there are several. goal: what is better; None: by the
    metric's name, `max` if it is unknown. SweepError for a file that is no such table.
    """
    from analysis import wording
    from analysis.audit import audit as auditing
    from analysis.audit import values

    table = values.read(Path(file), metric)
    return auditing.audit(table, goal or wording.better(table.metric) or values.goal_by_name(table.metric) or "max")
