"""What early stopping saves and whether it costs the winner: one real search with ASHA, and the same search without.

Both ask the same random configurations (the random sampler does not look at what it is told), so the best of the full
search is known, and the question is whether ASHA let it live. Real CIFAR-10, blind autoencoder, learning rate, width.

    python -m tests.benchmarks.bench_asha [--suggestions 16] [--epochs 9] [--images 1000] [--grace 3]
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cluster.driver import driver, pending_work
from cluster.driver.queue.trial_queue import Job
from sweeps.run_options import RunOptions
from sweeps.search.search import Search, stored_searches
from sweeps.spec import expand, loader
from sweeps.store.local import FolderStore
from trainables import schema

SWEEP = """\
# Does ASHA keep the best configuration?
name: search
task: inpaint
base:
  data: {{name: cifar10, train: {images}, val: 500, test: 2}}
  mask: {{name: lines}}
  model: {{name: vanilla_autoencoder}}
  optimiser: {{name: adam, lr: 1.0e-3}}
  batch: 64
  epochs: {epochs}
search:
  space: {{optimiser.lr: {{float: [1.0e-5, 1.0e-1], log: true}}, model.width: {{choice: [8, 16, 32]}}}}
  trials: {suggestions}
  sampler: random
  metric: val/psnr_db
  goal: max
  early_stopping: {{name: {rule}, grace_epochs: {grace}, reduction_factor: {factor:g}}}
  report_best: 0
"""


class Count:
    """A watcher that counts the epochs of the search's trials."""

    epochs = 0

    def added(self, jobs: Sequence[Job]) -> None:
        pass

    def started(self, job: Job) -> None:
        pass

    def record(self, job: Job, row: dict[str, Any]) -> None:
        self.epochs += " try " in job.label

    def ended(self, job: Job, state: str) -> None:
        assert state in ("done", "pruned"), (job, state)


def search(rule: str, options: argparse.Namespace, folder: Path) -> tuple[Search, int]:
    """Run the search with a rule; the search and the epochs that were trained for it."""
    file = folder / f"{rule}.yaml"
    file.write_text(SWEEP.format(rule=rule, **vars(options)))
    store, count = FolderStore(folder / rule), Count()
    work = pending_work.work_left(expand.expand(loader.load(file), schema), store, schema)
    driver.write(work.plan, store, ())
    root = str(Path(os.environ.get("SWEEPS_DATA", "../shared/data")).resolve())
    driver.run(work, store, schema, RunOptions(data=root), count)
    return stored_searches(store, "search")["base"], count.epochs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suggestions", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--grace", type=int, default=3)
    parser.add_argument("--factor", type=float, default=2.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        full, all_epochs = search("none", options, Path(folder))
        asha, some_epochs = search("asha", options, Path(folder))
        assert [a.overrides for a in full.asks()] == [a.overrides for a in asha.asks()], "the same questions"
        winner, kept = full.best(1)[0], asha.best(1)[0]
        rank = [ask.number for ask in full.best(options.suggestions)].index(kept.number) + 1
        print(
            f"{options.suggestions} suggestions x {options.epochs} epochs, grace {options.grace}, "
            f"factor {options.factor:g}: full search best is suggestion {winner.number} ({winner.values[0]:.2f} dB), "
            f"with ASHA suggestion {kept.number} ({kept.values[0]:.2f} dB, rank {rank} of the full search); "
            f"epochs {some_epochs} of {all_epochs}, {1 - some_epochs / all_epochs:.0%} saved"
        )


if __name__ == "__main__":
    main()
