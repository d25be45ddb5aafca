"""The command as a user meets it: its frozen surface, exit codes, what each verb says, and what mistakes get."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from sweeps import api
from sweeps.cli import common
from sweeps.cli.common import DONE, INTERRUPTED, USER_ERROR
from sweeps.cli.main import build_parser, main
from sweeps.errors import SweepError
from sweeps.store import layout
from sweeps.store import plans as stored_plans
from sweeps.store.local import FolderStore
from tests.sweeps.conftest import SMALL

ROOT = Path(__file__).resolve().parents[3]

ANYWAY = "--retry --replace --accept-changed-data --accept-leaks --arms --skip-arms"
MANNER = f"--max-concurrent {ANYWAY} --time-budget --stop-after-failures --checkpoint-every --log --log-to --quiet"
SETTINGS = f"--data --address {MANNER}"
FILE = "FILE --size --tiny --set --set-for"
SURFACE = {
    "check": f"{FILE} --data --arm --json",
    "plan": f"{FILE} --all --store --data --address --accept-changed-data --arms --skip-arms --measure --json",
    "run": f"{FILE} --store {SETTINGS} --failed-trials-exit --fresh --retrain-stale --json",
    "submit": f"{FILE} --store --address --data --working-dir --runtime-env --detach --timeout {MANNER} "
    "--failed-trials-exit",
    "doctor": "--store --data --address --json",
    "forge": "FILE --store --data --quiet",
    "predict": "TRIAL IMAGE --store --mask --text --resize --fpr --authentic --to-score --out",
    "export": "TRIAL --store --out --format --fpr",
    "resume": f"NAME --store --set {SETTINGS} --failed-trials-exit --json",
    "stop": "NAME --store --trial --json",
    "gc": "NAME --store --json",
    "status": "NAME --store --json",
    "show": "TRIAL --store --json",
    "report": "NAME --store --out --publish --format --columns --transpose --sd --redraw --redraw-arm --data --json",
    "archive": "NAME --store --out --parts --json",
    "audit": "FILE.csv --metric --goal --json",
    "claims": "NAME --all --store --csv --json",
    "compare": "A B --mix --store --with-store --json",
    "protocols": "--json",
    "export-protocol": "PROTOCOL --truth --masks --out --json",
    "score": "[NAME=]FOLDER --protocol --truth --masks --out --latex --json",
    "export-test": "NAME --store --data --arm --out --protocol --json",
    "export-to": "TOOL NAME --store --out --json",
    "reproduce": "NAME --store --data --address --cell --seed --into --json",
    "gate": "ACTION",
    "dashboard": "--store --data --address --host --port --token --login --base-path --optuna",
    "list": "KIND --json",
    "describe": "NAME --json",
    "schema": "--out",
    "completion": "SHELL",
    "new": "KIND FILE",
}
"""Every verb with its arguments, a line each. Scripts depend on them: add to it, but rename and remove nothing."""

FILL = """\
# Is a mean colour enough?
name: fill
task: inpaint
base:
  data: {name: cifar10, train: 16, val: 8, test: 8}
  mask: {name: lines}
  model: {name: mean_fill}
report: {metrics: [test/psnr_db]}
tiny: {set: {data.test: 4}}
"""
"""A sweep that a test runs in no time: nothing is trained."""


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


Command = Callable[..., Said]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run the command in this process, as from a terminal of 200 columns."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("SWEEPS_STORE", raising=False)

    def run(*arguments: object) -> Said:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Said(code, *capsys.readouterr())

    return run


@pytest.fixture
def small(tmp_path: Path) -> Path:
    file = tmp_path / "small.yaml"
    file.write_text(SMALL)
    return file


@pytest.fixture
def fill(tmp_path: Path) -> Path:
    file = tmp_path / "fill.yaml"
    file.write_text(FILL)
    return file


@pytest.fixture
def filled(command: Command, fill: Path, tmp_path: Path, data_root: Path) -> Path:
    """A store in which the sweep `fill` is done."""
    store = tmp_path / "store"
    said = command("run", fill, "--store", store, "--data", data_root, "--address", "in-process")
    assert said.code == 0, said
    return store


def is_told(said: Said, *words: str) -> None:
    """The user's mistake: exit code 2, four parts on stderr, no traceback."""
    assert said.code == USER_ERROR
    assert "Traceback" not in said.err
    assert re.search(r"^error: \S.*\n  why:     \S.*\n  allowed: \S.*\n  do:      \S", said.err, re.MULTILINE), said.err
    for word in words:
        assert word in said.err


