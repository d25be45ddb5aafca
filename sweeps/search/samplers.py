"""Draws the next suggestion from earlier suggestions and their outcomes. Does not use the store.

How each sampler treats a space:

- tpe: samples keys jointly, in groups if some are conditional; random for its first 10 results. Pruned trials count as
  bad ones.
- gp: covers the keys that every configuration has; TPE draws conditional ones. Does not learn from pruned trials.
- cmaes: covers the numbers that every configuration has; TPE draws choices and conditional keys. Implemented here with
  the package cmaes, as Optuna's wrapper stores pickles in trial attributes. Pruned trials rank below complete ones.
- nsga2: the population is a quarter of the first budget, from 4 to 50. Random in the first generation and for
  conditional keys. Does not learn from pruned trials.
- qmc: a scrambled Sobol' sequence over all keys; values of inactive keys are dropped. Implemented here, as Optuna's
  sampler takes its space from the first trial.
- random: independent draws.

Known good points come first. A repeated suggestion is redrawn a few times (`_TRIES`), then replaced by a new one.

Time of a suggestion and its outcome on two cores, by tpe with four keys: 0.02 s after 280 others, 0.04 s after 1,000
(tests/benchmarks/bench_search.py); gp takes 0.7 to 1.1 s (0.4 s after 100; several seconds for several metrics). The
first one after a restart takes 0.2 s more for reading and building, and 3 s more if gp has to import torch.
"""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Iterator
from typing import Any

from sweeps.search.history import History, Json, silence_optuna
from sweeps.search.live_study import LiveStudy
from sweeps.search.parameters import Params
from sweeps.spec.trial import canonical, digest

_TRIES, _GP_TRIES = 8, 2  # draws by the sampler before a repeated suggestion is replaced; gp takes a second per draw
_RANDOM_TRIES = 10_000  # random draws (20 us each) before a space counts as exhausted
_ENUMERABLE = 100_000  # largest space (in configurations) that is enumerated to find new ones
_GENERATION, _SOBOL = "sweeps:generation", "sweeps:sobol"  # our own trial attributes, stored with a suggestion


def draw(history: History, live: LiveStudy) -> Json | None:
    """The next suggestion as stored, without its number and time; None if there is no new configuration.

    live: kept by the caller between suggestions
    """
    from optuna.distributions import distribution_to_json

    seed = seed_of(history)
    point = history.next_point() or {}
    with silence_optuna():
        study = live.catch_up(history)
        study.sampler = _sampler(history, live, seed)
        before = _study_attrs(study)
        for fixed, attrs in _draws(history, point, seed):
            if fixed:
                study.enqueue_trial(fixed)
            overrides = history.spec.space.suggest(study.ask())
            if canonical(overrides) in history.seen:
                continue
            trial = study.get_trials(deepcopy=False)[-1]
            return {
                # A point is trained exactly as given (0.1, not 0.09999999999999999), so that it is the same trial.
                "overrides": overrides | point,
                "params": trial.params,
                "distributions": {name: json.loads(distribution_to_json(d)) for name, d in trial.distributions.items()},
                "study_attrs": {key: value for key, value in _study_attrs(study).items() if before.get(key) != value},
                "trial_attrs": trial.system_attrs | attrs,
            }
    return None


def seed_of(history: History) -> int:
    """The seed of the sampler that draws the next suggestion."""
    return int(digest([history.spec.seed, len(history.asks)], 8), 16)


def _draws(history: History, point: Params, seed: int) -> Iterator[tuple[Params, Json]]:
    """Candidates: (parameters fixed before the sampler draws the rest, trial attributes to store)."""
    sampler = history.spec.sampler
    if point:
        yield history.spec.space.params_of(point), {}
    elif sampler == "qmc":
        yield from itertools.islice(_sobol(history), _TRIES)
    elif sampler == "cmaes":
        yield from itertools.islice(_evolve(history, seed), _TRIES)
    else:
        yield from itertools.repeat(({}, {}), _GP_TRIES if sampler == "gp" else _TRIES)
    if unseen := _unseen(history, seed):
        yield unseen, {}


