"""`sweeps gate`: verdicts and exit codes, what is kept of a program, repeats and kills, two at once, errors."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import sweeps as sw
from sweeps.api.gate import holder, ledger
from sweeps.cli.main import build_parser, main
from sweeps.errors import SweepError
from trainables.errors import TrialError

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = """#!/bin/sh
echo "@sweeps {\\"epoch\\": 1, \\"val/score\\": $(( $2 + ($1 * $3) % 100 ))}"
"""
"""Its result is a number of its own plus noise below 100, which the seed and a factor determine."""
COMMAND = "sh train.sh {{seed}} {bonus} {factor}"
NOTHING, BETTER = COMMAND.format(bonus=0, factor=7919), COMMAND.format(bonus=200, factor=7907)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a program, which is the working folder, with a gate of one candidate in its store."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "train.sh").write_text(PROGRAM)
    return folder


def init(budget: int = 1, command: str = COMMAND.format(bonus=0, factor=7901), **options: Any) -> None:
    sw.gate_init("store", command, "val/score", goal="max", budget=budget, **options)


def interrupt(_: str) -> None:
    raise KeyboardInterrupt


def git(*arguments: str, folder: str = ".") -> None:
    subprocess.run(["git", "-C", folder, *arguments], check=True, capture_output=True)


def kept_files() -> list[str]:
    """The files of the initial program."""
    code = Path("store", "code", sw.gate_status("store").settings.initial.code)
    return sorted(path.relative_to(code).as_posix() for path in code.rglob("*") if path.is_file())


def run(*arguments: str) -> int:
    return main(["gate", *arguments, "--store", "store"])


def test_a_better_program_is_kept_and_a_useless_one_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    there = ("--metric", "val/score", "--goal", "max", "--budget", "2")
    assert run("init", "--command", COMMAND.format(bonus=0, factor=7901), *there) == 0
    assert run("try", "--label", "worse", "--command", COMMAND.format(bonus=-90, factor=7919)) == 3
    assert run("try", "--label", "better", "--command", BETTER) == 0
    said = capsys.readouterr()
    assert "discard: 'worse': it is not better" in said.out
    assert "Files of the incumbent: code/" in said.out
    assert "of 23 needed). 1 candidate left." in said.out
    assert "keep: 'better': it is better beyond chance" in said.out
    assert "of 20 needed). 0 candidates left." in said.out
    assert "pair 1: initial" in said.err
    assert run("status") == 0
    shown = capsys.readouterr().out
    assert "incumbent 'better'" in shown
    assert "2 of 2 candidates tried, 1 kept" in shown
    found = sw.gate_status("store")
    worse, better = found.decisions.values()
    assert found.incumbent == 2
    assert worse.spent == 0, "the screening bets nothing"
    assert better.spent == pytest.approx(0.05), "the last candidate may use all that is left"
    assert found.candidates[0].shared_seeds == found.candidates[1].shared_seeds
    assert not set(found.candidates[0].own_seeds) & set(found.candidates[1].own_seeds)
    # The ledger is an ordinary store.
    assert main(["report", "gate-0002-better", "--store", "store", "--format", "md", "--out", "report"]) == 0
    report = " ".join(capsys.readouterr().out.split())
    assert "The claim holds." in report
    assert any("Is better better than initial?" in path.read_text() for path in Path("report").rglob("*.md"))
    assert "Candidate 2 of the gate" in report
    assert main(["claims", "gate-0001-worse", "--store", "store", "--json"]) == 0
    (claim,) = json.loads(capsys.readouterr().out)["claims"]
    assert claim["verdict"] == "undecided", "a candidate that is discarded is not worse beyond chance"
    assert main(["resume", "gate-0002-better", "--store", "store"]) == 2
    assert "adds seeds until it is decided" in capsys.readouterr().err


def test_files_are_kept_as_they_are_when_they_are_tried(project: Path) -> None:
    """The program is edited in place: the incumbent still runs from its own files."""
    init(command="sh train.sh {seed} 0 7901")
    (project / "train.sh").write_text(PROGRAM.replace("$2 +", "200 + $2 +"))
    _, decision = sw.gate_try("store", "edited")
    assert decision.verdict == "keep"
    assert 150 < (decision.mean or 0) < 250
    stored = sw.gate_status("store")
    assert stored.program(0).code != stored.program(1).code
    code = project / "store" / "code" / stored.program(0).code
    assert (code / "train.sh").read_text() == PROGRAM


def test_the_same_program_needs_no_run_and_no_budget() -> None:
    init(budget=1)
    found, decision = sw.gate_try("store", "comment only")
    assert (decision.verdict, decision.runs, decision.spent) == ("discard", 0, 0)
    assert found.tested == 0


def test_a_program_that_fails_is_discarded_and_costs_no_error() -> None:
    init(budget=1)
    found, decision = sw.gate_try("store", "crash", command="sh -c 'echo no memory; exit 7' train.sh")
    assert decision.verdict == "discard"
    assert "exit code 7" in decision.reason
    assert "no memory" in decision.reason
    assert (found.spent, found.tested) == (0, 0)
    _, silent = sw.gate_try("store", "silent", command="sh -c 'echo nothing' train.sh")
    assert "wrote no record" in silent.reason
    nan = """sh -c 'echo "@sweeps {\\"epoch\\": 1, \\"val/score\\": NaN}"'"""
    _, diverged = sw.gate_try("store", "nan", command=nan)
    assert "not finite" in diverged.reason


def test_a_failure_on_an_own_seed_is_a_lost_bet(project: Path) -> None:
    """Otherwise a program that fails where its result is bad would use up no error."""
    count = project.parent / "count"
    (project / "fails.sh").write_text(f'echo >> {count}; [ $(wc -l < {count}) -lt 5 ] || exit 1; sh train.sh "$@"')
    init()
    found, decision = sw.gate_try("store", "fails later", command="sh fails.sh {seed} 200 7907")
    assert (decision.verdict, decision.pairs) == ("discard", 4)
    assert decision.e_value < 0.1
    assert found.spent > 0.04


def test_a_failure_on_an_own_seed_is_not_repeated_after_a_kill(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise whoever kills the call before its verdict is stored would bet twice on one seed."""
    count = project.parent / "count"
    (project / "fails.sh").write_text(f'echo >> {count}; [ $(wc -l < {count}) -ne 5 ] || exit 1; sh train.sh "$@"')
    init()

    def killed(*_: Any) -> bool:
        monkeypatch.setattr(ledger, "write_decision", write)
        raise KeyboardInterrupt

    write = ledger.write_decision
    monkeypatch.setattr(ledger, "write_decision", killed)
    with pytest.raises(KeyboardInterrupt):
        sw.gate_try("store", "fails once", command="sh fails.sh {seed} 200 7907")
    assert sw.gate_status("store").open is not None
    _, decision = sw.gate_try("store", "fails once", command="sh fails.sh {seed} 200 7907")
    assert (decision.verdict, decision.pairs) == ("discard", 4)
    assert "its program failed" in decision.reason
    assert decision.e_value < 0.1
    assert len(count.read_text()) == 5, "the program did not run again"


