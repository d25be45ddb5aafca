"""Exit codes of `run` and `resume` tell whether the same command would do anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeps.cli import common
from sweeps.cli.main import main

SWEEP = """\
# Which number fails?
name: numbers
task: command
base:
  run: ["sh", "./one.sh", "{n}"]
  code: [one.sh]
  n: 0
  epochs: 1
  metrics: {val/n: max, test/n: max}
grid: {n: [0, 1]}
"""
PROGRAM = """\
echo "{\\"epoch\\": 1, \\"val/n\\": $1, \\"test/n\\": $1}" >> "$SWEEPS_RECORDS"
exit "$1"
"""


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The arguments of a command that runs a sweep of two trials, of which one fails."""
    (tmp_path / "numbers.yaml").write_text(SWEEP)
    (tmp_path / "one.sh").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    return ["--store", "store", "--address", "in-process", "--quiet"]


def test_a_retry_policy_can_tell_failed_trials_from_missing_ones(sweep: list[str]) -> None:
    run = ["run", "numbers.yaml", *sweep]
    in_no_time = ["--time-budget", "0.001s", "--failed-trials-exit", "0"]
    assert main([*run, *in_no_time]) == common.FAILED, "trials are missing"
    assert main([*run, "--failed-trials-exit", "3"]) == 3, "one trial failed, the other one is done"
    assert main(["resume", "numbers", *sweep, "--failed-trials-exit", "0"]) == 0, "nothing is left but the failed trial"
    assert main(run) == common.FAILED


@pytest.mark.parametrize("code", ["300", "-1", "1.5", "soon"])
def test_a_code_that_is_none_is_refused(code: str, sweep: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "numbers.yaml", *sweep, f"--failed-trials-exit={code}"])
    assert f"'{code}' is not an exit code from 0 to 125" in capsys.readouterr().err
