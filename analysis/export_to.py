"""Writes a finished sweep for TensorBoard, MLflow or Weights & Biases: a run for each finished trial.

A run has the trial's configuration, its columns by epoch, and its arm and seed as names and tags. The packages of these
tools are optional and imported only when they are used; nothing is sent anywhere unless the tool is configured to.
"""

from __future__ import annotations

import importlib.util
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.study import Study
from sweeps.errors import SweepError
from sweeps.results import columns as record_columns
from sweeps.spec.plan import flatten

PACKAGES = {"tensorboard": "tensorboardX", "mlflow": "mlflow", "wandb": "wandb"}
"""Package that writes for each tool."""
_MOST_TEXT = 500
"""Characters of a parameter that MLflow accepts."""


@dataclass(frozen=True)
class ExportedRun:
    """One finished trial."""

    arm: str
    seed: int
    trial: str
    config: dict[str, Any]
    """{dotted key: value}."""
    rows: list[dict[str, float]]
    """Columns with a finite value, by epoch, ascending; each row has its epoch."""

    @property
    def name(self) -> str:
        return f"{self.arm}, seed {self.seed}"

    @property
    def slug(self) -> str:
        """A name for a folder, which differs for every trial."""
        readable = re.sub(r"[^A-Za-z0-9]+", "-", self.arm)[:60].strip("-")
        return f"{readable or 'arm'}-seed{self.seed}-{self.trial[:8]}"


def runs(study: Study) -> Iterator[ExportedRun]:
    """The finished trials of a sweep in the order of its plan; an arm without training has one."""
    rows: dict[Any, Any] = dict(iter(study.records.groupby(["arm", "seed"], sort=False)))
    exported: set[tuple[str, str]] = set()
    for cell in study.done():
        if (cell.arm, cell.trial) in exported or (cell.arm, cell.seed) not in rows:
            continue
        exported.add((cell.arm, cell.trial))
        found = rows[cell.arm, cell.seed].drop(columns=["arm", "seed", "trial"]).to_dict("records")
        known = [{name: float(value) for name, value in row.items() if _is_finite(value)} for row in found]
        config = flatten(study.arm(cell.arm).config)
        yield ExportedRun(cell.arm, cell.seed, cell.trial, config, known)


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def export(study: Study, tool: str, out: str | None = None) -> tuple[int, str]:
    """Write every finished trial. Returns their number and where they are.

    tool: one of `PACKAGES`. out: a folder for TensorBoard, a tracking URI for MLflow, a project for Weights & Biases;
    None for ./tensorboard, the tool's own default, and the name of the sweep.
    Raises SweepError if the package is not installed or no trial has finished.
    """
    package = PACKAGES[tool]
    if importlib.util.find_spec(package) is None:
        why = f"the package {package} is not installed"
        raise SweepError(f"export-to {tool}", why, "an installed package", f"pip install {package}")
    found = list(runs(study))
    if not found:
        why = "none of its trials has finished"
        raise SweepError(f"export-to {tool} {study.name}", why, "a sweep with a finished trial", "sweeps status NAME")
    write: Mapping[str, Callable[[Study, list[ExportedRun], str | None], str]] = {
        "tensorboard": _tensorboard,
        "mlflow": _mlflow,
        "wandb": _wandb,
    }
    return len(found), write[tool](study, found, out)


def _tensorboard(study: Study, found: list[ExportedRun], out: str | None) -> str:
    """A folder of event files for each trial. Raises SweepError if it has been exported there before."""
    from tensorboardX import SummaryWriter

    folder = Path(out or "tensorboard") / study.name
    if folder.exists():
        why = "the folder exists, and TensorBoard would show every value twice"
        raise SweepError(
            f"--out {out or 'tensorboard'}: {folder}", why, "a new folder", f"rm -r {folder}; or --out DIR"
        )
    for run in found:
        with SummaryWriter(str(folder / run.slug)) as writer:
            writer.add_text("configuration", f"```json\n{json.dumps(run.config, indent=2, default=str)}\n```")
            for row in run.rows:
                epoch = int(row[record_columns.EPOCH])
                for name, value in row.items():
                    if name != record_columns.EPOCH:
                        writer.add_scalar(name, value, epoch)
    return str(folder)


def _mlflow(study: Study, found: list[ExportedRun], out: str | None) -> str:
    """An experiment with the name of the sweep."""
    import mlflow

    if out is not None:
        mlflow.set_tracking_uri(out)
    mlflow.set_experiment(study.name)
    for run in found:
        with mlflow.start_run(run_name=run.name, tags={"arm": run.arm, "seed": str(run.seed), "trial": run.trial}):
            mlflow.log_params({key: str(value)[:_MOST_TEXT] for key, value in run.config.items()})
            for row in run.rows:
                metrics = {name: value for name, value in row.items() if name != record_columns.EPOCH}
                mlflow.log_metrics(metrics, step=int(row[record_columns.EPOCH]))
    return str(mlflow.get_tracking_uri())


def _wandb(study: Study, found: list[ExportedRun], out: str | None) -> str:
    """Runs of a project, grouped by arm; `WANDB_MODE=offline` writes them to a folder."""
    import wandb

    project = out or study.name
    for run in found:
        config = {**run.config, "arm": run.arm, "seed": run.seed, "trial": run.trial}
        with wandb.init(project=project, group=run.arm, name=run.name, config=config) as writer:
            for row in run.rows:
                writer.log(row, step=int(row[record_columns.EPOCH]))
    return f"project {project}"
