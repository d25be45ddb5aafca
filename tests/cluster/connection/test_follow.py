"""The end of a job as `submit` tells it: the job's exit code, its error once, and a tunnel that breaks meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ray.dashboard.modules.job.pydantic_models import JobDetails

from cluster.connection import waiting
from cluster.connection.jobs import follow, job_server, submit
from sweeps import api
from sweeps.cli import common
from sweeps.cli.main import main
from sweeps.errors import JobLostError, SweepError
from tests.cluster.connection.tunnels import Tunnel, tunnel_to
from tests.cluster.heads import TOKEN, Head

UseToken = Callable[[str | None], None]


@pytest.fixture
def start(guarded: Head, use_token: UseToken) -> Callable[[str], str]:
    """Start a shell command as a job of a cluster; returns the job's id."""
    use_token(TOKEN)
    client = job_server.client(guarded.jobs)
    return lambda command: str(client.submit_job(entrypoint=command))


@pytest.fixture
def tunnel(guarded: Head) -> Iterator[Tunnel]:
    with tunnel_to(int(guarded.jobs.rpartition(":")[2])) as made:
        yield made


@pytest.mark.slow
def test_a_job_that_was_killed_has_the_exit_code_of_a_shell(
    guarded: Head, start: Callable[[str], str], capfd: pytest.CaptureFixture[str]
) -> None:
    job = start("kill -9 $$")
    assert follow.follow(guarded.jobs, job) == 137
    assert f"job {job} failed on node 127.0.0.1: " in capfd.readouterr().err


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({"status": "STOPPED"}, 1),
        ({"status": "FAILED", "driver_exit_code": -9, "message": "failed with exit code -9, last"}, 137),
        ({"status": "FAILED", "error_type": "RUNTIME_ENV_SETUP_FAILURE", "message": "pip failed"}, 2),
        ({"status": "FAILED", "error_type": "JOB_SUPERVISOR_ACTOR_DIED", "message": "the node died"}, 1),
        ({"status": "SUCCEEDED", "driver_exit_code": 0}, 0),
    ],
)
def test_ends_without_an_exit_code_have_one(
    facts: dict[str, object], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    info = JobDetails(type="SUBMISSION", entrypoint="sweeps run", **facts)
    assert follow._exit_code("j", info) == code
    message = str(facts.get("message", ""))
    assert message.removesuffix(", last") in capsys.readouterr().err


def test_a_job_is_followed_through_a_broken_tunnel(
    start: Callable[[str], str],
    tunnel: Tunnel,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(waiting, "FIRST_S", 0.5)
    address = f"http://127.0.0.1:{tunnel.port}"
    job = start("echo one; sleep 3; echo error: $((1 + 1)); exit 3")
    follow._wait_for_start(address, job, lambda: follow._pending(job_server.client(address), job), 60.0)

    def break_it() -> None:
        time.sleep(0.5)
        tunnel.cut()
        time.sleep(4.0)  # the job ends meanwhile
        tunnel.mend()

    breaker = threading.Thread(target=break_it)
    breaker.start()
    assert follow.follow(address, job) == 3
    breaker.join()
    said = capfd.readouterr()
    assert said.out.count("\none\n") == 1
    assert said.out.endswith("\nerror: 2\n")
    assert (said.out + said.err).count("error: 2") == 1, "the message of the job repeats its log"
    assert f"job {job} failed on node 127.0.0.1: " in said.err
    assert f"the dashboard at {address} does not answer" in said.err
    with pytest.raises(JobLostError, match="does not know job other"):
        follow._answer(address, "other", lambda: job_server.client(address).get_job_info("other"))


def test_a_proxy_that_answers_for_the_dashboard_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "_LOOK_S", 0.0)
    answers = iter([502, 503, 429, 400])

    def ask() -> str:
        raise RuntimeError(f"Request failed with status code {next(answers)}: no.")

    with pytest.raises(SweepError, match="status code 400") as refused:
        follow._answer("http://head:8265", "j", ask)
    assert not isinstance(refused.value, JobLostError), "the dashboard has answered"


@pytest.mark.usefixtures("folder")
def test_a_dashboard_that_stays_away_ends_with_how_to_go_on(
    start: Callable[[str], str],
    tunnel: Tunnel,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(follow, "AWAY_S", 2.0)
    address = f"http://127.0.0.1:{tunnel.port}"
    job = start("sleep 60")
    threading.Timer(1.5, tunnel.cut).start()
    monkeypatch.setattr(submit, "submit", lambda _: job)
    assert main(["submit", "fill.yaml", "--address", address, "--store", "s3://b/p"]) == common.FAILED
    said = capsys.readouterr().err
    assert f"whether job {job} still runs is not known" in said
    assert f"ray job logs --follow --address {address} {job}" in said
    assert "continues" not in said


@pytest.mark.usefixtures("folder")
def test_the_exit_code_for_failed_trials_reaches_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    submitted: list[submit.Submission] = []
    monkeypatch.setattr(submit, "submit", lambda one: submitted.append(one) or "job")
    command = ["submit", "fill.yaml", "--store", "s3://b/p", "--address", "http://127.0.0.1:1", "--detach"]
    assert main([*command, "--failed-trials-exit", "0"]) == common.DONE
    assert "--failed-trials-exit=0" in submitted[0].arguments
    assert api.ClusterJob("http://head:8265").failed_trials_exit == common.FAILED


@pytest.mark.parametrize("verb", ["submit", "run", "doctor", "a local run"])
@pytest.mark.parametrize("exists", [True, False])
def test_a_token_file_that_holds_none_is_an_error_of_every_verb(
    guarded: Head,
    use_token: UseToken,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    verb: str,
    exists: bool,
) -> None:
    use_token(None)
    token = folder / "token"
    if exists:
        token.write_text("")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    store = str(folder.parent / "store")
    command = {
        "submit": ["submit", "fill.yaml", "--address", guarded.jobs, "--store", store],
        "run": ["run", "fill.yaml", "--address", guarded.address, "--store", store],
        "doctor": ["doctor", "--address", guarded.address, "--store", store],
        "a local run": ["run", "fill.yaml", "--address", "local", "--store", store],
    }[verb]
    assert main(command) in ((common.FAILED,) if verb == "doctor" else (common.USER_ERROR,))
    said = capsys.readouterr()
    assert f"RAY_AUTH_TOKEN_PATH={token}" in said.out + said.err
    assert "the file cannot be read or is empty" in said.out + said.err
    assert "unset RAY_AUTH_TOKEN_PATH" in said.out + said.err
