"""A sweep as a Ray job: what is uploaded, what is refused and how fast, and a job that really runs."""

from __future__ import annotations

import ast
import http.server
import os
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from ray._private.runtime_env import packaging

from cluster.connection import waiting
from cluster.connection.jobs import follow, submit, working_dir
from sweeps.cli import common
from sweeps.cli.main import main
from sweeps.errors import SweepError
from sweeps.store import layout
from sweeps.store.local import FolderStore
from tests.cluster.heads import TOKEN, Head
from tests.cluster.small import FILL

ROOT = Path(__file__).resolve().parents[3]
UseToken = Callable[[str | None], None]


@pytest.mark.parametrize("again", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_submitted_sweep_runs(
    guarded: Head,
    use_token: UseToken,
    folder: Path,
    tmp_path: Path,
    data_root: Path,
    capfd: pytest.CaptureFixture[str],
    again: bool,
) -> None:
    assert (folder / "fill.yaml").exists()
    use_token(TOKEN)
    store = FolderStore(tmp_path / "store")
    command = ["submit", "fill.yaml", "--address", guarded.jobs, "--store", store.uri, "--data", str(data_root)]
    assert main([*command]) == common.DONE
    said = capfd.readouterr()
    assert "1 done" in said.out, "the job's log is shown"
    assert "every node must have it mounted" in said.err
    results = [key for key in store.keys("trials/") if "/result/" in key]
    assert len(results) == 1
    made_by = layout.get_json(store, results[0])["provenance"]
    assert made_by["ray_dashboard"] == guarded.jobs, "the address that Ray gives, which no other port has"
    if again:
        assert main([*command, "--detach"]) == common.DONE
        job = capfd.readouterr().out.split()[1]
        assert follow.follow(guarded.jobs, job) == common.DONE, "submitting again finds all done"
        assert [key for key in store.keys("trials/") if "/result/" in key] == results


@pytest.mark.usefixtures("folder")
def test_ctrl_c_leaves_the_job_alone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(submit, "submit", lambda submission: "raysubmit_1")
    monkeypatch.setattr(follow, "follow", interrupted)
    code = main(["submit", "fill.yaml", "--address", "http://head:8265", "--store", "s3://b/p"])
    assert code == common.INTERRUPTED
    said = capsys.readouterr().err
    assert "raysubmit_1 goes on" in said
    assert "ray job logs --follow --address http://head:8265 raysubmit_1" in said
    assert "ray job stop" in said
    assert "sweeps stop fill --store s3://b/p" in said


# --- what is uploaded -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_git", [True, False])
def test_the_package_holds_code_and_no_data(folder: Path, tmp_path: Path, with_git: bool) -> None:
    for name in (".venv/lib/x.py", "store/trials/t.json", "data/image.png", "sweeps/a.py", "__pycache__/a.pyc"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    if with_git:
        subprocess.run(["git", "init", "-q", str(folder)], check=True)
        (folder / ".gitignore").write_text("secret\n")
        (folder / "secret").write_text("")
    package = tmp_path / "package.zip"
    working_dir.pack(folder, (folder / "store", folder / "data"), package)
    with zipfile.ZipFile(package) as archive:
        assert set(archive.namelist()) - {".gitignore"} == {"fill.yaml", "sweeps/a.py"}
    first = package.read_bytes()
    working_dir.pack(folder, (folder / "store", folder / "data"), package)
    assert package.read_bytes() == first, "equal content is uploaded once"


def version_in(checkout: Path, folder: Path) -> object:
    """What `code_version` says on a machine to which a checkout is uploaded."""
    working_dir.pack(checkout, (), folder / "package.zip")
    there = folder / "there"
    with zipfile.ZipFile(folder / "package.zip") as archive:
        assert len(set(archive.namelist())) == len(archive.namelist())
        archive.extractall(there)
    command = [sys.executable, "-c", "from cluster.worker import provenance as p; print(p.code_version())"]
    environment = {**os.environ, "PYTHONPATH": str(there)}
    said = subprocess.run(command, cwd=there, env=environment, capture_output=True, text=True, check=True).stdout
    shutil.rmtree(there)
    return ast.literal_eval(said)


def test_the_package_knows_the_commit_of_its_code(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    code = [
        Path("cluster", *rest) for rest in (["__init__.py"], ["worker", "__init__.py"], ["worker", "provenance.py"])
    ]
    for name in (Path("pyproject.toml"), Path("docs", "store-layout.md"), *code):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, checkout / name)
    assert version_in(checkout, tmp_path) == {"commit": None, "dirty": None}
    git = ["git", "-C", str(checkout), "-c", "user.name=a", "-c", "user.email=a@b"]
    for step in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "a"]):
        subprocess.run([*git, *step], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    assert version_in(checkout, tmp_path) == {"commit": commit, "dirty": False}
    (checkout / "docs" / "store-layout.md").write_text("")
    assert version_in(checkout, tmp_path) == {"commit": commit, "dirty": False}, "documentation changes no number"
    (checkout / "pyproject.toml").write_text("")
    assert version_in(checkout, tmp_path) == {"commit": commit, "dirty": True}
    # an image, whose build wrote the file and which has no `.git`
    shutil.rmtree(checkout / ".git")
    described = "git describe --always --dirty --abbrev=40 --exclude='*'"
    assert described in (ROOT / "cluster" / "manifests" / "Dockerfile").read_text()
    (checkout / "cluster" / "worker" / "COMMIT").write_text(f"{commit}-dirty")
    assert version_in(checkout, tmp_path) == {"commit": commit, "dirty": True}


def test_a_folder_without_code_has_no_commit(folder: Path, tmp_path: Path) -> None:
    """The code of such a job is that of the image."""
    working_dir.pack(folder, (), tmp_path / "package.zip")
    with zipfile.ZipFile(tmp_path / "package.zip") as archive:
        assert archive.namelist() == ["fill.yaml"]


def test_a_large_working_directory_is_told_with_what_makes_it_large(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packaging, "GCS_STORAGE_MAX_SIZE", 3_000_000)
    (folder / "weights").mkdir()
    (folder / "weights" / "a.bin").write_bytes(zlib_free(2_500_000))
    (folder / "b.bin").write_bytes(zlib_free(1_000_000))
    with pytest.raises(SweepError) as told:
        working_dir.pack(folder, (), tmp_path / "package.zip")
    assert "it is 4 MB packed, Ray accepts 3 MB; the largest: weights/ 3 MB, b.bin 1 MB" in told.value.why


def zlib_free(size: int) -> bytes:
    """Bytes that cannot be compressed."""
    import random

    return random.Random(0).randbytes(size)


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["../outside.yaml", "--store", "s3://b/p"], "outside the working directory"),
        (["fill.yaml"], "is deleted with the job"),
        (["fill.yaml", "--store", "s3://b/p", "--set", "epochs=-1"], "epochs"),
        (["fill.yaml", "--store", "s3://b/p", "--runtime-env", "fill.txt"], "runtime_env.yaml"),
        (["fill.yaml", "--store", "s3://b/p", "--runtime-env", "bomb.yaml"], "more than 50,000 values"),
        (["fill.yaml", "--store", "s3://b/p", "--runtime-env", "deep.yaml"], "nested too deeply"),
    ],
)
def test_what_the_cluster_cannot_use_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    (folder.parent / "outside.yaml").write_text(FILL)
    (folder / "bomb.yaml").write_text(
        "a: &a x\n" + "".join(f"{k}: &{k} [{', '.join([f'*{j}'] * 9)}]\n" for j, k in pairwise("abcdefgh"))
    )
    (folder / "deep.yaml").write_text("pip: " + "[" * 100_000)
    assert main(["submit", *arguments, "--address", "http://127.0.0.1:1"]) == common.USER_ERROR
    assert says in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