def test_a_program_without_any_effect_does_not_harm_the_next_candidate() -> None:
    """Its differences are all 0, which says nothing about the noise of others."""
    init(budget=2)
    _, nothing = sw.gate_try("store", "no-op", command=COMMAND.format(bonus="000", factor=7901))
    assert (nothing.reason, nothing.pairs, nothing.squares) == ("it makes no difference", 3, 0)
    found, better = sw.gate_try("store", "better", command=BETTER)
    assert better.verdict == "keep"
    assert found.candidates[1].typical is None


def test_the_command_is_that_of_an_incumbent_kept_while_the_call_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    init(budget=2)
    hold = holder.only_one

    def kept_just_before(*arguments: Any) -> Any:
        monkeypatch.setattr(holder, "only_one", hold)
        assert sw.gate_try("store", "better", command=BETTER)[1].verdict == "keep"
        return hold(*arguments)

    monkeypatch.setattr(holder, "only_one", kept_just_before)
    found, decision = sw.gate_try("store", "same files")
    assert decision.reason == "it is the program of the incumbent"
    assert found.candidates[1].program.run == found.candidates[0].program.run


def test_a_store_without_the_gate_says_so(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    init(budget=2)
    with pytest.raises(KeyboardInterrupt):
        sw.gate_try("store", "open", command=BETTER, progress=interrupt)

    def evidence(sweep: str) -> str:
        assert main(["claims", sweep, "--store", "store", "--json"]) == 0
        return str(json.loads(capsys.readouterr().out)["claims"][0]["sentence"])

    assert evidence("gate-0001-open").endswith("no verdict yet.")
    sw.gate_try("store", "open", command=BETTER)
    assert "only the gate's verdict is valid" in evidence("gate-0001-open")
    shutil.rmtree(project / "store" / "gates")
    assert evidence("gate-0001-open").endswith("this store does not have the gate, so its verdict is not known.")


def test_an_incumbent_that_fails_is_an_error() -> None:
    init(command="sh -c 'exit 3' train.sh")
    with pytest.raises(SweepError, match="it fails now") as raised:
        sw.gate_try("store", "better", command=BETTER)
    assert "exit code 3" in raised.value.why
    assert sw.gate_status("store").spent == 0


def test_a_candidate_that_ignores_its_seed_is_discarded() -> None:
    """A seed that was chosen because it was lucky would otherwise be an improvement."""
    init()
    _, decision = sw.gate_try("store", "lucky seed", command="sh train.sh 5 300 1")
    assert decision.verdict == "discard"
    assert "same on every seed" in decision.reason


def test_an_incumbent_that_ignores_its_seed_is_an_error() -> None:
    init(command="sh train.sh 5 0 1")
    with pytest.raises(SweepError, match="ignores the seed") as raised:
        sw.gate_try("store", "better", command=BETTER)
    assert "{seed}" in raised.value.allowed
    assert sw.gate_status("store").spent == 0


def test_an_interrupted_candidate_continues_with_the_same_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    init()
    seen: list[str] = []

    def interrupt(sentence: str) -> None:
        seen.append(sentence)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sw.gate_try("store", "better", command=BETTER, progress=interrupt)
    before = sw.gate_status("store").open
    with pytest.raises(SweepError, match="is not decided") as raised:
        sw.gate_try("store", "another", command=NOTHING)
    assert "--label better, with its files" in raised.value.fix
    assert run("status") == 0
    assert "1 is open: sweeps gate try --label better continues it" in capsys.readouterr().out
    again: list[str] = []
    found, decision = sw.gate_try("store", "better", command=BETTER, progress=again.append)
    assert again[:2] == seen
    assert found.candidates == [before]
    assert decision.verdict == "keep"
    assert sw.gate_try("store", "better", command=BETTER)[1] == decision, "a repeat returns the verdict"


def test_an_interrupted_candidate_can_be_abandoned() -> None:
    init(budget=2)
    with pytest.raises(KeyboardInterrupt):
        sw.gate_try("store", "better", command=BETTER, progress=interrupt)
    found, decision = sw.gate_try("store", "worse", command=COMMAND.format(bonus=-300, factor=7919), abandon=True)
    assert [one.verdict for one in found.decisions.values()] == ["discard", "discard"]
    assert found.decisions[1].reason == "it was abandoned"
    assert found.decisions[1].pairs == 1
    assert decision.number == 2


@pytest.mark.slow
def test_a_killed_process_leaves_nothing_to_repair() -> None:
    """Starts a process, kills it after its first pair, and repeats the command."""
    init()
    command = [sys.executable, "-m", "sweeps", "gate", "try", "--label", "better", "--command", BETTER]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        assert "pair 1" in process.stderr.readline()
        with pytest.raises(SweepError, match="another process") as raised:
            sw.gate_try("store", "better", command=BETTER)
        assert str(process.pid) in raised.value.why
        process.send_signal(signal.SIGKILL)
    assert sw.gate_try("store", "better", command=BETTER)[1].verdict == "keep"


def test_one_process_at_a_time() -> None:
    init()
    store = sw.open("store")
    with holder.only_one(store, "gate"), pytest.raises(SweepError, match="another process"):
        sw.gate_try("store", "better", command=BETTER)
    with holder.only_one(store, "gate"):
        pass  # it is free again


def test_a_silent_process_of_another_machine_is_replaced() -> None:
    init()
    store = sw.open("store")
    claim = {"schema": 1, "process": {"pid": 1, "started": "1", "machine": "another"}}
    store.put("gates/gate/tries/0001.json", json.dumps(claim).encode())
    began = time.monotonic()
    with holder.only_one(store, "gate", lease_s=0.2):
        assert time.monotonic() - began > 0.15


def test_the_budget_is_a_limit() -> None:
    init(budget=1)
    sw.gate_try("store", "worse", command=COMMAND.format(bonus=-300, factor=7919))
    with pytest.raises(SweepError, match="budget of 1 candidate is used up") as raised:
        sw.gate_try("store", "better", command=BETTER)
    assert "sweeps gate init" in raised.value.fix


# --- what is given ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"command": "sh 'train.sh"}, "quotes"),
        ({"command": " "}, "empty"),
        ({"metric": "score"}, "--metric 'score'"),
        ({"metric": "sys/time_s", "goal": "min"}, "--metric 'sys/time_s'"),
        ({"metric": "val/psnr_db", "goal": "min"}, "--metric val/psnr_db --goal min"),
        ({"budget": 0}, "no candidate"),
        ({"name": "My gate"}, "name of a gate"),
        ({"label": "x" * 61}, "61 characters"),
        ({"label": " "}, "blank"),
        ({"command": "sh train.sh {rate}"}, r"--command {rate}\s+why: +{rate} is not one of the placeholders"),
        ({"epochs": 0}, "--epochs 0"),
        ({"code": ["*.py"]}, "no file"),
        ({"resources": {"cpus": 0}}, "--cpus 0"),
    ],
)
def test_mistakes_are_told_at_the_start(project: Path, given: dict[str, Any], word: str) -> None:
    options = {"command": NOTHING, "metric": "val/score", "goal": "max", **given}
    with pytest.raises(ValueError, match=word) as raised:
        sw.gate_init("store", options.pop("command"), options.pop("metric"), **options)
    parts = [getattr(raised.value, part) for part in ("given", "why", "allowed", "fix")]
    assert not re.search(r"<python>|base|report", " ".join(parts)), "a sweep that the user has not written"
    assert not (project / "store" / "gates").exists()


