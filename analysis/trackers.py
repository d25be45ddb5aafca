"""Writes the runs of a sweep for TensorBoard, MLflow or Weights & Biases: all at once, or epoch by epoch.

A run is a trial. It has the trial's configuration, its columns by epoch, its sweep, arm and seed as names and tags, and
the store and id with which `sweeps show` finds the trial. The packages of these tools are optional and imported only
when they are used; nothing is sent anywhere unless the tool is configured to.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import math
import os
import re
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sweeps import scratch
from sweeps.errors import SweepError
from sweeps.results.columns import EPOCH
from sweeps.store import layout
from sweeps.store.base import Store
from sweeps.store.local import FolderStore

PACKAGES = {"tensorboard": "tensorboardX", "mlflow": "mlflow", "wandb": "wandb"}
"""Package that writes for each tool."""
TRACKING_URI = "MLFLOW_TRACKING_URI"
_NONE = -1
"""Last epoch of a run without records; fills that do not train have epoch 0."""
_MOST_TEXT, _MOST_PARAMS = 500, 100
"""Characters of a parameter that MLflow accepts, and parameters of one request."""
Row = Mapping[str, float]


@dataclass(frozen=True)
class TrackedRun:
    """One trial, as other tools show it."""

    sweep: str
    arm: str
    seed: int
    trial: str
    store: str
    """Address of the store that has the trial."""
    config: Mapping[str, Any]
    """{dotted key: value}."""

    @property
    def name(self) -> str:
        return f"{self.arm}, seed {self.seed}"

    @property
    def slug(self) -> str:
        """A name for a folder, which differs for every trial."""
        readable = re.sub(r"[^A-Za-z0-9]+", "-", self.arm)[:60].strip("-")
        return f"{readable or 'arm'}-seed{self.seed}-{self.trial[:8]}"

    @property
    def tags(self) -> dict[str, str]:
        show = f"sweeps show {self.trial} --store {self.store}"
        seed = str(self.seed)
        return {"sweep": self.sweep, "arm": self.arm, "seed": seed, "trial": self.trial, "show": show}


class RunWriter(Protocol):
    """Writes one run."""

    def log(self, row: Row) -> None:
        """Add the finite columns of an epoch."""

    def end(self, state: str) -> None:
        """The trial is over. state: done, failed, stopped, ..."""


class Tracker(Protocol):
    """Writes the runs of one sweep."""

    place: str
    """Where they are, in words."""

    def begin(self, run: TrackedRun, earlier: Sequence[Row] = ()) -> RunWriter:
        """Begin a run, or continue one that is there. earlier: rows of epochs before, written unless they are there."""


def check(tool: str, option: str) -> None:
    """SweepError if the package of a tool is not installed. option: what asked for it."""
    package = PACKAGES[tool]
    if importlib.util.find_spec(package) is None:
        why = f"the package {package} is not installed"
        raise SweepError(f"{option} {tool}", why, "an installed package", f"pip install {package}")


def check_place(tool: str, store: Store, out: str | None) -> None:
    """SweepError if MLflow has no place for the runs of `sweeps run --log`. out: as for `live`."""
    if tool == "mlflow" and not (out or os.environ.get(TRACKING_URI) or isinstance(store, FolderStore)):
        raise SweepError(
            "--log mlflow",
            f"the store {store.uri} is in S3, where MLflow cannot keep its runs, and no tracking server is named",
            f"--log-to URI or {TRACKING_URI}",
            "--log-to http://HOST:5000 of a tracking server, or --log-to sqlite:////PATH/mlflow.db",
        )


def live(tool: str, sweep: str, store: Store, out: str | None) -> Tracker:
    """The tracker of `sweeps run --log`. out: a folder, a tracking URI or a project; None: `logs/` in the store."""
    key = layout.join("logs", tool)
    folder = store.root / key if isinstance(store, FolderStore) else None
    if tool == "tensorboard":
        place = Path(out) if out else folder
        return TensorBoard(sweep, place, (store, key) if place is None else None)
    if tool == "wandb":
        return WeightsAndBiases(out or sweep, folder)
    if out is None and folder is not None and not os.environ.get(TRACKING_URI):
        folder.mkdir(parents=True, exist_ok=True)
        out = f"sqlite:///{folder / 'mlflow.db'}"
    return MLflow(sweep, out)


def finite(row: Mapping[str, Any]) -> dict[str, float]:
    """The columns of a row with a finite number."""
    return {
        name: float(value) for name, value in row.items() if isinstance(value, int | float) and math.isfinite(value)
    }


# --- TensorBoard ------------------------------------------------------------------------------------------------------


class TensorBoard:
    """A folder of event files for each trial, below `folder`, or below a key of a store that is not a folder."""

    def __init__(self, sweep: str, folder: Path | None, store: tuple[Store, str] | None) -> None:
        self._sweep, self._folder, self._store = sweep, folder, store
        self.place = f"{folder}/{sweep}" if store is None else f"{store[0].uri}/{store[1]}/{sweep}"

    def begin(self, run: TrackedRun, earlier: Sequence[Row] = ()) -> RunWriter:
        if self._store is None:
            return _EventFile(run, earlier, Path(self.place) / run.slug, None)
        store, key = self._store
        return _EventFile(run, earlier, scratch.new_folder("tensorboard"), (store, f"{key}/{self._sweep}/{run.slug}"))


class _EventFile:
    """The events of one run; they are copied to a store when the run ends, and every `_COPY_EPOCHS` epochs."""

    _COPY_EPOCHS = 20

    def __init__(self, run: TrackedRun, earlier: Sequence[Row], folder: Path, target: tuple[Store, str] | None) -> None:
        from tensorboardX import SummaryWriter

        self._folder, self._target = folder, target
        there = bool(list(folder.glob("events.*")) if target is None else _has(*target))
        first = 1 + max((int(row[EPOCH]) for row in earlier), default=0)
        own_name = f".{uuid.uuid4().hex[:8]}"  # files are named by the second in which they were made
        self._writer = SummaryWriter(str(folder), purge_step=first if there else None, filename_suffix=own_name)
        if not there:
            self._writer.add_text("configuration", f"```json\n{json.dumps(run.config, indent=2, default=str)}\n```")
            self._writer.add_text("trial", "\n".join(f"- {name}: {value}" for name, value in run.tags.items()))
            for row in earlier:
                self.log(row)
        self._last: Row = {}

    def log(self, row: Row) -> None:
        self._last = row = finite(row)
        epoch = int(row[EPOCH])
        for name, value in row.items():
            if name != EPOCH:
                self._writer.add_scalar(name, value, epoch)
        if self._target is not None and epoch % self._COPY_EPOCHS == 0:
            self._writer.flush()
            self._copy()

    def end(self, state: str) -> None:
        final = {name: value for name, value in self._last.items() if name.startswith("test/")}
        self._writer.add_text("result", f"{state}\n```json\n{json.dumps(final, indent=2)}\n```")
        self._writer.close()
        if self._target is not None:
            self._copy()
            scratch.remove(self._folder)

    def _copy(self) -> None:
        if self._target is not None:
            store, key = self._target
            for file in self._folder.glob("events.*"):
                store.put(f"{key}/{file.name}", file.read_bytes())


def _has(store: Store, key: str) -> bool:
    from sweeps.store import listing

    return bool(listing.children(store, key))


# --- MLflow -----------------------------------------------------------------------------------------------------------


class MLflow:
    """An experiment with the name of the sweep. A trial has one run, which is continued."""

    def __init__(self, sweep: str, uri: str | None) -> None:
        from mlflow import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.WARNING)  # otherwise it tells of the tables of its database
        self._client = MlflowClient(tracking_uri=uri)
        self.place = str(self._client.tracking_uri)
        found = self._client.get_experiment_by_name(sweep)
        self._experiment = found.experiment_id if found else self._client.create_experiment(sweep)

    def begin(self, run: TrackedRun, earlier: Sequence[Row] = ()) -> RunWriter:
        found = self._client.search_runs([self._experiment], f"tags.trial = '{run.trial}'", max_results=1)
        if found:
            writer = _MLflowRun(self._client, found[0].info.run_id, found[0].data.metrics.get(EPOCH, _NONE))
        else:
            made = self._client.create_run(self._experiment, run_name=run.name, tags=run.tags)
            writer = _MLflowRun(self._client, made.info.run_id, _NONE)
            writer.configure(run.config)
        for row in earlier:
            writer.log(row)
        return writer


class _MLflowRun:
    def __init__(self, client: Any, run: str, last: float) -> None:
        self._client, self._run, self._last = client, run, last

    def configure(self, config: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        values = [
            Param(re.sub(r"[^/\w.\- :]", "_", key), str(value)[:_MOST_TEXT]) for key, value in sorted(config.items())
        ]
        for start in range(0, len(values), _MOST_PARAMS):
            self._client.log_batch(self._run, params=values[start : start + _MOST_PARAMS])

    def log(self, row: Row) -> None:
        from mlflow.entities import Metric

        row = finite(row)
        if row[EPOCH] <= self._last:
            return  # the run has it
        self._last, now = row[EPOCH], int(time.time() * 1000)
        metrics = [Metric(name, value, now, int(row[EPOCH])) for name, value in row.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def end(self, state: str) -> None:
        status = {"done": "FINISHED", "pruned": "FINISHED", "failed": "FAILED"}.get(state, "KILLED")
        self._client.set_tag(self._run, "state", state)
        self._client.set_terminated(self._run, status)


# --- Weights & Biases -------------------------------------------------------------------------------------------------


class WeightsAndBiases:
    """Runs of a project, grouped by arm; `WANDB_MODE=offline` only writes them to a folder."""

    def __init__(self, project: str, folder: Path | None) -> None:
        self._project, self._folder = project, folder
        self.place = f"project {project}, local files in {folder or Path.cwd()}/wandb"

    def begin(self, run: TrackedRun, earlier: Sequence[Row] = ()) -> RunWriter:
        import wandb

        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
        writer = wandb.init(
            project=self._project,
            group=run.arm,
            name=run.name,
            id=f"{run.sweep}-{run.trial}"[-64:],
            resume="allow",
            config={**run.config, **run.tags},
            dir=None if self._folder is None else str(self._folder),
            reinit="create_new",
        )
        made = _WandbRun(writer)
        for row in earlier:
            made.log(row)
        return made


class _WandbRun:
    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def log(self, row: Row) -> None:
        row = finite(row)
        self._writer.log(row, step=int(row[EPOCH]))

    def end(self, state: str) -> None:
        self._writer.summary["state"] = state
        self._writer.finish(exit_code=int(state not in ("done", "pruned")))


@contextlib.contextmanager
def quiet_package() -> Iterator[None]:
    """Silence the lines of Weights & Biases on the terminal for the time of a `with` statement."""
    before = os.environ.get("WANDB_SILENT")
    os.environ["WANDB_SILENT"] = "true"
    try:
        yield
    finally:
        if before is None:
            del os.environ["WANDB_SILENT"]
        else:
            os.environ["WANDB_SILENT"] = before
