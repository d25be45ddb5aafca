"""What a suggestion costs by the number of earlier ones: ours, whose state is in a store, and Optuna's own in memory.

Both ask and tell in turn with the same sampler and space; ours writes and flushes two files for each suggestion. Both
do so in alternation, so that load on the machine meets both. A new sampler for each ask is part of what ours is.

    python -m tests.benchmarks.bench_search [--sampler tpe] [--at 100 280 1000] [--asks 20]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import optuna

from sweeps.search.search import Search, SearchSpec
from sweeps.search.space import parse
from sweeps.store.local import FolderStore
from tests.benchmarks.figures import show

SPACE: dict[str, Any] = {
    "optimiser.lr": {"float": [1.0e-4, 1.0e-1], "log": True},
    "optimiser.weight_decay": {"float": [1.0e-6, 1.0e-2], "log": True},
    "model.width": {"int": [8, 256]},
    "loss.tv": {"float": [0.0, 1.0]},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sampler", choices=("tpe", "random", "nsga2"), default="tpe")
    parser.add_argument("--at", type=int, nargs="+", default=[100, 280, 1000])
    parser.add_argument("--asks", type=int, default=20)
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    optuna_samplers = {
        "tpe": lambda: optuna.samplers.TPESampler(seed=0, multivariate=True, constant_liar=True),
        "random": lambda: optuna.samplers.RandomSampler(seed=0),
        "nsga2": lambda: optuna.samplers.NSGAIISampler(seed=0),
    }
    plain = optuna.create_study(sampler=optuna_samplers[given.sampler]())
    with tempfile.TemporaryDirectory() as folder:
        spec = SearchSpec(parse(SPACE), 10**6, ("val/l1",), ("min",), given.sampler)
        ours = Search(FolderStore(Path(folder)), "bench", "base", spec)
        for at in sorted(given.at):
            while len(plain.get_trials(deepcopy=False)) < at:
                _ask_optuna(plain)
            while len(ours._history.asks) < at:
                _ask_ours(ours)
            pairs = [(_timed(_ask_ours, ours), _timed(_ask_optuna, plain)) for _ in range(given.asks)]
            mine, theirs = (1e3 * statistics.median(times) for times in zip(*pairs, strict=True))
            more = f"{mine:.1f} ms, Optuna {theirs:.1f} ms"
            show(f"{given.sampler} after {at}: ours / Optuna's", [one / other for one, other in pairs], more=more)


def _timed(ask: Any, of: Any) -> float:
    start = time.perf_counter()
    ask(of)
    return time.perf_counter() - start


def _ask_ours(search: Search) -> None:
    ask = search.ask()
    assert ask
    search.tell(ask.number, "complete", [ask.overrides["loss.tv"] + ask.overrides["optimiser.lr"]])


def _ask_optuna(study: optuna.Study) -> None:
    trial = study.ask()
    rate = trial.suggest_float("optimiser.lr", 1e-4, 1e-1, log=True)
    trial.suggest_float("optimiser.weight_decay", 1e-6, 1e-2, log=True)
    trial.suggest_int("model.width", 8, 256)
    study.tell(trial, trial.suggest_float("loss.tv", 0.0, 1.0) + rate)


if __name__ == "__main__":
    main()