def test_a_gate_is_started_once() -> None:
    init()
    with pytest.raises(SweepError, match="has a gate of this name"):
        init()
    init(name="gate-2")
    assert ledger.names(sw.open("store")) == ["gate", "gate-2"]


def test_an_unknown_gate_is_an_error() -> None:
    init()
    with pytest.raises(SweepError, match="no gate of this name") as raised:
        sw.gate_status("store", "other")
    assert raised.value.allowed == "gate"


def test_what_git_ignores_and_the_store_are_no_part_of_a_program(project: Path) -> None:
    git("init")
    (project / ".gitignore").write_text("*.bin\nrun.sh\n")
    (project / "weights.bin").write_bytes(b"0" * 20_000_000)
    (project / "new.txt").write_text("not tracked yet")
    git("add", "train.sh")
    init()
    assert kept_files() == [".gitignore", "new.txt", "train.sh"]
    (project / "run.sh").write_text(PROGRAM)
    with pytest.raises(SweepError, match="does not have this one"):
        sw.gate_try("store", "ignored", command="sh run.sh {seed} 0 1")


def test_a_repository_that_ignores_everything_has_no_files_to_store(project: Path) -> None:
    """All files of the folder would include passwords."""
    git("init")
    (project / ".gitignore").write_text("*\n")
    (project / "passwords.txt").write_text("secret")
    with pytest.raises(SweepError, match="no files that git does not ignore") as raised:
        init()
    assert "--code" in raised.value.fix
    init(code=["train.sh"])


