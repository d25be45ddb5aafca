"""Estimate the cost of a plan, here or on a cluster, from the store's records or by timing a few steps."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from cluster.driver.driver import IN_PROCESS, too_large_error
from cluster.driver.pending_work import PendingWork
from cluster.worker import provenance
from sweeps.results import progress
from sweeps.results.cost import (
    Config,
    Estimate,
    RemainingWork,
    Speed,
    TimedTrial,
    cost_key,
    hardware_text,
    learner_name,
    timed_trials,
)
from sweeps.results.cost import estimate as estimate_of
from sweeps.results.cost import speed as speed_of
from sweeps.spec.sections.resources import Resources
from sweeps.store.base import Store
from trainables.cpus import usable_cpus
from trainables.training.session import Machine

STEPS = 8
"""Number of timed batches, after one that is not timed because the first is slow."""
MOST_S = 5.0
"""Seconds after which the timing of a configuration's steps ends."""
EVALUATED = 256
"""Number of images that are evaluated for timing."""


def estimate(work: PendingWork, store: Store, address: str, data_root: Path | None, measure: bool) -> Estimate:
    """The cost of what a plan has left to run.

    address: as for a run; a cluster is queried for the number of trials that it holds at once. measure: time the
    configurations without times in the store, in this process, on the data in `data_root`.
    """
    resources = work.plan.sweep.spec.resources
    at_once, where, gpus = _at_once(resources, address)
    device = "cuda" if gpus else "cpu"
    left = _left(work, store)
    models = {learner_name(item.config) for item in left}
    known = timed_trials(store, lambda task, config: task == work.plan.arms[0].task and learner_name(config) in models)
    here = "" if address not in ("local", IN_PROCESS) else _hardware(device, resources.cpus)
    timed: dict[str, Speed | None] = {}

    def speeds(task: str, config: Config) -> Speed | None:
        speed = speed_of(task, config, known, here)
        if speed is None and measure:
            key = cost_key(task, config)
            if key not in timed:
                timed[key] = _measured(task, config, data_root, device, resources.cpus)
            speed = timed[key]
        return speed

    warnings = tuple(_early_stopping(work, known))
    return replace(estimate_of(left, speeds), at_once=at_once, where=where, here=here, warnings=warnings)


def _hardware(device: str, cpus: int) -> str:
    return hardware_text(provenance.hardware(device), cpus)


# --- what is left -----------------------------------------------------------------------------------------------------


def _left(work: PendingWork, store: Store) -> list[RemainingWork]:
    """Planned trials with their remaining epochs, remaining suggestions of searches, and the arms these will add."""
    jobs = {job.trial: job for job in work.jobs if not job.missing}
    states = progress.states_of(store, progress.by_trial(jobs)) if jobs else {}
    arm_of = {trial.id: arm for arm in work.plan.arms for trial in arm.trials.values()}
    left = []
    for trial_id, target in jobs:
        arm, state = arm_of[trial_id], states[trial_id]
        behind = [epoch for epoch in (state.epoch or 0, *state.reached) if epoch <= target]
        config = {**arm.config, "epochs": target}
        left.append(RemainingWork(arm.name, arm.task, config, 1, target - max(behind, default=0)))
    for tuning in work.searches:
        arm, spec, epochs = tuning.arm, tuning.spec, int(tuning.arm.config["epochs"])
        asks_by_state = Counter(ask.state for ask in tuning.search.asks())
        size = tuning.search.spec.space.size()
        budget = spec.trials if size is None else min(spec.trials, size)
        suggestions = max(0, budget - sum(asks_by_state.values()) + asks_by_state["running"]) * len(spec.tune_seeds)
        words = f"suggestions of {arm.name}"
        left.append(
            RemainingWork(
                words, arm.task, arm.config, suggestions, suggestions * epochs, spec.early_stopping.name != "none"
            )
        )
        runs = min(spec.report_best, budget) * len(work.plan.sweep.spec.seed_list)
        left.append(RemainingWork(f"best of {arm.name}", arm.task, arm.config, runs, runs * epochs))
    return [item for item in left if item.trials]


def _early_stopping(work: PendingWork, known: list[TimedTrial]) -> list[str]:
    stopped = [tuning for tuning in work.searches if tuning.spec.early_stopping.name != "none"]
    if not stopped or not known:
        return []
    from cluster.driver import early_stopping_check  # ray's rules, which take a second to import

    return [
        line
        for tuning in stopped
        for line in early_stopping_check.warnings(
            tuning.spec, tuning.arm.task, tuning.arm.config, known, tuning.arm.name
        )
    ]


# --- how many at once -------------------------------------------------------------------------------------------------


