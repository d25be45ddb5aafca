"""A program as the learner of a trial: it trains by itself, and the loop follows its records."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from trainables.command import checkpoint_folder, files
from trainables.command.arguments import command_line
from trainables.command.output import Output
from trainables.command.program import Program
from trainables.command.records import GapError, Record, RecordFile, Sequence
from trainables.errors import TrialError
from trainables.training.session import Machine, Stopped

POLL_S = 0.02
"""Seconds between two looks for a record."""
SETTLED_S = 0.5
"""A checkpoint that is newer than the last record is complete when nothing has changed for this long."""
SNAPSHOT_S = 5.0
"""Seconds to wait for a moment in which the checkpoint is complete; then the last complete one is stored again."""
LOG_S = 1.0
OUT, CHECKPOINT, SAMPLES = "out", "checkpoint", "samples"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class ProgramLearner:
    """Starts the program with the first epoch that is asked for.

    The scratch folder has `work` (the program's files, and its working directory), `out` with `checkpoint` and
    `samples`, `records.jsonl` and `config.json`. It is deleted when the trial ends.
    """

    parameters = 0

    def __init__(self, config: Mapping[str, Any], machine: Machine) -> None:
        self._config, self._machine = config, machine
        self._scratch = machine.resources.enter_context(machine.scratch("command"))
        self.out = self._scratch / OUT
        self._program: Program | None = None
        self._output = Output(machine.log)
        self._files: dict[str, Tensor] = {}
        self._restored: list[str] = []
        self._finished = False
        self.record: Record | None = None
        """The record of the current epoch."""

    # --- following the program ----------------------------------------------------------------------------------------

    def advance(self, epoch: int) -> Record:
        """Wait for the record of an epoch; after the last one, wait until the program has ended.

        Raises Stopped if the trial is asked to stop before the program has written the record, TrialError if the
        program fails, ends early or takes longer than `timeout`, and Diverged for a value that is not finite.
        """
        if self._program is None:
            self._start(self._files)
        try:
            self.record = self._next(epoch)
        except GapError as gap:
            self._machine.log(f"{gap.given}, but epoch {epoch} is missing: the program starts from its beginning")
            self._close()
            self._start({})
            self._records.restart()
            self.record = self._next(epoch)
        if self.record.parameters is not None:
            self.parameters = self.record.parameters
        if epoch == self._config["epochs"]:
            self._finish(epoch)
        return self.record

    def _next(self, epoch: int) -> Record:
        assert self._program is not None
        began = logged = time.monotonic()
        while True:
            has_ended = self._program.has_ended()
            self._read(has_ended)
            record = self._records.take(epoch)
            if record is not None:
                return record
            if self._stopped_by_us:
                raise Stopped(f"in epoch {epoch} of {self._config['epochs']}")
            if has_ended:
                raise self._ended_early(epoch)
            now = time.monotonic()
            if self._machine.stopping():
                self._stop()
                continue
            if self._config["timeout"] is not None and now - began > self._config["timeout"]:
                raise self._too_slow(f"it has written no record of epoch {epoch}")
            if now - logged > LOG_S:
                self._output.flush()
                logged = now
            self._program.has_ended(POLL_S)

    def _finish(self, epoch: int) -> None:
        """Wait until the program has ended, and check how."""
        assert self._program is not None
        deadline = time.monotonic() + (self._config["timeout"] or float("inf"))
        while not self._program.has_ended(0.2):
            self._read(False)
            if self._records.waiting:
                break
            if self._machine.stopping():
                self._stop()
            elif time.monotonic() > deadline:
                raise self._too_slow("it has not ended after its last record")
        self._read(True)
        if self._records.waiting:
            raise TrialError(
                f"record {self._records.waiting[0]!r}"[:200],
                f"it follows the record of epoch {epoch}, which is the last",
                f"{self._config['epochs']} records, see `epochs`",
                'give the number of epochs to the program: "{epochs}" in `run`, or `epochs` in SWEEPS_CONFIG',
            )
        if self._program.exit_code and not self._stopped_by_us:
            raise self._failed()
        self._finished = True

    def _read(self, has_ended: bool) -> None:
        self._records.add(self._file.read(has_ended))
        self._records.add(self._output.records())

    # --- starting and ending ------------------------------------------------------------------------------------------

    def _start(self, checkpoint: Mapping[str, Tensor]) -> None:
        self._stopped_by_us = False
        work, records = self._scratch / "work", self._scratch / "records.jsonl"
        for path in (work, self.out):
            shutil.rmtree(path, ignore_errors=True)
        records.unlink(missing_ok=True)
        work.mkdir()
        if self._config["code_hash"]:
            files.copy(self._config["code_hash"], work)
        for name in (CHECKPOINT, SAMPLES):
            (self.out / name).mkdir(parents=True)
        checkpoint_folder.write(self.out / CHECKPOINT, checkpoint)
        self._file = RecordFile(records)
        ignores = self._config.get("other_columns") == "ignore"  # plans of earlier versions do not say
        self._records = Sequence(self._config["metrics"], self._restored, bool(checkpoint), ignores)
        values = {
            **self._config["parameters"],
            "seed": self._config["seed"],
            "epochs": self._config["epochs"],
            "out": f"../{OUT}",
            "python": sys.executable,
            "device": _kind(self._machine.device),
            "cpus": self._machine.cpus,
            "data_root": str(self._machine.data_root or ""),
        }
        arguments = command_line(self._config["run"], values)
        environment = self._environment(records)
        self._machine.log(f"runs {json.dumps(arguments)}"[:2000])
        self._program = Program(arguments, work, environment, self._scratch, self._output)
        self._machine.resources.callback(self._program.close)

    def _environment(self, records: Path) -> dict[str, str]:
        config = {key: self._config[key] for key in ("epochs", "seed")}
        path = self._scratch / "config.json"
        path.write_text(json.dumps({**self._config["parameters"], **config}, indent=1))
        own = {
            "SWEEPS_CONFIG": str(path),
            "SWEEPS_RECORDS": str(records),
            "SWEEPS_OUT": str(self.out),
            "SWEEPS_SEED": str(config["seed"]),
            "SWEEPS_DEVICE": _kind(self._machine.device),
            "PYTHONUNBUFFERED": "1",
            **{name: str(self._machine.cpus) for name in THREADS},
        }
        if self._machine.data_root is not None:
            own["SWEEPS_DATA"] = str(self._machine.data_root)
        if own["SWEEPS_DEVICE"] == "cpu":
            own["CUDA_VISIBLE_DEVICES"] = ""
        # The interpreter of the sweep is the last resort for `python` and for the commands of installed packages.
        own["PATH"] = os.pathsep.join([*filter(None, [os.environ.get("PATH")]), str(Path(sys.executable).parent)])
        return {**os.environ, **own}

    def _stop(self) -> None:
        """Ask the program to save its checkpoint and end; after `grace` seconds it is killed."""
        assert self._program is not None
        self._snapshot(0.0)  # in case it has to be killed while it writes the next one
        self._stopped_by_us = True
        self._machine.log(f"sends SIGTERM to the program, which has {self._config['grace']:g} s to end")
        if self._program.terminate(self._config["grace"]):
            self._machine.log(f"the program has ended: {self._program.ending()}")
            self._snapshot(SNAPSHOT_S)
        else:
            self._machine.log("the program did not end, and was killed; its last complete checkpoint is kept")

    def _close(self) -> None:
        if self._program is not None:
            self._program.close()

    # --- checkpoints --------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The checkpoint folder, with the records that were written before it but are not part of the history yet."""
        if self._program is None:
            return {"files": self._files, "records": self._restored, "parameters": self.parameters}
        if self._machine.stopping() and not self._program.has_ended():
            self._stop()
        elif not self._stopped_by_us:
            self._snapshot(SNAPSHOT_S)
        return {"files": self._files, "records": self._records.waiting, "parameters": self.parameters}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._files, self._restored = dict(state["files"]), list(state["records"])
        self.parameters = int(state["parameters"])

    def inference_weights(self) -> dict[str, Tensor]:
        return {}

    def _snapshot(self, wait_s: float) -> None:
        """Read the checkpoint folder at a moment at which it belongs to a record that was written.

        That is, the program has ended, or nothing in the folder is newer than the last record, or nothing has changed
        for `SETTLED_S`. If there is no such moment within `wait_s`, the last one that was read stays.
        """
        assert self._program is not None
        folder, deadline = self.out / CHECKPOINT, time.monotonic() + wait_s
        while True:
            has_ended = self._program.has_ended()
            listed = checkpoint_folder.listing(folder)
            self._read(has_ended)
            changed_ns = max(self._file.changed_ns, self._output.changed_ns)
            is_settled = time.time_ns() - listed.changed_ns > SETTLED_S * 1e9
            if has_ended or listed.changed_ns <= changed_ns or is_settled:
                found = checkpoint_folder.read(folder, listed)
                if found is not None:
                    self._files = found
                    return
            if time.monotonic() >= deadline:
                return
            time.sleep(POLL_S)

    # --- errors -------------------------------------------------------------------------------------------------------

    def _failed(self) -> TrialError:
        assert self._program is not None
        ending, lines = self._program.ending(), self._output.last_lines()
        killed = ending == "signal SIGKILL"
        return TrialError(
            f"the program ended with {ending}",
            (f"its last lines: {lines}" if lines else "it wrote no output")
            + ("; perhaps the machine ran out of memory" if killed else ""),
            "exit code 0",
            "correct the program; sweeps show TRIAL prints more of its output",
        )

    def _ended_early(self, epoch: int) -> TrialError:
        assert self._program is not None
        if self._program.exit_code:
            return self._failed()
        lines = self._output.last_lines()
        return TrialError(
            f"the program ended after {epoch - 1} of {self._config['epochs']} epochs",
            ("it wrote no record" if epoch == 1 else f"it wrote no record of epoch {epoch}")
            + (f"; its last lines: {lines}" if lines else ""),
            "one line of JSON for each epoch in the file named by SWEEPS_RECORDS, or behind `@sweeps ` on its output",
            "append records as in docs/command.md, or set `epochs` to the number of epochs of the program",
        )

    def _too_slow(self, what: str) -> TrialError:
        self._close()
        lines = self._output.last_lines()
        return TrialError(
            f"timeout: {self._config['timeout']:g} s",
            f"{what} within this time" + (f"; its last lines: {lines}" if lines else ""),
            "a time that is longer than an epoch of the program; null: no limit",
            "raise `timeout`",
            "timeout",
        )


def _kind(device: str) -> str:
    return device.partition(":")[0]