def test_a_repository_that_git_refuses_is_an_error(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git("init")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(SweepError, match="dubious ownership") as raised:
        init()
    assert "--code" in raised.value.fix
    monkeypatch.setenv("PATH", str(project))
    with pytest.raises(SweepError, match="no git"):
        init()


def test_files_of_repositories_inside_are_part_of_a_program(project: Path) -> None:
    """As submodules or untracked: their files run, so a change of them is a change of the program."""
    for name in ("sub", "inner"):
        (project / name).mkdir()
        git("init", folder=name)
        (project / name / "net.txt").write_text(name)
        (project / name / "large.bin").write_bytes(b"0" * 20_000_000)
        (project / name / ".gitignore").write_text("*.bin\n")
    git("add", ".", folder="sub")
    git("-c", "user.name=n", "-c", "user.email=e", "commit", "-m", "first", folder="sub")
    git("init")
    git("-c", "advice.addEmbeddedRepo=false", "add", "sub", "train.sh")
    init()
    assert kept_files() == ["inner/.gitignore", "inner/net.txt", "sub/.gitignore", "sub/net.txt", "train.sh"]


@pytest.mark.parametrize("in_repository", [False, True])
def test_a_link_out_of_the_folder_is_refused(project: Path, in_repository: bool) -> None:
    if in_repository:
        git("init")
    (project.parent / "key").write_text("secret")
    (project / "key.txt").symlink_to(project.parent / "key")
    with pytest.raises(SweepError, match=r"key\.txt is a link to") as raised:
        init()
    assert "--code" in raised.value.fix
    (project / "key.txt").unlink()
    (project / "again.sh").symlink_to("train.sh")
    init()
    assert kept_files() == ["again.sh", "train.sh"]


def test_too_large_a_folder_says_what_to_do(project: Path) -> None:
    (project / "data.bin").write_bytes(b"0" * 10_000_001)
    with pytest.raises(TrialError, match="code: 2 files") as raised:
        init()
    assert "data.bin" in raised.value.why
    assert "--code" in raised.value.fix
    init(code=["train.sh"])


# --- the surface ------------------------------------------------------------------------------------------------------


def test_the_actions_and_their_arguments() -> None:
    def choices(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
        return dict(next(one.choices for one in parser._actions if isinstance(one, argparse._SubParsersAction)))

    actions = choices(choices(build_parser())["gate"])
    common = "--name --store --json"
    surface = {
        "init": f"--command --metric --goal --budget --label --code --epochs --timeout --cpus --gpus {common}",
        "try": f"--label --command --abandon --address --data --quiet {common}",
        "status": common,
    }
    for name, parser in actions.items():
        own = [one for one in parser._actions if "--help" not in one.option_strings]
        assert " ".join(one.option_strings[-1] for one in own) == surface[name]
        assert all(one.help for one in own)
    assert actions.keys() == surface.keys()
