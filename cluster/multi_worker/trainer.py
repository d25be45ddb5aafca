"""The Ray Train run of a group: its shape, its settings, and the notification of lost workers."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cluster.worker.worker import WorkerOptions


@dataclass(frozen=True)
class GroupShape:
    """Name and size of a group."""

    name: str
    """The run's name in Ray's dashboard."""
    workers: int | tuple[int, int]
    """Number of workers, or (fewest, most)."""
    cpus: int
    """CPUs per worker."""
    gpus: float
    """GPUs per worker."""

    @property
    def resources(self) -> dict[str, float]:
        """Ray resources of one worker."""
        return {"CPU": self.cpus, **({"GPU": self.gpus} if self.gpus else {})}


COLLECTIVE_S = 1800
"""Seconds after which a collective operation fails; longer than worker 0 waits for an unreachable store."""
ENVIRONMENT = {
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "1",  # Ray's dashboard then shows the run
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # how soon a dead worker is noticed; records do not go this way
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "180",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # not needed, as checkpoints are frequent; saves an actor
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}
"""Environment of the host, from which Ray Train reads it."""
ELASTIC = {"RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "10"}
"""Added to `ENVIRONMENT` where the number of workers may change. For a moment Ray Train still counts the resources of a
dead node and starts as many workers as before; it counts again only after this time-out."""


def trainer(work: Callable[[dict[str, Any]], None], shape: GroupShape, options: WorkerOptions, host: Any) -> Any:
    """The Ray Train run of a group. work: the function that its workers run, `serve`.

    Ray Train requires a storage, from which nothing is ever read. It is in memory, so that no file is left when the
    host is killed.
    """
    from fsspec.implementations.memory import MemoryFileSystem
    from pyarrow.fs import FSSpecHandler, PyFileSystem
    from ray import train
    from ray.train.torch import TorchTrainer

    from cluster.multi_worker.rendezvous import OwnAddressConfig

    os.environ.update(ENVIRONMENT | ({} if isinstance(shape.workers, int) else ELASTIC))
    return TorchTrainer(
        work,
        train_loop_config={  # Ray's dashboard shows the texts among them with the run
            "host": host,
            "options": options,
            "sweep": options.sweep,
            "store": options.store,
        },
        torch_config=OwnAddressConfig(timeout_s=COLLECTIVE_S),
        scaling_config=train.ScalingConfig(
            num_workers=shape.workers, use_gpu=bool(shape.gpus), resources_per_worker=shape.resources
        ),
        run_config=train.RunConfig(
            name=shape.name,
            storage_path="train",
            storage_filesystem=PyFileSystem(FSSpecHandler(MemoryFileSystem())),
            failure_config=train.FailureConfig(max_failures=-1),
            callbacks=[_watcher(host)],
        ),
    )


def _watcher(host: Any) -> Any:
    """A callback that notifies the host when Ray Train notices that a worker has died or raised."""
    from ray.train import UserCallback

    class WorkerFailureCallback(UserCallback):  # type: ignore[misc]
        def after_exception(self, run_context: Any, worker_exceptions: Any) -> None:
            host.worker_failed.remote("; ".join(map(str, worker_exceptions.values())))

    return WorkerFailureCallback()
