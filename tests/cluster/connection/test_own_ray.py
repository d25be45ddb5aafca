"""The local Ray of `sweeps run`: its addresses, its token, and how Ctrl-C ends it."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from ray.core.generated import gcs_service_pb2 as messages
from ray.core.generated import gcs_service_pb2_grpc as gcs

from sweeps.cli import common
from sweeps.cli.main import main
from sweeps.store import layout
from sweeps.store.local import FolderStore
from tests.cluster.connection.sockets import beyond_loopback
from tests.cluster.driven import DriverProcess, workplace
from tests.cluster.heads import TOKEN_VARIABLES
from tests.cluster.runners.test_ends import LONG, ends, here, last_epochs, trained


def test_it_stays_on_loopback_wants_a_token_and_ends_with_ctrl_c(
    tmp_path: Path, data_root: Path, ray_address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another Ray runs here, and a killed one left its address behind; Ctrl-C reaches all processes of this one."""
    file, home, store = tmp_path / "small.yaml", tmp_path / "home", FolderStore(tmp_path / "store")
    file.write_text(LONG)
    home.mkdir()
    environment = {**dict.fromkeys(TOKEN_VARIABLES), "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": None}
    environment |= {"HOME": str(home), "RAY_ADDRESS": "127.0.0.1:1"}
    with workplace() as start:
        driven = start(store, "run", file, "--data", data_root, environment=environment)
        assert driven.until(driven.at_work), driven.output_text()
        _check_sockets(driven, ray_address)
        assert not (home / ".ray").exists(), "no token is written into the home folder"
        trained(driven, 2)
        driven.interrupt()
        assert driven.wait(120) == common.INTERRUPTED, driven.output_text()
        said = driven.output_text()
    assert "press Ctrl-C again to stop at once" in said
    assert "the same command continues the sweep" in said
    assert "Traceback" not in said
    assert ends(store) == ["done", "stopped", "stopped"] or ends(store) == ["stopped", "stopped"]
    _check_that_it_goes_on(file, store, capsys)


def _check_sockets(driven: DriverProcess, other: str) -> None:
    family = driven.family()
    beyond, total = beyond_loopback(family)
    assert beyond == []
    assert total >= 5, "GCS, raylet, agents, actors and the driver listen somewhere"
    port = next(port for pid in family if (port := _gcs_port(pid)))
    assert str(port) != other.rpartition(":")[2]
    with pytest.raises(grpc.RpcError) as refused:
        _ask(f"127.0.0.1:{port}")
    assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


def _check_that_it_goes_on(file: Path, store: FolderStore, capsys: pytest.CaptureFixture[str]) -> None:
    """The same command, with fewer epochs, starts from the checkpoints that Ctrl-C left."""
    reached = last_epochs(store)
    assert len(reached) == 2, "each was stopped with a checkpoint, though none was due"
    longer = max(reached.values()) + 2
    assert main(["run", str(file), "--set", f"epochs={longer}", "--replace", *here(store)]) == common.DONE
    assert "3 done" in capsys.readouterr().out
    for trial_id, epoch in reached.items():
        result = layout.get_json(store, layout.result_key(trial_id, longer))
        assert f"resumed after epoch {epoch}" in result["notes"]
        assert result["history"]["epoch"] == list(range(1, longer + 1))


def _gcs_port(pid: int) -> int | None:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    given = [word.partition("=")[2] for word in words if word.startswith("--gcs-address=")]
    return int(given[0].rpartition(":")[2]) if given else None


def _ask(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        request = messages.GetAllNodeInfoRequest()
        gcs.NodeInfoGcsServiceStub(channel).GetAllNodeInfo(request, timeout=10)
