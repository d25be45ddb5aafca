"""Writes the finished trials of a sweep for TensorBoard, MLflow or Weights & Biases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis import trackers
from analysis.study import Study
from analysis.trackers import MLflow, TensorBoard, TrackedRun, Tracker, WeightsAndBiases
from sweeps.errors import SweepError
from sweeps.spec.plan import flatten


@dataclass(frozen=True)
class ExportedRun:
    """One finished trial."""

    run: TrackedRun
    rows: list[dict[str, float]]
    """Columns with a finite value, by epoch, ascending; each row has its epoch."""


def runs(study: Study) -> Iterator[ExportedRun]:
    """The finished trials of a sweep in the order of its plan; an arm without training has one."""
    rows: dict[Any, Any] = dict(iter(study.records.groupby(["arm", "seed"], sort=False)))
    exported: set[tuple[str, str]] = set()
    for cell in study.done():
        if (cell.arm, cell.trial) in exported or (cell.arm, cell.seed) not in rows:
            continue
        exported.add((cell.arm, cell.trial))
        found = rows[cell.arm, cell.seed].drop(columns=["arm", "seed", "trial"]).to_dict("records")
        config = flatten(study.arm(cell.arm).config)
        run = TrackedRun(study.name, cell.arm, cell.seed, cell.trial, study.store.uri, config)
        yield ExportedRun(run, [trackers.finite(row) for row in found])


def export(study: Study, tool: str, out: str | None = None) -> tuple[int, str]:
    """Write every finished trial. Returns their number and where they are.

    tool: one of `trackers.PACKAGES`. out: a folder for TensorBoard, a tracking URI for MLflow, a project for Weights &
    Biases; None for ./tensorboard, the tool's own default, and the name of the sweep.
    Raises SweepError if the package is not installed, no trial has finished, or TensorBoard's folder exists.
    """
    trackers.check(tool, "export-to")
    found = list(runs(study))
    if not found:
        why = "none of its trials has finished"
        raise SweepError(f"export-to {tool} {study.name}", why, "a sweep with a finished trial", "sweeps status NAME")
    tracker = _tracker(study, tool, out)
    with trackers.quiet_package():
        for one in found:
            writer = tracker.begin(one.run)
            for row in one.rows:
                writer.log(row)
            writer.end("done")
    return len(found), tracker.place


def _tracker(study: Study, tool: str, out: str | None) -> Tracker:
    if tool == "mlflow":
        return MLflow(study.name, out)
    if tool == "wandb":
        return WeightsAndBiases(out or study.name, None)
    tracker = TensorBoard(study.name, Path(out or "tensorboard"), None)
    if Path(tracker.place).exists():
        why = "the folder exists, and TensorBoard would show every value twice"
        given = f"--out {out or 'tensorboard'}: {tracker.place}"
        raise SweepError(given, why, "a new folder", f"rm -r {tracker.place}; or --out DIR")
    return tracker
