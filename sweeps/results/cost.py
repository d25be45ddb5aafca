"""Estimates the cost of a plan: epochs and hours of the remaining trials, from records in the store.

The time of an epoch is that of finished trials with the same task, model, image size, numbers of images and batch. If
there are none, it is that of trials with the same model and size, with training and evaluation time scaled by their
numbers of images. This file only computes; `cluster.driver.cost_measurement` measures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median
from typing import Any

from sweeps.results.columns import IMAGES_PER_S, TIME_S
from sweeps.spec.trial import canonical
from sweeps.store import layout, listing
from sweeps.store import plans as stored_plans
from sweeps.store import trials as stored_trials
from sweeps.store.base import Store

Config = Mapping[str, Any]

MOST_READ = 300
"""Maximum number of results that are read; more would make an estimate slower, not better."""
CIFAR10 = {"train": 45_000, "val": 5_000, "test": 10_000}
"""Numbers of images of CIFAR-10, for configurations that use all of them."""


@dataclass(frozen=True)
class TimedTrial:
    """A finished trial in the store."""

    trial_id: str
    task: str
    config: Config
    result: Mapping[str, Any]

    @property
    def hardware(self) -> str:
        source = self.result.get("provenance") or {}
        return hardware_text(source.get("hardware") or {}, source.get("cpus"))

    @property
    def epoch_s(self) -> float | None:
        """Mean seconds of an epoch including evaluation; None for a model that does not train."""
        times = [value for value in self.result["history"].get(TIME_S, []) if value is not None]
        return fmean(times) if times else None

    @property
    def train_s(self) -> float | None:
        """Mean seconds of the training part of an epoch; None if unknown."""
        images = images_of(self.config, "train")
        speeds = [value for value in self.result["history"].get(IMAGES_PER_S, []) if value]
        return fmean(images / speed for speed in speeds) if images and speeds else None

    @property
    def once_s(self) -> float | None:
        """Seconds outside epochs: reading data, building, checkpoints, pictures. None if unknown, as after a resume."""
        began, ended = self.result.get("started_at"), self.result.get("ended_at")
        if began is None or ended is None:
            return None
        rest = ended - began - sum(value for value in self.result["history"].get(TIME_S, []) if value is not None)
        return rest if rest >= 0 else None


@dataclass(frozen=True)
class Speed:
    """How long the trials of a configuration take."""

    epoch_s: float
    """Seconds per epoch; 0 for a model that does not train."""
    once_s: float
    """Seconds per trial outside epochs."""
    source: str
    """Where the times come from, in words."""
    hardware: str
    """`hardware_text` of where they were measured."""


@dataclass(frozen=True)
class RemainingWork:
    """Remaining work of one kind."""

    label: str
    task: str
    config: Config
    trials: int
    epochs: int
    """Remaining epochs of all `trials` together."""
    most: bool = False
    """Whether this is an upper bound, because early stopping may save epochs."""


@dataclass(frozen=True)
class CostLine:
    """One configuration of an estimate."""

    labels: tuple[str, ...]
    trials: int
    epochs: int
    """Remaining epochs of all `trials` together."""
    most: bool
    """Whether `epochs` is an upper bound, because early stopping may save some."""
    trains: bool
    speed: Speed | None

    @property
    def seconds(self) -> float | None:
        """Seconds of all its trials, one after the other; None if unknown."""
        return None if self.speed is None else self.epochs * self.speed.epoch_s + self.trials * self.speed.once_s


@dataclass(frozen=True)
class Estimate:
    """The remaining work of a plan and its duration."""

    lines: tuple[CostLine, ...]
    at_once: int = 1
    """Number of trials that run in parallel."""
    where: str = ""
    """Where they run, in words."""
    here: str = ""
    """`hardware_text` of it; '' if unknown."""
    warnings: tuple[str, ...] = ()

    @property
    def epochs(self) -> int:
        return sum(line.epochs for line in self.lines)

    @property
    def most(self) -> bool:
        return any(line.most for line in self.lines)

    @property
    def unknown(self) -> list[CostLine]:
        """Configurations of unknown duration. Those that do not train are left out, because they take little time."""
        return [line for line in self.lines if line.speed is None and line.trains]

    @property
    def hardware(self) -> list[str]:
        """The kinds of hardware on which the times were measured."""
        return list(dict.fromkeys(line.speed.hardware for line in self.lines if line.speed))

    @property
    def computing_s(self) -> float:
        """Seconds of all trials of known duration, one after the other."""
        return sum(line.seconds or 0.0 for line in self.lines)

    @property
    def wall_s(self) -> float:
        """Seconds until the end, at least those of the longest trial."""
        longest = max((line.seconds / line.trials for line in self.lines if line.seconds and line.trials), default=0.0)
        return max(self.computing_s / max(1, self.at_once), longest)


def hardware_text(hardware: Mapping[str, Any], cpus: Any) -> str:
    """'NVIDIA H200' or 'AMD EPYC 7763, 1 thread'. Times are comparable only if these are equal."""
    if hardware.get("gpu"):
        return str(hardware["gpu"])
    threads = "" if cpus is None else f", {cpus} thread{'' if cpus == 1 else 's'}"
    return f"{hardware.get('cpu') or 'unknown hardware'}{threads}"


def images_of(config: Config, split: str) -> int | None:
    """The number of images of a split that a configuration uses; None if it depends on the data."""
    data = config.get("data") or {}
    count = data.get(split)
    return count if count is not None else CIFAR10[split] if data.get("name") == "cifar10" else None


# --- reading ----------------------------------------------------------------------------------------------------------


def timed_trials(store: Store, wanted: Callable[[str, Config], bool], most: int = MOST_READ) -> list[TimedTrial]:
    """Finished trials of any sweep whose task and configuration are `wanted`; an even selection if there are too many.

    Planned trials are taken from the newest plans of the sweeps, others (mostly of searches) from their own objects.
    """
    candidates: dict[tuple[str, int], tuple[str, Config]] = {}
    planned: set[str] = set()
    for plan in _newest_plans(store):
        for arm in plan["arms"]:
            keys = [(trial["id"], trial["epochs"]) for trial in arm["trials"].values()]
            planned.update(trial_id for trial_id, _ in keys)
            if wanted(plan["task"], arm["config"]):
                candidates.update((key, (plan["task"], arm["config"])) for key in keys)
    others = [trial_id for trial_id in listing.children(store, "trials") if trial_id not in planned]
    bodies = store.get_many(layout.trial_key(trial_id) for trial_id in others)
    for body in layout.intact(bodies).values():
        if wanted(body["task"], body["config"]):
            reached = stored_trials.finished_epochs(store, body["id"])
            candidates |= {(body["id"], epochs): (body["task"], body["config"]) for epochs in reached}
    keys_of = {layout.result_key(*key): key for key in candidates}
    existing = sorted(store.exists_many(keys_of))
    if len(existing) > most:
        existing = [existing[i * len(existing) // most] for i in range(most)]
    results = layout.intact(store.get_many(existing))
    return [TimedTrial(keys_of[key][0], *candidates[keys_of[key]], results[key]) for key in existing if key in results]


def _newest_plans(store: Store) -> list[Any]:
    newest = []
    for name in stored_plans.sweep_names(store):
        numbers = listing.numbers(store, f"sweeps/{name}/plans")
        newest += [stored_plans.plan_key(name, number) for number in numbers[-1:]]
    return list(stored_plans.intact_plans(store.get_many(newest)).values())


# --- arithmetic -------------------------------------------------------------------------------------------------------


def cost_key(task: str, config: Config) -> str:
    """A key of what determines the time of an epoch: task, model, image size, numbers of images, batch."""
    counts = [images_of(config, split) for split in ("train", "val")]
    data = config.get("data") or {}
    where = [data.get(key) for key in ("name", "path", "size")]
    return canonical([task, _learner(config), where, counts, config.get("batch")])


def _same_model(task: str, config: Config) -> str:
    return canonical([task, _learner(config), (config.get("data") or {}).get("size")])


def _learner(config: Config) -> Any:
    """The model of a configuration, or the program with its parameters."""
    return config.get("model") or [config.get(key) for key in ("run", "code_hash", "parameters")]


def learner_name(config: Config) -> str:
    """The name of the model of a configuration, or the command line of its program."""
    if "model" in config:
        return str(config["model"]["name"])
    run = config.get("run", "")
    return run if isinstance(run, str) else " ".join(map(str, run))


def speed(task: str, config: Config, known: Sequence[TimedTrial], here: str = "") -> Speed | None:
    """How long a trial of this configuration takes, from finished trials; None if there are no suitable ones.

    here: `hardware_text` of where it will run; trials on this hardware are preferred, else on the most frequent one
    """
    same = [r for r in known if cost_key(r.task, r.config) == cost_key(task, config)]
    pool = same or [r for r in known if _same_model(r.task, r.config) == _same_model(task, config)]
    pool = [r for r in pool if r.epoch_s is not None or r.once_s is not None]
    if not same:
        pool = [r for r in pool if _scaled(r, config) is not None]
    if not pool:
        return None
    machines = Counter(r.hardware for r in pool)
    chosen = here if here in machines else machines.most_common(1)[0][0]
    pool = [r for r in pool if r.hardware == chosen]
    times = [time for r in pool if (time := r.epoch_s if same else _scaled(r, config)) is not None]
    once = [time for r in pool if (time := r.once_s) is not None]
    words = f"{len(pool)} finished{'' if same else ', scaled by images'}"
    return Speed(median(times) if times else 0.0, median(once) if once else 0.0, words, chosen)


def _scaled(source: TimedTrial, config: Config) -> float | None:
    """Seconds of an epoch, scaled to the numbers of images of `config`; None if a number is unknown."""
    if source.epoch_s is None:
        return 0.0
    ratios = []
    for split in ("train", "val"):
        wanted, had = images_of(config, split), images_of(source.config, split)
        if not wanted or not had:
            return None
        ratios.append(wanted / had)
    training = min(source.train_s if source.train_s is not None else source.epoch_s, source.epoch_s)
    return training * ratios[0] + (source.epoch_s - training) * ratios[1]


def estimate(left: Iterable[RemainingWork], speeds: Callable[[str, Config], Speed | None]) -> Estimate:
    """The cost of the remaining work, with one line per kind of work."""
    lines: dict[tuple[str, bool], CostLine] = {}
    for work in left:
        key = (cost_key(work.task, work.config), work.most)
        if key not in lines:
            trains = bool(work.config.get("epochs"))
            lines[key] = CostLine((), 0, 0, work.most, trains, speeds(work.task, work.config))
        line = lines[key]
        labels = line.labels if work.label in line.labels else (*line.labels, work.label)
        lines[key] = replace(line, labels=labels, trials=line.trials + work.trials, epochs=line.epochs + work.epochs)
    return Estimate(tuple(lines.values()))