def _at_once(resources: Resources, address: str) -> tuple[int, str, float]:
    """(number of concurrent trials, what limits it in words, GPUs per process)."""
    if address not in ("local", IN_PROCESS):
        return _at_once_on_cluster(resources, address)
    have = _local_gpus()
    gpus = (1.0 if have else 0.0) if resources.gpus == "auto" else float(resources.gpus)
    if address == IN_PROCESS:
        return 1, "one after the other in one process", gpus
    cpus = usable_cpus()
    fits = min(cpus // resources.cpus, int(have / gpus + 1e-9)) if gpus else cpus // resources.cpus
    return max(1, fits // resources.least_and_most[1]), f"{cpus} CPUs{f' and {have} GPUs' if have else ''} here", gpus


def _at_once_on_cluster(resources: Resources, address: str) -> tuple[int, str, float]:
    from cluster.connection import connection
    from cluster.runners import ray_tune

    connection.connect(address)
    try:
        have = ray_tune.gpus_in_cluster()
        gpus = (1.0 if have >= 1 else 0.0) if resources.gpus == "auto" else float(resources.gpus)
        fits = ray_tune.trials_at_once(resources, gpus)
        if not fits:
            raise too_large_error(resources, gpus)
        return fits, f"the cluster at {address}", gpus
    finally:
        connection.disconnect()


def _local_gpus() -> int:
    """Number of GPUs of this machine, from their device files, because importing torch takes seconds."""
    dev = Path("/dev")
    return len([path for path in dev.glob("nvidia*") if path.name.removeprefix("nvidia").isdigit()])


# --- timing -----------------------------------------------------------------------------------------------------------


def _measured(task_name: str, config: Config, data_root: Path | None, device: str, cpus: int) -> Speed | None:
    """Time a few training steps and an evaluation of a configuration on real images, scaled to an epoch.

    None for tasks other than `inpaint`: their training data may not exist yet.
    """
    if task_name != "inpaint":
        return None
    from trainables.data import images
    from trainables.training.loop import task_named

    counts = images.check(config["data"], data_root)
    few = {
        "train": min(counts["train"], config["batch"] * STEPS),
        "val": min(counts["val"], EVALUATED),
        "test": min(counts["test"], EVALUATED),
    }
    # The trained networks that a configuration uses may not exist yet: leave them out.
    alone = {key: value for key, value in config["model"].items() if key != "text_encoder"}
    small = {**config, "data": {**config["data"], **few}, "model": alone, "judge": None, "protocol": None, "seed": 0}
    machine = Machine(device, cpus, data_root)
    task = task_named(task_name)
    with _as_in_a_trial(machine):
        data = task.load(small, machine)
        began = time.perf_counter()
        learner = task.build(small, data, machine)
        built = time.perf_counter() - began
        trained = 0.0
        if config["epochs"]:
            next(iter(task.train(learner, small, data, 1)))  # the first step is slow
            trained = _seconds_per_image(lambda: task.train(learner, small, data, 2), device)
        began = time.perf_counter()
        task.evaluate(learner, data, "val")
        evaluated = (time.perf_counter() - began) / few["val"]
    epoch_s = trained * counts["train"] + evaluated * counts["val"] if config["epochs"] else 0.0
    tests = 1 + len(config.get("test_masks") or {})
    tested = evaluated * (tests * counts["test"] + (0 if config["epochs"] else counts["val"]))
    tested += evaluated * _protocol_images(config, data_root, counts["test"])
    return Speed(epoch_s, built + tested, "measured now", _hardware(device, cpus))


def _protocol_images(config: Config, data_root: Path | None, test: int) -> float:
    """How many images of the data's size have as many pixels as those of the protocol, if there is one."""
    if not config.get("protocol"):
        return 0.0
    import torch

    from trainables.inpaint.evaluation import by_protocol

    rated = by_protocol.images_of(config["protocol"], data_root, torch.empty(test, 3, 1, 1, dtype=torch.uint8))
    return len(rated.keys) * float(rated.protocol.images.size / config["data"]["size"]) ** 2


def _seconds_per_image(train: Callable[[], Any], device: str) -> float:
    began, images = time.perf_counter(), 0
    for count, terms in train():
        images += count
        if device != "cpu":
            float(terms["loss"][0])  # waits for the device
        if time.perf_counter() - began > MOST_S:
            break
    return (time.perf_counter() - began) / images


@contextlib.contextmanager
def _as_in_a_trial(machine: Machine) -> Iterator[None]:
    """Use as many threads as a trial; restore the thread count and the random state afterwards."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(machine.cpus)
    try:
        with torch.random.fork_rng(devices=[machine.device] if machine.device != "cpu" else []):
            yield
    finally:
        torch.set_num_threads(threads)
