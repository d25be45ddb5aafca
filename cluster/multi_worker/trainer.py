"""The Ray Train run of a group: its shape, its settings, and how the host hears of lost workers."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cluster.worker.worker import Options


@dataclass(frozen=True)
class Shape:
    """What a group is made of. name: what Ray's dashboard calls the run. workers: so many, or (least, most)."""

    name: str
    workers: int | tuple[int, int]
    cpus: int
    gpus: float


COLLECTIVE_S = 1800
"""Seconds after which a collective operation fails: longer than a store may be away, since worker 0 writes."""
ENVIRONMENT = {
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "1",  # Ray's dashboard then shows the run
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # how soon a dead worker is noticed; records do not go this way
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "180",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # checkpoints are frequent; an actor less
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}
"""Of the host, from where Ray Train takes it."""
ELASTIC = {"RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "10"}
"""Over that, where the number of workers may change. For a moment Ray Train counts a dead node's room too and starts
as many workers as before; it counts again only when it has waited in vain for so many seconds."""


def trainer(work: Callable[[dict[str, Any]], None], shape: Shape, options: Options, host: Any) -> Any:
    """The Ray Train run of a group. work: what its workers run, `serve`.

    Ray Train wants a place to write to, of which nothing is ever read: memory, so that no file is left when the host is
    killed.
    """
    from fsspec.implementations.memory import MemoryFileSystem
    from pyarrow.fs import FSSpecHandler, PyFileSystem
    from ray import train
    from ray.train.torch import TorchTrainer

    from cluster.multi_worker.rendezvous import OwnAddressConfig

    os.environ.update(ENVIRONMENT | ({} if isinstance(shape.workers, int) else ELASTIC))
    resources = {"CPU": shape.cpus, **({"GPU": shape.gpus} if shape.gpus else {})}
    return TorchTrainer(
        work,
        train_loop_config={"host": host, "options": options},
        torch_config=OwnAddressConfig(timeout_s=COLLECTIVE_S),
        scaling_config=train.ScalingConfig(
            num_workers=shape.workers, use_gpu=bool(shape.gpus), resources_per_worker=resources
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
    """Tells the host when Ray Train notices that a worker has gone."""
    from ray.train import UserCallback

    class Watcher(UserCallback):  # type: ignore[misc]
        def after_exception(self, run_context: Any, worker_exceptions: Any) -> None:
            host.fell.remote("; ".join(map(str, worker_exceptions.values())))

    return Watcher()
