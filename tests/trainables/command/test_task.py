"""Task `command`: records, checkpoints, stop and resume, output, and what a bad program gets."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.trainables.command.programs import PYTHON, WALK, Trial, gone, numbers, resolved, trial
from trainables import schema
from trainables.command import task
from trainables.errors import TrialError
from trainables.training.divergence import Diverged
from trainables.training.session import Restored, Stopped


def test_a_program_gives_the_records_of_a_trial(tmp_path: Path) -> None:
    found = trial(resolved(tmp_path, WALK))
    assert [row["epoch"] for row in found.rows] == [1, 2, 3]
    assert found.score == [2.5, 4.25, pytest.approx(6.7083333)]
    assert [row["train/loss"] for row in found.rows] == [1, 1 / 2, 1 / 3]
    assert ["test/score" in row for row in found.rows] == [False, False, True]
    assert "sys/images_per_s" not in found.rows[0]
    assert found.result is not None
    assert found.result["parameters"] == 0


def test_other_columns_are_ignored_where_that_is_asked_for(tmp_path: Path) -> None:
    record = """echo '@sweeps {"epoch": 1, "val/score": 1, "val/own": NaN, "test/score": 2, "train/loss": 3}'"""
    given = {"run": record, "code": [], "shell": True, "epochs": 1}
    with pytest.raises(TrialError, match="val/own"):
        trial(resolved(tmp_path, **given))
    found = trial(resolved(tmp_path, **given, other_columns="ignore"))
    assert {"val/score", "test/score", "train/loss"} <= found.rows[0].keys()
    assert "val/own" not in found.rows[0]


def test_records_come_by_standard_output_too_and_the_rest_goes_to_the_log(tmp_path: Path) -> None:
    record = '@sweeps {\\"epoch\\": $e, \\"val/score\\": $e, \\"test/score\\": 0}'
    lines = f'for e in 1 2 3; do echo "epoch $e done"; echo "{record}"; done'
    found = trial(resolved(tmp_path, run=lines, code=[], shell=True))
    assert found.score == [1, 2, 3]
    assert "epoch 2 done" in found.log
    assert "@sweeps" not in found.log.partition("output:")[2]


def test_a_program_sees_its_trial(tmp_path: Path) -> None:
    (tmp_path / "run.sh").write_text(
        "#!/bin/sh\n"
        'echo "$@" $SWEEPS_SEED $SWEEPS_DEVICE $OMP_NUM_THREADS [$CUDA_VISIBLE_DEVICES] $(ls) '
        '$(cd $1 && pwd | tail -c 5) $(tr -d " \\n" < $SWEEPS_CONFIG)\n'
        'echo \'{"epoch": 1, "val/score": 1, "test/score": 1, "parameters": 12}\' >> $SWEEPS_RECORDS\n'
    )
    found = trial(resolved(tmp_path, run=["./run.sh", "{out}", "{lr}"], code=["run.sh"], lr=1e-5, epochs=1))
    assert '../out 1e-05 1 cpu 1 [] run.sh /out {"lr":1e-05,"epochs":1,"seed":1}' in found.log
    assert found.result is not None
    assert found.result["parameters"] == 12


def test_pictures_are_samples(tmp_path: Path) -> None:
    write = "open(out + '/samples/composite.png', 'wb').write(b'png')\nopen(out + '/samples/a.txt', 'w').write('x')\n"
    found = trial(resolved(tmp_path, write + WALK))
    assert found.images[3] == {"composite.png": b"png"}


def test_a_strip_of_the_pictures_is_made_for_the_report(tmp_path: Path) -> None:
    pixel = bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
        "0000000c4944415408d763f8cfc0000003010100c9fe92ef0000000049454e44ae426082"
    )
    write = f"for name in 'ab': open(out + f'/samples/{{name}}.png', 'wb').write(bytes.fromhex({pixel.hex()!r}))\n"
    found = trial(resolved(tmp_path, write + "open(out + '/samples/c.png', 'wb').write(b'none')\n" + WALK))
    assert sorted(found.images[3]) == ["a.png", "b.png", "c.png", "composite.png"]
    with Image.open(io.BytesIO(found.images[3]["composite.png"])) as strip:
        assert strip.size == (256, 128)
        assert strip.getpixel((5, 5)) == (255, 0, 0)


# --- checkpoints ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_resumed_program_gives_the_same_records(tmp_path: Path, after: int) -> None:
    config = resolved(tmp_path, "time.sleep(0.05)\n" + WALK, nap=0.05, epochs=4)
    whole = trial(config)
    resumed = trial(config, restored=Restored(after, whole.saved[after]))
    assert [row["epoch"] for row in resumed.rows] == list(range(after + 1, 5))
    assert numbers(resumed.rows) == numbers(whole.rows[after:])
    assert resumed.result is not None
    assert whole.result is not None
    assert numbers(resumed.result["history"]) == numbers(whole.result["history"])


def test_a_program_without_checkpoints_starts_again_and_repeats_no_record(tmp_path: Path) -> None:
    config = resolved(tmp_path, WALK.replace("    save(**state)\n", ""), nap=0.05)
    whole = trial(config)
    resumed = trial(config, restored=Restored(2, whole.saved[2]))
    assert numbers(resumed.rows) == numbers(whole.rows[2:])


def test_a_checkpoint_that_is_ahead_of_the_records_is_not_used(tmp_path: Path) -> None:
    """A program whose checkpoint is of a later epoch than its last record is started from its beginning."""
    config = resolved(tmp_path, WALK, nap=0.05, epochs=4)
    whole = trial(config)
    from trainables.training import checkpoint

    state, _, best = checkpoint.unpack(whole.saved[3])
    _, history, _ = checkpoint.unpack(whole.saved[1])
    resumed = trial(config, restored=Restored(1, checkpoint.pack({**state, "records": []}, history, best)))
    assert "starts from its beginning" in resumed.log
    assert numbers(resumed.rows) == numbers(whole.rows[1:])


def test_big_and_nested_checkpoints_come_back_byte_for_byte(tmp_path: Path) -> None:
    program = """\
