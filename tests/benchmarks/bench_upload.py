"""Share of training that a trial spends in its session's `save`, with large checkpoints on an S3 server.

The model is simulated: a checkpoint of random bytes and an epoch that sleeps; session, ledger, store and server (rclone
or moto, in a process of its own on loopback) are real. Compares with the same writes made inside `save`, and says how
long serialising takes, which training waits for as well.

    python -m tests.benchmarks.bench_upload [--mb 300] [--epoch-s 20] [--epochs 4] [--server rclone]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import torch

from cluster.worker.store_session import StoreSession
from sweeps.store import attempts as stored_attempts
from sweeps.store.base import Store
from sweeps.store.open import open_store
from tests.s3servers import BUCKET, KEY, SECRET, moto_server, rclone_server
from trainables.training import checkpoint
from trainables.training.session import Goal, Machine


def session_on(store: Store, trial: str, epochs: int) -> StoreSession:
    claim = {"claimed_at": 0.0, "provenance": {}}
    attempt = stored_attempts.claim(store, trial, 0, claim)
    assert attempt is not None
    return StoreSession(store, attempt, Goal(epochs), Machine(), claim, 0.0, lambda row: None)


def train(store: Store, trial: str, state: dict[str, torch.Tensor], epochs: int, epoch_s: float, inline: bool) -> None:
    """Epochs that sleep and save; prints the share of the time that training was blocked."""
    packed_s = saved_s = 0.0
    started = time.perf_counter()
    with session_on(store, trial, epochs) as session:
        for epoch in range(1, epochs + 1):
            time.sleep(epoch_s)
            packing = time.perf_counter()
            files = checkpoint.pack(state, [{"epoch": epoch}], None)
            saving = time.perf_counter()
            session.save(epoch, files)
            if inline:
                session._uploads.wait()
            ended = time.perf_counter()
            packed_s, saved_s = packed_s + saving - packing, saved_s + ended - saving
        total_s = time.perf_counter() - started
    last_s = time.perf_counter() - started - total_s
    print(
        f"{'inside save' if inline else 'beside training'}: {total_s:.1f} s for {epochs} epochs; blocked in save "
        f"{saved_s:.2f} s = {saved_s / total_s:.2%}, serialising {packed_s:.2f} s = {packed_s / total_s:.2%}; "
        f"at the end {last_s:.2f} s for the last upload",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=float, default=300)
    parser.add_argument("--epoch-s", type=float, default=20)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--server", choices=["rclone", "moto"], default="rclone")
    options = parser.parse_args()
    os.environ |= {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1"}
    state = {"weights": torch.rand(int(options.mb * 1e6 / 4))}
    with tempfile.TemporaryDirectory() as folder:
        serving = rclone_server(Path(folder) / "served") if options.server == "rclone" else moto_server()
        with serving as server:
            os.environ["AWS_ENDPOINT_URL"] = server.url
            store = open_store(f"s3://{BUCKET}/bench")
            for trial, inline in (("beside", False), ("inside", True)):
                train(store, trial, state, options.epochs, options.epoch_s, inline)


if __name__ == "__main__":
    main()