def test_a_shipped_study_is_submitted_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file is outside the uploaded folder, but the package on the cluster has it."""
    submitted: list[submit.Submission] = []
    monkeypatch.setattr(submit, "submit", lambda one: submitted.append(one) or "job")
    main(["submit", "partial-conv", "--store", "s3://b/p", "--address", "http://127.0.0.1:1", "--detach"])
    assert submitted[0].arguments[0] == "partial_conv"


@pytest.fixture
def no_dashboard() -> Iterator[str]:
    """The address of a web server that is not a dashboard."""

    class Nothing(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Nothing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("address", "says"),
    [("http://127.0.0.1:1", "it cannot be reached"), ("head:6379", "over HTTP"), ("ray://h:1", "over HTTP")],
)
def test_an_address_without_jobs_is_told_at_once(folder: Path, address: str, says: str) -> None:
    began = time.monotonic()
    with pytest.raises(SweepError, match=says):
        submit.submit(submit.Submission(address, folder, ("fill.yaml",)))
    assert time.monotonic() - began < 10


def test_another_web_server_is_told(folder: Path, no_dashboard: str) -> None:
    with pytest.raises(SweepError, match="not a Ray dashboard"):
        submit.submit(submit.Submission(no_dashboard, folder, ("fill.yaml",)))


@pytest.mark.parametrize(("token", "says"), [(None, "none is set here"), ("c" * 64, "does not accept")])
def test_a_missing_or_wrong_token_of_the_jobs_is_told(
    guarded: Head, use_token: UseToken, folder: Path, token: str | None, says: str
) -> None:
    use_token(token)
    began = time.monotonic()
    with pytest.raises(SweepError, match=says):
        submit.submit(submit.Submission(guarded.jobs, folder, ("fill.yaml",)))
    assert time.monotonic() - began < 10


def test_a_cluster_that_is_starting_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(submit, "_READY_S", 0.0)
    refusals = iter(["status code 500: No available agent to submit job, please try again later."] * 2)

    def start() -> str:
        for refusal in refusals:
            raise RuntimeError(refusal)
        return "raysubmit_1"

    assert submit._when_ready(start) == "raysubmit_1"
    assert capsys.readouterr().err.count("trying again") == 2

    refusals = iter(["status code 500: no disk space"])
    with pytest.raises(RuntimeError, match="no disk space"):
        submit._when_ready(start)

    refusals = iter(["No available agent to submit job"] * 100)
    with pytest.raises(RuntimeError, match="No available agent"):
        submit._when_ready(start, timeout_s=0.0)


def test_a_job_that_waits_is_told_and_not_waited_for_without_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(follow, "_LOOK_S", 0.01)
    monkeypatch.setattr(waiting, "FIRST_S", 0.05)
    states = iter(["job j has not started: its environment is prepared; jobs that run now: i"] * 20)
    follow._wait_for_start("http://head:8265", "j", lambda: next(states, ""), 60.0)
    assert capsys.readouterr().err.count("job j has not started") == 1, "the next line is due after 30 s"
    with pytest.raises(SweepError, match=r"after 0\.1 s, behind another job") as told:
        follow._wait_for_start("http://head:8265", "j", lambda: "behind another job", 0.1)
    assert "ray job stop --address http://head:8265 j" in told.value.fix
    assert "--timeout" in told.value.allowed


def test_what_is_waited_for_is_said_after_four_seconds_and_then_every_thirty(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = 0.0
    notice = waiting.WaitNotice(lambda: now)
    lines = []
    for tick in range(140):
        now = tick / 2
        notice.update((lambda: "a GPU") if tick != 100 else None)
        lines += [(now, line) for line in capsys.readouterr().err.splitlines()]
    assert [at for at, _ in lines] == [4.0, 34.0, 54.5], "and again after a wait that has ended"
    assert lines[1][1] == "waiting for 34 s: a GPU"


def test_a_call_that_takes_too_long_is_given_up() -> None:
    never = threading.Event()
    with pytest.raises(TimeoutError):
        waiting.call(never.wait, "the cluster", 0.1)
    never.set()
    assert waiting.call(lambda: 3, "the cluster", 5.0) == 3
    with pytest.raises(SweepError, match="no"):
        waiting.call(lambda: working_dir.relative_file(Path("/no/a.yaml"), Path("/b")), "the cluster", 5.0)


@pytest.mark.parametrize("verb", ["submit", "run"])
def test_without_ray_it_is_told_what_to_install(
    verb: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main([verb, "fill.yaml", "--address", "http://head:8265", "--store", str(folder)]) == common.USER_ERROR
    said = capsys.readouterr().err
    assert "Ray is not installed" in said
    assert "pip install -r requirements.lock" in said


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("address", ["auto", "local", "in-process"])
def test_an_address_that_is_no_host_is_not_made_one(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["submit", "fill.yaml", "--address", address, "--store", "s3://b/p"]) == common.USER_ERROR
    said = capsys.readouterr().err
    assert f"http://{address}" not in said
    assert "http://127.0.0.1:8265" in said