folder = os.path.join(out, "checkpoint", "deep")
if os.path.isdir(folder):
    big, none = open(folder + "/big", "rb").read(), open(folder + "/none", "rb").read()
    report(2, float(big == bytes(range(256)) * 40000 and none == b""))
else:
    os.makedirs(folder)
    open(folder + "/big", "wb").write(bytes(range(256)) * 40000)
    open(folder + "/none", "wb").close()
    report(1, 1.0)
    time.sleep(0.3)
    report(2, 1.0)
"""
    config = resolved(tmp_path, program, epochs=2)
    whole = trial(config)
    assert trial(config, restored=Restored(1, whole.saved[1])).score == [1.0]


# --- stopping ---------------------------------------------------------------------------------------------------------

SAVES_ON_SIGTERM = """\
state = restored() or {"epoch": 0, "part": 0}
def end(*_):
    save(**state)
    print("saved", flush=True)
    sys.exit(3)
signal.signal(signal.SIGTERM, end)
for epoch in range(state["epoch"] + 1, config["epochs"] + 1):
    while state["part"] < 10:
        time.sleep(0.05)
        state = {**state, "part": state["part"] + 1}
        open(config["ready"], "w").close()
    state = {"epoch": epoch, "part": 0}
    report(epoch, epoch)
"""


def _stopped_trial(config: dict[str, Any], stop: Any, **options: Any) -> Trial:
    from trainables.training.loop import fit, task_named
    from trainables.training.session import Goal, Machine

    session = Trial(Goal(config["epochs"]), stop=stop, **options)
    session.machine = Machine(log=session.logged.append)
    with pytest.raises(Stopped):
        fit(task_named("command"), config, session)
    return session


def test_a_stop_within_an_epoch_lets_the_program_save(tmp_path: Path) -> None:
    config = resolved(tmp_path, SAVES_ON_SIGTERM, epochs=2, ready=str(tmp_path / "ready"))
    stopped = _stopped_trial(config, lambda _: (tmp_path / "ready").exists())
    assert stopped.rows == []
    assert list(stopped.saved) == [0]
    assert "saved" in stopped.log
    resumed = trial(config, restored=Restored(0, stopped.saved[0]))
    assert resumed.score == [1, 2]


def test_a_program_that_ignores_sigterm_is_killed_after_the_grace_time(tmp_path: Path) -> None:
    program = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('pid', os.getpid())\n" + WALK
    config = resolved(tmp_path, program, nap=0.3, epochs=100, grace=0.5)
    began = time.monotonic()
    stopped = _stopped_trial(config, lambda trial: len(trial.rows) > 0)
    assert time.monotonic() - began < 10
    assert "did not end, and was killed" in stopped.log
    pid = int(stopped.log.partition("pid ")[2].split()[0])
    assert gone(pid)
    epoch, files = max(stopped.saved.items())
    short = resolved(tmp_path, program, nap=0.3, epochs=epoch + 1)
    resumed = trial(short, restored=Restored(epoch, files))
    assert numbers(resumed.rows) == numbers(trial(short).rows[epoch:])


def test_nothing_of_a_program_outlives_a_killed_worker(tmp_path: Path) -> None:
    """The worker is killed; the program ignores SIGTERM and has a child in a session of its own."""
    child = "import subprocess; child = subprocess.Popen(['sleep', '300'], start_new_session=True)\n"
    tell = (
        f"open({str(tmp_path / 'pids')!r}, 'w').write(f'{{os.getpid()}} {{child.pid}} {{os.path.dirname(out)}}\\n')\n"
    )
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    (tmp_path / "train.py").write_text(PYTHON + ignore + child + tell + "time.sleep(300)\n")
    worker = (
        "from pathlib import Path\nfrom tests.trainables.command.programs import resolved, trial\n"
        f"trial(resolved(Path({str(tmp_path)!r})))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", worker], cwd=Path(__file__).resolve().parents[3])
    deadline = time.monotonic() + 60
    while not (tmp_path / "pids").exists() or not (tmp_path / "pids").read_text().endswith("\n"):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    program, sleeper, scratch = (tmp_path / "pids").read_text().split()
    assert gone(int(program))
    if sys.platform == "linux":
        assert gone(int(sleeper))
    deadline = time.monotonic() + 5
    while Path(scratch).exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# --- bad programs -----------------------------------------------------------------------------------------------------

REPORT = "report({}, 1.0)\n"


@pytest.mark.parametrize(
    ("program", "changes", "words"),
    [
        ("print('bye')\n", {}, ["wrote no record", "bye"]),
        ("report(1, 1.0)\n", {}, ["ended after 1 of 3 epochs", "epoch 2"]),
        ("print('oh no')\nsys.exit(3)\n", {}, ["exit code 3", "oh no"]),
        ("raise ValueError('bad lr')\n", {}, ["exit code 1", "ValueError: bad lr"]),
        ("os.kill(os.getpid(), signal.SIGSEGV)\n", {}, ["signal SIGSEGV"]),
        ("os.kill(os.getpid(), signal.SIGKILL)\n", {}, ["signal SIGKILL", "out of memory"]),
        ("for e in (1, 2, 3): report(e, e)\nsys.exit(4)\n", {}, ["exit code 4"]),
        ("report(1, 1, **{'train/loss': 'high'})\n", {}, ["'high'", "not a number"]),
        ("report(1, True)\n", {}, ["True", "not a number"]),
        ("report('one', 1)\n", {}, ["no `epoch`"]),
        ("report(1, 1, other=2)\n", {}, ["'other'", "`metrics` does not have it"]),
        ("report(1, 1, **{'val/new': 2})\n", {}, ["val/new", "add {val/new: max}"]),
        ("report(1, 1)\nreport(1, 1)\n", {}, ["record of epoch 1", "one record for each epoch"]),
        ("report(1, 1)\nreport(3, 1)\n", {}, ["record of epoch 3", "was of epoch 1"]),
        ("report(2, 1)\n", {}, ["record of epoch 2", "first record"]),
        ("for e in (1, 2, 3, 4): report(e, e)\n", {}, ["epoch 3, which is the last", "{epochs}"]),
        ("open(os.environ['SWEEPS_RECORDS'], 'a').write('loss 3\\n')\n", {}, ["loss 3", "not a line of JSON"]),
        ("open(os.environ['SWEEPS_RECORDS'], 'a').write('x' * 3000000)\n", {}, ["too long"]),
        ("print('@sweeps {}')\n", {}, ["no `epoch`"]),
        ("time.sleep(60)\n", {"timeout": 0.5}, ["timeout: 0.5 s", "no record of epoch 1"]),
        ("for e in (1, 2, 3): report(e, e)\ntime.sleep(60)\n", {"timeout": 0.5}, ["not ended after its last record"]),
        (
            "print('@sweeps ' + json.dumps({'epoch': 1, 'val/score': 1}))\n",
            {"epochs": 1},
            ["no test/score", "after the last epoch"],
        ),
        ("", {"run": ["no-such-program"], "code": []}, ["no-such-program", "no such program in PATH"]),
        ("", {"run": ["./missing"], "code": []}, ["./missing", "no such program"]),
        ("", {"run": ["./train.py"]}, ["./train.py", "not executable", "chmod"]),
        ("", {"run": ["train.py"]}, ["write ./train.py"]),
    ],
)
def test_a_bad_program(tmp_path: Path, program: str, changes: dict[str, Any], words: list[str]) -> None:
    config = resolved(tmp_path, program, **changes)
    with pytest.raises(TrialError) as caught:
        trial(config)
    assert all(part in str(caught.value) for part in words), str(caught.value)
    assert all((caught.value.given, caught.value.why, caught.value.allowed, caught.value.fix))


@pytest.mark.parametrize(
    ("run", "code", "says"),
    [
        (["no-such-program"], "", "no such program in PATH"),
        (["./missing"], "exit 0", "no such program"),
        (["/missing/program", "./train.sh"], "exit 0", "no such program"),
        (["./train.sh"], "exit 0", "not executable"),
        (["train.sh"], "#!/bin/sh", "write ./train.sh"),
        (["./train.sh"], "#!/bin/sh", ""),
        (["././train.sh"], "#!/bin/sh", ""),
        (["/bin/sh", "train.sh"], "exit 0", ""),
        (["sh", "train.sh"], "exit 0", ""),
        (["{python}", "train.sh"], "", ""),
    ],
)
def test_a_program_that_cannot_start_is_refused_before_the_first_trial(
    tmp_path: Path, run: list[str], code: str, says: str
) -> None:
    (tmp_path / "train.sh").write_text(code)
    found = {"run": run, "code": ["train.sh"], "epochs": 1, "metrics": {"val/score": "max"}}
    (check, section), *_ = task.checks(schema.resolve("command", found, tmp_path))
    if not says:
        check(section, None)
        return
    with pytest.raises(TrialError, match=says):
        check(section, None)


@pytest.mark.parametrize("value", ["float('nan')", "float('inf')"])
def test_nan_ends_the_trial_as_diverged(tmp_path: Path, value: str) -> None:
    with pytest.raises(Diverged, match="record of epoch 2"):
        trial(resolved(tmp_path, f"report(1, 1)\nreport(2, {value})\ntime.sleep(30)\n"))


def test_a_file_that_is_no_program(tmp_path: Path) -> None:
    (tmp_path / "odd").write_bytes(b"\x7fELFnothing")
    with pytest.raises(TrialError, match="cannot be executed"):
        trial(resolved(tmp_path, run=["./odd"], code=["odd"]))


def test_much_output_is_read_quickly_and_logged_in_part(tmp_path: Path) -> None:
    program = "line = 'x' * 199 + '\\n'\nfor _ in range(1000): sys.stdout.write(line * 1000)\n" + WALK  # 200 MB
    began = time.monotonic()
    found = trial(resolved(tmp_path, program))
    assert time.monotonic() - began < 30
    assert sum(map(len, found.logged)) < 500_000
    assert "bytes left out" in found.log
    assert len(found.rows) == 3


def test_several_workers_are_refused(tmp_path: Path) -> None:
    from trainables.training.distributed import Workers
    from trainables.training.session import Machine

    with pytest.raises(TrialError, match="one program"):
        task.load(resolved(tmp_path, WALK), Machine(workers=Workers(0, 2)))


def test_no_scratch_folder_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    trial(resolved(tmp_path, WALK))
    with pytest.raises(TrialError):
        trial(resolved(tmp_path, "sys.exit(1)\n"))
    assert list(scratch.iterdir()) == []
