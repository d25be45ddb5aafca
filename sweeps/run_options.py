"""The options of a run, for the Python interface, the command and the driver."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

from sweeps import data_roots
from sweeps.data_roots import DataFolders

DEADLINE = "SWEEPS_RUN_DEADLINE"
"""Environment variable of a command that was started again, with the deadline of its first start."""


@dataclass(frozen=True)
class RunOptions:
    """Where and how to run a sweep."""

    address: str | None = None
    """`local`: start a Ray on this machine. `auto` or HOST:PORT: use a running Ray. `in-process`: run without Ray.
    None: `in-process` for the tiny form of a sweep and where one trial fits at a time, otherwise `local`."""
    data: DataFolders | None = None
    """Folder of the data sets, or several that are searched in order; None: $SWEEPS_DATA on the machine that trains."""
    max_concurrent: int | None = None
    """Trials that run at the same time; None: as many as fit."""
    retry: bool = False
    """Also run trials that failed before."""
    fresh: bool = False
    """Delete the results of the planned trials first and train them again."""
    retrain_stale: bool = False
    """Train finished trials again that other code of this package or other data than today's have made."""
    arms: tuple[str, ...] = ()
    """Run the trials of these arms only: names, or several in one text with commas between; empty: of all arms."""
    skip_arms: tuple[str, ...] = ()
    """Do not run the trials of these arms, written as `arms`."""
    accept_changed_data: bool = False
    """Run although earlier trials of the sweep have read other data under the same path; the report says so."""
    accept_leaks: bool = False
    """Run although photographs are in two splits of the data; the report says how many."""
    replace: bool = False
    """Replace the stored plan by other values, also of arms with results, and resolve references to sweeps again."""
    time_budget_s: float | None = None
    """Stop gracefully after this many seconds, counted from the call; the start of Ray and dependencies count."""
    deadline: float | None = None
    """When a run with a time budget ends, in seconds since 1970; set by `started`."""
    stop_after_failures: int | None = None
    """Stop gracefully after this many failed trials."""
    checkpoint_every_s: float = 20.0
    """Seconds between checkpoints, at least; 0 for one after every epoch. More pass where making one takes more than a
    hundredth of that time."""
    log: str | None = None
    """Also write the records for `tensorboard`, `mlflow` or `wandb` while trials run."""
    log_to: str | None = None
    """Where `log` writes: a folder, a tracking URI, or a project; None: below the store, and the name of the sweep."""
    restart: tuple[str, ...] = ()
    """Command line that replaces this process, once, if the local Ray dies; empty: none."""
    command: tuple[str, ...] = ()
    """The command line, which is stored with the plan and the results."""

    def started(self) -> RunOptions:
        """The options of a run that starts now: the time budget becomes a deadline, also for a restart of the run."""
        if self.time_budget_s is None or self.deadline is not None:
            return self
        earlier = os.environ.get(DEADLINE)
        return replace(self, deadline=float(earlier) if earlier else time.time() + self.time_budget_s)

    @property
    def out_of_time(self) -> bool:
        """Whether the time budget is used up."""
        return self.deadline is not None and time.time() >= self.deadline

    @property
    def data_root(self) -> Path | None:
        """The absolute path of `data`."""
        return data_roots.path(self.data)

    @property
    def local_data_root(self) -> Path | None:
        """The folder of the data sets on this machine: `data`, else $SWEEPS_DATA."""
        return data_roots.local(self.data)