def _sampler(history: History, live: LiveStudy, seed: int) -> Any:
    """A new Optuna sampler for the parameters that `_draws` does not fix."""
    from optuna import samplers

    name, conditional = history.spec.sampler, history.spec.space.conditional
    if name in ("random", "qmc"):
        return samplers.RandomSampler(seed=seed)
    if name == "nsga2":
        return samplers.NSGAIISampler(seed=seed, population_size=max(4, min(50, history.begun_with // 4)))
    jointly = conditional or len(history.spec.metrics) == 1
    if name == "tpe" and jointly and not conditional:
        from sweeps.search.joint_tpe import JointTPE

        return JointTPE(live.space, seed)
    tpe = samplers.TPESampler(seed=seed, multivariate=jointly, group=conditional, constant_liar=True)
    if name == "gp":
        return samplers.GPSampler(seed=seed, independent_sampler=tpe, warn_independent_sampling=False)
    return tpe


def _sobol(history: History) -> Iterator[tuple[Params, Json]]:
    """The scrambled Sobol' sequence from the first unused position on."""
    from scipy.stats import qmc

    axes = history.spec.space.axes()
    start = 1 + max((ask["trial_attrs"].get(_SOBOL, -1) for ask in history.asks), default=-1)
    engine = qmc.Sobol(len(axes), scramble=True, seed=int(digest([history.spec.seed, "sobol"], 8), 16))
    if start:
        engine.fast_forward(start)
    for index in itertools.count(start):
        units = engine.random(1)[0]
        yield {axis.name: axis.from_unit(float(u)) for axis, u in zip(axes, units, strict=True)}, {_SOBOL: index}


def _evolve(history: History, seed: int) -> Iterator[tuple[Params, Json]]:
    """CMA-ES (Hansen, arXiv:1604.00772; package cmaes) over the unit cube of the numbers, starting at the first point.

    Its state is recomputed from the history: a generation is complete with its first `population_size` outcomes. Only
    their ranks are used: complete suggestions by value, then pruned ones by the epoch reached, the highest first.
    """
    import cmaes
    import numpy as np

    axes = [axis for axis in history.spec.space.axes(always=True) if not axis.labels]
    start = history.spec.space.params_of(history.spec.points[0]) if history.spec.points else {}
    mean = np.array([axis.to_unit(start[axis.name]) if axis.name in start else 0.5 for axis in axes])
    bounds = np.array([[0.0, 1.0]] * len(axes))
    optimiser = cmaes.CMA(mean, sigma=1 / 6, bounds=bounds, n_max_resampling=10 * len(axes), seed=seed)
    size = optimiser.population_size
    while len(outcomes := _outcomes(history, optimiser.generation)[:size]) == size:
        ranked = [history.asks[number]["params"] for _, number in sorted(outcomes, key=lambda one: one[0])]
        units = [np.array([axis.to_unit(params[axis.name]) for axis in axes]) for params in ranked]
        optimiser.tell([(unit, float(rank)) for rank, unit in enumerate(units)])
    while True:
        drawn = optimiser.ask()
        params = {axis.name: axis.from_unit(float(u)) for axis, u in zip(axes, drawn, strict=True)}
        yield params, {_GENERATION: optimiser.generation}


def _outcomes(history: History, generation: int) -> list[tuple[tuple[float, ...], int]]:
    """(sort key, best first; number) of the complete and pruned suggestions of a generation, by number."""
    sign = -1 if history.spec.goals[0] == "max" else 1
    outcomes: list[tuple[tuple[float, ...], int]] = []
    for number, ask in enumerate(history.asks):
        tell = history.tells.get(number)
        if ask["trial_attrs"].get(_GENERATION) != generation or tell is None or tell["state"] == "failed":
            continue
        if tell["state"] == "complete":
            rank: tuple[float, ...] = (0, 0, sign * tell["values"][0])
        else:
            epoch, value = tell["intermediate"][-1] if tell["intermediate"] else (0, None)
            rank = (1, -epoch, math.inf if value is None else sign * value)
        outcomes.append((rank, number))
    return outcomes


def _unseen(history: History, seed: int) -> Params | None:
    """Parameters of a new configuration: uniform over those left in a small space, else the first new random draw."""
    space, chance = history.spec.space, random.Random(seed)
    if history.size is not None and history.size <= _ENUMERABLE:
        left = [params for params in space.points() if history.key(params) not in history.seen]
        return chance.sample(left, 1)[0] if left else None
    for _ in range(_RANDOM_TRIES):
        params = {axis.name: axis.from_unit(chance.random()) for axis in space.axes()}
        if history.key(params) not in history.seen:
            return params
    return None


def _study_attrs(study: Any) -> Json:
    """Study attributes of samplers (nsga2 stores the parents of each generation)."""
    return dict(study._storage.get_study_system_attrs(study._study_id))