# --- the frozen surface -----------------------------------------------------------------------------------------------


def parsers() -> dict[str, argparse.ArgumentParser]:
    action = next(a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    return dict(action.choices)


def arguments(parser: argparse.ArgumentParser) -> list[str]:
    actions = [action for action in parser._actions if "--help" not in action.option_strings]
    return [action.option_strings[-1] if action.option_strings else str(action.metavar) for action in actions]


def test_the_verbs_and_their_arguments() -> None:
    assert {verb: " ".join(arguments(parser)) for verb, parser in parsers().items()} == SURFACE


def test_help_names_every_verb_and_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    for verb in SURFACE:
        assert re.search(rf"^    {verb}\s+\S", out, re.MULTILINE), verb


@pytest.mark.parametrize("verb", SURFACE)
def test_help_of_a_verb_explains_every_argument(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([verb, "--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert all(re.search(rf"^  {re.escape(argument)}\b", out, re.MULTILINE) for argument in arguments(parsers()[verb]))
    assert all(action.help for action in parsers()[verb]._actions), "an argument without a word of help"


def test_the_documentation_names_every_verb() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    assert [verb for verb in SURFACE if f"sweeps {verb}" not in text] == []


@pytest.mark.parametrize("wrong", [[], ["runn"], ["run"], ["check", "x.yaml", "--stor", "x", "--nope"]])
def test_a_wrong_command_line_ends_with_2(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(wrong)
    assert ended.value.code == USER_ERROR
    assert "usage: sweeps" in capsys.readouterr().err


@pytest.mark.parametrize(
    "option",
    [
        *(f"--max-concurrent={number}" for number in ("0", "-1", "two")),
        *(f"--stop-after-failures={number}" for number in ("0", "many")),
        *(f"--time-budget={time}" for time in ("", "h", "5", "soon", "-1h", "0s", "nanh", "infd")),
        *(f"--checkpoint-every={seconds}" for seconds in ("-1", "nan", "often")),
    ],
)
def test_numbers_that_make_no_sense_are_refused(option: str, small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", str(small), option])
    assert ended.value.code == USER_ERROR
    said = capsys.readouterr().err
    assert any(allowed in said for allowed in ("at least", "write 90s, 30m, 8h or 2d")), "it says what is allowed"


# --- check and plan ---------------------------------------------------------------------------------------------------


def test_check_prints_every_arm_with_the_origin_of_each_value(command: Command, small: Path) -> None:
    said = command("check", small, "--set", "data.train=128")
    assert said.code == DONE
    arms = dict(
        zip(("base", "wide", "mean fill"), re.split(r"^trials \(seed:id\).*\n", said.out, flags=re.M), strict=False)
    )

    def rows(arm: str) -> dict[str, list[str]]:
        cells = [re.split(r"\s{2,}", line.strip()) for line in arms[arm].splitlines()]
        return {row[0]: row[1:] for row in cells if len(row) == 3}

    assert rows("base")["model.width"] == ["8", "small.yaml:7"]
    assert rows("wide")["model.width"] == ["16", "small.yaml:13"]
    assert rows("wide")["data.train"] == ["128", "--set data.train=128"]
    assert rows("wide")["model.see_mask"] == ["false", "default"]
    assert rows("mean fill")["epochs"] == ["0", "small.yaml:10"]
    assert len(re.findall(r"\b[01]:[0-9a-f]{16}\b", said.out)) == 6
    assert "small: 3 arms x 2 seeds = 5 different trials" in said.out


def test_check_of_one_arm(command: Command, small: Path) -> None:
    said = command("check", small, "--arm", "wide")
    assert "mean fill" not in said.out
    is_told(command("check", small, "--arm", "wid"), "base, wide, mean fill", "did you mean `wide`?")


def test_check_tiny_says_what_tiny_changed(command: Command, fill: Path) -> None:
    said = command("check", fill, "--tiny")
    assert re.search(r"data\.test +4 +tiny \(fill\.yaml:9\)", said.out)
    assert "fill-tiny: 1 arm x" in said.out


def test_check_imports_neither_torch_nor_ray(small: Path) -> None:
    code = (
        "import sys; from sweeps.cli import main; code = main(sys.argv[1:]); "
        "print([name for name in ('torch', 'ray', 'optuna', 'pandas') if name in sys.modules]); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, "check", small], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "[]")


def test_plan_says_what_would_run_and_writes_nothing(command: Command, small: Path, tmp_path: Path) -> None:
    said = command("plan", small, "--store", tmp_path / "store")
    assert said.code == DONE
    assert "0 done before, 5 to run" in said.out
    assert not (tmp_path / "store").exists()


def test_plan_of_a_finished_sweep(command: Command, fill: Path, filled: Path) -> None:
    said = command("plan", fill, "--store", filled)
    assert "1 done before, 0 to run" in said.out
    assert "nothing to run" in said.out


# --- run --------------------------------------------------------------------------------------------------------------


def test_a_run_ends_with_0_and_says_what_to_type_next(
    command: Command, fill: Path, tmp_path: Path, data_root: Path
) -> None:
    store = tmp_path / "a store"
    said = command("run", fill, "--store", store, "--data", data_root, "--address", "in-process")
    assert said.code == DONE
    assert "done     base  (1 of 1" in said.err
    assert f"sweeps report fill --store '{store}' --out report" in said.out
    again = command("run", fill, "--store", store, "--data", tmp_path / "no data needed")
    assert again.code == DONE
    assert "nothing to run" in again.out


def test_quiet_says_nothing(command: Command, fill: Path, tmp_path: Path, data_root: Path) -> None:
    where = ("--store", tmp_path / "store", "--data", data_root)
    assert command("run", fill, *where, "--tiny", "--quiet") == Said(0, "", "")


def test_a_failed_trial_ends_with_1_and_the_others_are_done(
    command: Command, small: Path, tmp_path: Path, data_root: Path
) -> None:
    where = ("--store", tmp_path / "store")
    run = ("run", small, *where, "--data", data_root, "--address", "in-process")
    changes = ("--set", "optimiser={name: sgd, lr: 1e30}", "--set", "seeds=1", "--set", "data.train=192")
    said = command(*run, *changes)
    assert said.code == common.FAILED
    assert "1 done" in said.out
    failed = re.search(r"(\w{16}), (\w{16}) failed: Diverged: the loss is not finite: first at epoch 1, step", said.out)
    assert failed is not None, "an error of several trials is printed once"
    assert "Lower the learning rate: --set optimiser.lr=1e+29 (now 1e+30)" in said.out
    shown = command("show", failed[1], *where)
    assert shown.code == DONE
    assert "Diverged" in shown.out
    assert re.search(r"loss terms of epoch 1 up to the divergence.* not finite", shown.out, re.DOTALL)
    assert "--set optimiser.lr=1e+29" in shown.out
    assert "trainables/training/loop.py" in shown.out
    status = command("status", "small", *where)
    assert re.search(r"wide +failed", status.out)
    assert re.search(r"mean fill +done", status.out)
    again = command(*run, *changes)
    assert again.code == common.FAILED
    assert "--retry tries it again" in again.out
    assert "failed   base" in command(*run, *changes, "--retry").err


def test_missing_data_is_told_and_nothing_is_written(command: Command, small: Path, tmp_path: Path) -> None:
    said = command("run", small, "--store", tmp_path / "store", "--data", tmp_path)
    is_told(said, "cifar-10-batches-py")
    assert not (tmp_path / "store").exists()


def test_a_store_that_cannot_be_written(command: Command, small: Path, tmp_path: Path, data_root: Path) -> None:
    (tmp_path / "file").write_text("")
    data = ("--data", data_root)
    is_told(command("run", small, "--store", tmp_path / "file" / "below", *data), "cannot write", "Not a directory")
    is_told(command("run", small, "--store", tmp_path / "file", *data), "it is a file")
    is_told(command("run", small, "--store", "ftp://host/x", *data), "'ftp://'")


def test_the_store_is_named_by_the_environment(command: Command, filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEPS_STORE", str(filled))
    assert "fill" in command("status").out


def test_ctrl_c_says_how_to_go_on(command: Command, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "load", interrupted)
    said = command("check", small)
    assert said.code == INTERRUPTED
    assert "Run the same command again to continue." in said.err


# --- mistakes in files and values -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "not a mapping"),
        ("- a\n", "not a mapping"),
        ("name: [", "not valid YAML"),
        ("a: 1\na: 2\n", "is repeated"),
        ("name: \x07", "not valid YAML"),
        ("name: x\n", "required but missing"),
        (SMALL.replace("seeds: 2", "seeds: two"), "small.yaml:11"),
        (SMALL.replace("lr: 1.0e-3", "lr: high"), "small.yaml:8"),
    ],
)
def test_a_file_with_a_mistake(command: Command, small: Path, text: str, word: str) -> None:
    small.write_text(text)
    is_told(command("check", small), word)


def test_a_file_that_is_not_there(command: Command, small: Path) -> None:
    is_told(command("check", small.with_name("smal.yaml")), "small.yaml")
    is_told(command("check", small.parent), "cannot be read")
    small.write_bytes(b"\xff\xfe\x00")
    is_told(command("check", small), "it is not text in UTF-8")


@pytest.mark.parametrize("change", ["x", "=1", "epochs=", "epochs=[1", "mask={name: lines", "epochs=a: b", "nope.x=1"])
def test_a_set_with_a_mistake(command: Command, small: Path, change: str) -> None:
    is_told(command("check", small, "--set", change), "--set")


def test_a_number_that_plain_yaml_takes_for_text_is_noted(command: Command, small: Path) -> None:
    small.write_text(SMALL.replace("1.0e-3", "1e-3"))
    said = command("check", small)
    assert said.code == DONE
    assert "note: small.yaml:8: 1e-3 is read as the number 0.001" in said.err


# --- status, show, report ---------------------------------------------------------------------------------------------


def test_status_without_any_sweep(command: Command, tmp_path: Path) -> None:
    said = command("status", "--store", tmp_path / "[red]none")
    assert said.code == DONE
    assert f"no sweep in {tmp_path}/[red]none" in said.out.replace("\n", "")
    is_told(command("status", "x", "--store", tmp_path / "none"), "the store has no sweeps")


def test_status_lists_sweeps_past_stray_files(command: Command, filled: Path) -> None:
    (filled / "sweeps" / ".DS_Store").write_text("")
    said = command("status", "--store", filled)
    assert said.code == DONE
    assert re.search(r"fill +1 +1 +0 +0 +0 +Is a mean colour enough\?", said.out)


def test_status_of_a_sweep_shows_each_cell(command: Command, filled: Path, small: Path) -> None:
    assert re.search(r"base +done", command("status", "fill", "--store", filled).out)
    from sweeps.spec import expand, loader
    from trainables import schema

    store = FolderStore(filled)
    planned = expand.expand(loader.load(small), schema)
    stored_plans.write_plan(store, "small", planned.to_json([]), SMALL, 0.0)
    assert re.search(r"wide +queued +queued", command("status", "small", "--store", filled).out)


@pytest.mark.parametrize("name", ["nope", "fil", "../x", "..", "a/b", "", "\0", "*", "fill/plans"])
def test_status_and_report_of_an_unknown_name_list_the_known_ones(command: Command, filled: Path, name: str) -> None:
    is_told(command("status", name, "--store", filled), "fill")
    is_told(command("report", name, "--store", filled), "fill")


@pytest.mark.parametrize("verb", ["resume", "stop", "gc"])
def test_a_verb_on_an_unknown_sweep(command: Command, filled: Path, verb: str) -> None:
    for name in ("nope", "../x"):
        is_told(command(verb, name, "--store", filled), "fill")


def test_resume_goes_on_by_name(command: Command, filled: Path, fill: Path, data_root: Path) -> None:
    fill.unlink()
    said = command("resume", "fill", "--store", filled, "--address", "in-process", "--data", data_root)
    assert (said.code, "nothing to run" in said.out) == (DONE, True)
    store = FolderStore(filled)
    store.delete(key for key in list(store.keys("trials/")) if "/result/" in key)
    said = command("resume", "fill", "--store", filled, "--address", "in-process", "--data", data_root)
    assert said.code == DONE
    assert "1 to run" in said.out


def test_resume_of_a_plan_that_does_not_say_how_is_told(command: Command, filled: Path) -> None:
    plan = next((filled / "sweeps" / "fill" / "plans").iterdir())
    old = layout.load("", plan.read_bytes())
    del old["changes"]
    plan.write_bytes(layout.dump(old))
    is_told(command("resume", "fill", "--store", filled), "older version", "sweeps run")


def test_a_stop_that_nobody_heard_does_not_stop_the_next_run(
    command: Command, fill: Path, filled: Path, data_root: Path
) -> None:
    assert command("stop", "fill", "--store", filled).code == DONE
    where = ("--store", filled, "--address", "in-process", "--data", data_root)
    is_told(command("run", fill, *where, "--set", "data.test=6"), "data.test was 8 and is 6", "--replace")
    said = command("run", fill, *where, "--set", "data.test=6", "--replace")
    assert (said.code, "1 done" in said.out) == (DONE, True)


def trial_id(store: Path) -> str:
    return next((store / "trials").iterdir()).name


def test_show_tells_a_trial_whole(command: Command, filled: Path) -> None:
    whole = trial_id(filled)
    for given in (whole, whole[:4]):
        out = command("show", given, "--store", filled).out
        assert "sweeps run" in out, "the command that ran it"
        assert f"trial {whole}" in out
        for words in ("data.train", "mean_fill", "0001-", "test/psnr_db", "data_fingerprint", "versions.torch", "cpu"):
            assert words in out, words


def test_show_of_an_unknown_or_ambiguous_trial(command: Command, filled: Path) -> None:
    whole = trial_id(filled)
    other = filled / "trials" / (whole[:-1] + ("0" if whole[-1] != "0" else "1"))
    other.mkdir()
    is_told(command("show", whole[:6], "--store", filled), "several trials start with it", whole, other.name)
    for given in ("zzzz", "../x", whole + "0"):
        is_told(command("show", given, "--store", filled), "no trial starts with it")


def test_report_prints_and_writes(command: Command, filled: Path, tmp_path: Path) -> None:
    said = command("report", "fill", "--store", filled)
    assert said.code == DONE
    assert "base" in said.out
    written = command("report", "fill", "--store", filled, "--out", tmp_path / "out", "--format", "csv,md")
    assert written.code == DONE
    assert {"fill.csv", "fill.md"} <= {path.name for path in (tmp_path / "out").iterdir()}
    assert str(tmp_path / "out" / "fill.csv") in written.out.replace("\n", "")
    is_told(
        command("report", "fill", "--store", filled, "--out", tmp_path, "--format", "docx"),
        "html, md, tex, parquet, csv, svg, pdf",
    )
    (tmp_path / "file").write_text("")
    is_told(command("report", "fill", "--store", filled, "--out", tmp_path / "file" / "x"), "--out")


def test_a_damaged_object_is_named(command: Command, filled: Path) -> None:
    plan = next((filled / "sweeps" / "fill" / "plans").iterdir())
    plan.write_bytes(plan.read_bytes()[:20])
    is_told(command("status", "fill", "--store", filled), "0001.json", "damaged")


def test_a_newer_schema_is_refused(command: Command, filled: Path) -> None:
    plan = next((filled / "sweeps" / "fill" / "plans").iterdir())
    plan.write_bytes(layout.dump({**layout.load("", plan.read_bytes()), "schema": 99}))
    is_told(command("status", "fill", "--store", filled), "schema 99")


# --- the process ------------------------------------------------------------------------------------------------------


def piped(command: str, *, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(path or ""), str(ROOT)]))}
    sweeps = f"{sys.executable} -c 'import sys; from sweeps.cli import main; sys.exit(main())'"
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command.replace('sweeps', sweeps, 1)}"],
        capture_output=True,
        text=True,
        env=environment,
        cwd=path or ROOT,
        timeout=60,
    )


@pytest.mark.parametrize("verb", ["status --store {store}", "report fill --store {store}", "check {file}"])
def test_a_reader_that_has_gone_is_no_error(filled: Path, fill: Path, verb: str) -> None:
    done = piped("(sleep 0.2; sweeps " + verb.format(store=filled, file=fill) + ") | head -0")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["cluster", "trainables", "analysis"])
def test_a_package_that_shadows_ours_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("")
    done = piped("sweeps status", path=tmp_path)
    is_told(
        Said(done.returncode, done.stdout, done.stderr), f"package `{name}`", str(tmp_path), f"pip uninstall {name}"
    )


def test_an_empty_folder_of_the_same_name_shadows_nothing(tmp_path: Path) -> None:
    (tmp_path / "cluster").mkdir()
    assert piped("sweeps status", path=tmp_path).returncode == 0


def test_a_bug_of_ours_keeps_its_traceback(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*_: object, **__: object) -> None:
        raise ValueError("not the user's")

    monkeypatch.setattr(api, "load", bug)
    with pytest.raises(ValueError, match="not the user's"):
        main(["check", str(small)])


def test_errors_survive_pickling() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(SweepError("given", "why", "allowed", "fix")))
    assert (error.given, error.why, error.allowed, error.fix) == ("given", "why", "allowed", "fix")
