"""The doctor finds obstacles to a sweep on this machine, on a cluster and in a store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from cluster.connection import gpu_driver
from cluster.connection.doctor import check_result, checks, machine
from cluster.connection.doctor import store as store_checks
from cluster.connection.doctor.clock import clock_offset_s
from cluster.worker import provenance, worker
from sweeps.cli import common
from sweeps.cli.main import main
from sweeps.store.local import FolderStore
from sweeps.store.open import open_store
from tests.cluster.heads import TOKEN, Head
from tests.s3servers import Server, address

UseToken = Callable[[str | None], None]


class Forgetful(FolderStore):
    """A store like some S3 servers, which ignore the condition of a conditional write."""

    def create(self, key: str, data: bytes) -> bool:
        self.put(key, data)
        return True


class Stale(FolderStore):
    """A store that returns outdated objects."""

    def get(self, key: str) -> bytes:
        super().get(key)
        return b"a"


def failed(store: FolderStore) -> list[check_result.CheckResult]:
    return [line for line in store_checks.check_store(store) if line.state == "failed"]


def test_a_good_store_passes_and_keeps_nothing(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    (line,) = store_checks.check_store(store)
    assert (line.state, line.do) == ("ok", "")
    assert list(store.keys("")) == []


def test_a_server_without_conditional_writes_is_told(rclone: Server, moto: Server, aws: pytest.MonkeyPatch) -> None:
    for server, states in ((rclone, ["ok", "warning"]), (moto, ["ok"])):
        aws.setenv("AWS_ENDPOINT_URL", server.url)
        lines = list(store_checks.check_store(open_store(address("doctor"))))
        assert [line.state for line in lines] == states
        assert all("ignores conditional writes" in line.what for line in lines[1:])


@pytest.mark.parametrize(
    ("kind", "says"), [(Forgetful, "two drivers could train the same trial"), (Stale, "cannot replace: the old")]
)
def test_a_store_that_breaks_a_promise_is_told(tmp_path: Path, kind: type[FolderStore], says: str) -> None:
    (line,) = failed(kind(tmp_path / "store"))
    assert says in line.what
    assert line.do


def test_a_store_that_cannot_be_written_is_told_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (line,) = failed(FolderStore(tmp_path / "file" / "below"))
    assert "cannot write" in line.what
    assert line.do


@pytest.mark.parametrize(
    ("clock", "off"), [((100.0, 103.0), 0.0), ((94.0, 97.0), 6.0), ((112.0, 115.0), 5.0), ((110.0, 110.5), 0.5)]
)
def test_how_much_a_clock_is_off(clock: tuple[float, float], off: float) -> None:
    """Asked at 100 s, answered at 110 s by our clock."""
    assert clock_offset_s(clock, 100.0, 110.0) == off


def test_this_machine_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["doctor", "--store", str(tmp_path / "store"), "--data"]
    assert main([*arguments, str(tmp_path)]) == common.DONE
    out = capsys.readouterr().out
    for words in ("torch", "open files", "GB free", "refuse a second writer", "its clock agrees", "data in"):
        assert words in out
    assert main([*arguments, str(tmp_path / "absent")]) == common.FAILED
    out = capsys.readouterr().out
    assert f"there is no folder {tmp_path / 'absent'}" in out
    assert "1 checks failed" in out


def test_files_of_the_data_root_that_are_no_images_are_named(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "photos" / "good.png")
    assert [line.state for line in machine.check_images(tmp_path)] == ["ok"]
    for name in ("a.png", "b.jpg"):
        (tmp_path / "photos" / name).write_bytes(b"x")
    (line,) = machine.check_images(tmp_path)
    assert line.state == "warning"
    assert "2 of 3 image files" in line.what
    assert "photos/a.png" in line.what
    assert "photos/b.jpg" in line.what


def test_limits_of_a_machine_are_told() -> None:
    poor = machine.MachineFacts(versions=dict.fromkeys(machine.COMPARED, "none"), open_files=1024, free_gb=0.5)
    lines = list(machine.check_machine("node", poor))
    assert [line.state for line in lines] == ["failed", "warning", "failed"]
    assert "ulimit -n 65536" in lines[1].do
    assert all(line.do for line in lines)


@pytest.mark.parametrize(
    ("gpus", "driver", "torchs", "states", "says"),
    [
        (0, "", "", [], ""),
        (1, "13.0", "13.2", ["ok"], "torch uses CUDA 13.2"),
        (0, "13.0", "12.8", ["ok"], "supports CUDA 13.0"),
        (0, "12.4", "13.2", ["failed"], "driver 580 or newer"),
        (0, "13.0", "", ["failed"], "the installed torch has no CUDA"),
        (4, "", "", ["failed"], "--gpus all"),
    ],
)
def test_a_driver_that_cannot_run_torch_is_told(
    gpus: int, driver: str, torchs: str, states: list[str], says: str
) -> None:
    found = machine.MachineFacts(gpus=gpus, driver_cuda=driver, torch_cuda=torchs)
    lines = list(machine.check_gpu_driver("node a", found))
    assert [line.state for line in lines] == states
    assert says in "".join(line.what + line.do for line in lines)


def test_a_gpu_that_torch_cannot_use_is_an_error_and_not_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(gpu_driver, "supported_cuda", lambda: "11.2")
    monkeypatch.setattr(gpu_driver, "torch_cuda", lambda: "13.2")
    options = worker.WorkerOptions(store="", sweep="", run="", stops_seen=frozenset(), gpus=1)
    with pytest.raises(ValueError, match=r"supports CUDA 11\.2, and torch needs CUDA 13\.2") as told:
        worker._check_device(options)
    assert "--set resources.gpus=0" in str(told.value)
    worker._check_device(replace(options, gpus=0))


def test_a_cluster_is_looked_at_node_by_node(
    guarded: Head, use_token: UseToken, tmp_path: Path, data_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    use_token(TOKEN)
    store = ["--store", str(tmp_path / "store"), "--data", str(data_root)]
    assert main(["doctor", "--address", guarded.address, *store]) == common.DONE
    out = capsys.readouterr().out
    for words in ("requires a token", "1 nodes, 2 CPUs, 0 GPUs", "the same packages as here", "every node must have"):
        assert words in out


def test_other_packages_on_a_node_are_told(guarded: Head, use_token: UseToken, monkeypatch: pytest.MonkeyPatch) -> None:
    use_token(TOKEN)
    here = {**provenance.versions(), "torchvision": "0.1"}
    monkeypatch.setattr(provenance, "versions", lambda: here)
    lines = [line for line in checks.run_checks(guarded.address, None, None) if line.state == "failed"]
    assert len(lines) == 1
    assert "torchvision" in lines[0].what
    assert "(here 0.1)" in lines[0].what
    assert "requirements.lock" in lines[0].do


def test_an_address_of_no_use_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["doctor", "--address", "127.0.0.1:1", "--store", str(tmp_path)]) == common.FAILED
    assert "it cannot be reached" in capsys.readouterr().out
