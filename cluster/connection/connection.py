"""Start a Ray on this machine or join a running one, and restore the settings of this process afterwards.

Other than by Ray's defaults, a Ray that we start listens on loopback only, and its files and its token are in a
temporary folder of their own, not in a shared one and the home folder; the user's own token settings take precedence. A
running Ray is checked through its GCS before this process joins it, because Ray itself tries for 20 s (wrong token) to
two minutes (nothing there) and then ends the process.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import ray
from ray._private import ray_constants, services
from ray._private.authentication.authentication_token_generator import generate_new_authentication_token
from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]
from ray.core.generated import gcs_service_pb2 as messages
from ray.core.generated import gcs_service_pb2_grpc as gcs

from cluster.connection import address as addresses
from cluster.connection import auth_token, ray_messages
from cluster.connection.head_watch import RAY_WAITS
from sweeps import scratch
from sweeps.errors import SweepError

ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # our own handler stops gracefully
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "1",  # Train's runs appear in Ray's dashboard
}
LOOPBACK = "127.0.0.1"
_LOCAL = {RAY_WAITS: "10"}
"""If all of a local Ray was killed, the driver ends after this many seconds; nothing would restart it."""
_MODE = "RAY_AUTH_MODE"
_PROBE_S = 4.0
_LONGEST_PARENT = 24
"""Longest path of $TMPDIR that Ray can use: its sockets are 80 characters deeper, and Linux allows 107 in all."""


class _Changes:
    """The settings of this process that a connection changed, to be undone later."""

    def __init__(self) -> None:
        self.environment: dict[str, str | None] = {}
        self.cluster_mode: bool | None = None
        self.folder: Path | None = None

    def set(self, name: str, value: str) -> None:
        self.environment.setdefault(name, os.environ.get(name))
        os.environ[name] = value

    def undo(self) -> None:
        for name, before in self.environment.items():
            if before is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = before
        if self.cluster_mode is not None:
            ray_constants.ENABLE_RAY_CLUSTER = self.cluster_mode
        if self.folder is not None:
            scratch.remove(self.folder)
        token_mode = {_MODE, auth_token.PATH} & self.environment.keys()
        self.environment, self.cluster_mode, self.folder = {}, None, None
        if token_mode:
            reload_settings()


_changes = _Changes()


def connect(address: str, dashboard: bool = False) -> None:
    """Start a Ray on this machine (`local`) or join the one at `address` (`auto`, HOST:PORT).

    A local Ray is always a new one, even if another one runs here or left files behind. dashboard: also start Ray's
    dashboard, on loopback, which costs about 2 s and ten processes; Ray Train needs it to stop a multi-worker trial.
    SweepError, within 10 s, if the address cannot be used.
    """
    addresses.check(address)
    os.environ.update(ENVIRONMENT)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    sigterm = signal.getsignal(signal.SIGTERM)
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
    try:
        if address == addresses.LOCAL:
            _start_local(_prepare_local(), dashboard, quiet)
        else:
            ray.init(address=_join(address), **quiet)
    except BaseException:
        _changes.undo()
        raise
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, sigterm)  # Ray sets a handler that ends the process at once


def _start_local(folder: Path, dashboard: bool, quiet: Mapping[str, Any]) -> None:
    try:
        ray.init(
            address="local",
            _temp_dir=str(folder),
            include_dashboard=dashboard,
            dashboard_host=LOOPBACK,
            _node_ip_address=LOOPBACK,
            **quiet,
        )
    except Exception as error:  # Ray raises several, and plain `Exception` too, if its processes are not there in time
        said = next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
        raise SweepError(
            "a Ray on this machine",
            f"it did not start: {said}",
            "a machine that starts Ray's processes within half a minute: with memory and disk space, and not too busy",
            "the same command again, when less runs on the machine; or `--address in-process`, which needs no Ray",
        ) from error


def head() -> str:
    """HOST:PORT of the head of the cluster that this process has joined."""
    return str(ray.get_runtime_context().gcs_address)


def dashboard() -> str:
    """The address of Ray's dashboard as Ray gives it; '' if there is none."""
    node = ray._private.worker._global_node
    address = str(node.webui_url or "") if node is not None else ""
    return f"http://{address}" if address and "://" not in address else address


def logs() -> Path:
    """The folder of Ray's log files on this machine."""
    return Path(ray._private.worker._global_node.get_logs_dir_path())


def disconnect() -> None:
    """Leave Ray; a local one ends. The files of a local one stay for a later run to remove if it left messages."""
    said = (logs() / ray_messages.FILE).exists()
    ray.shutdown()
    if said:
        _changes.folder = None
    _changes.undo()


def _prepare_local() -> Path:
    """Set this process up to start a Ray of its own. Returns the folder for Ray's files and its token."""
    folder = _changes.folder = scratch.new_folder("ray", os.environ.get("RAY_TMPDIR"), _LONGEST_PARENT)
    for name, value in _LOCAL.items():
        if name not in os.environ:
            _changes.set(name, value)
    _stay_on_loopback()
    mode = os.environ.get(_MODE)
    if mode is None or mode.lower() == "token":
        if not auth_token.headers():
            path = folder / "auth_token"
            path.write_text(generate_new_authentication_token())
            _changes.set(auth_token.PATH, str(path))
        _changes.set(_MODE, "token")
        reload_settings()
    return folder


def _stay_on_loopback() -> None:
    """Turn off Ray's cluster mode, in which it replaces a loopback address by the machine's own."""
    _changes.set(ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR, "0")
    if _changes.cluster_mode is None:
        _changes.cluster_mode = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False


def reload_settings() -> None:
    """Make Ray read the authentication mode and the token again, which it caches when it is imported."""
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


# --- a running Ray ----------------------------------------------------------------------------------------------------


def _join(address: str) -> str:
    """Check the Ray at `address` and set this process up to join it. Returns HOST:PORT."""
    head = _running_here() if address == addresses.AUTO else address
    cluster = _look(head)
    if cluster["nodes"] and all(node == LOOPBACK for node in cluster["nodes"]):
        _stay_on_loopback()
    _check_versions(head, cluster)
    return head


def _running_here() -> str:
    try:
        head: str = services.get_ray_address_from_environment(addresses.AUTO, None)
    except ConnectionError as error:
        raise SweepError(
            "--address auto",
            "no Ray runs on this machine",
            "a node of a running cluster, or another address",
            "`ray start --address=HEAD:6379` joins a cluster; --address local starts a new Ray",
        ) from error
    addresses.check(head)
    return head


def _look(address: str) -> dict[str, Any]:
    """Ask the GCS for `ray_version`, `python_version`, and `nodes`, the addresses of living nodes.

    Turns token authentication on in this process if the cluster requires a token and one is available.
    """
    try:
        cluster = _ask(address, {})
        if _MODE not in os.environ:
            _changes.set(_MODE, "disabled")  # otherwise Ray would use a token from the home folder
        reload_settings()
        return cluster
    except grpc.RpcError as error:
        if error.code() != grpc.StatusCode.UNAUTHENTICATED:
            raise _not_a_head(address, error) from error
    headers = auth_token.headers()
    if not headers:
        raise SweepError(
            f"--address {address}",
            "the cluster requires a token, and none is set here",
            "the token that the cluster was started with",
            addresses.SET_TOKEN,
        )
    _changes.set(_MODE, "token")
    reload_settings()
    try:
        return _ask(address, headers)
    except grpc.RpcError as error:
        if error.code() != grpc.StatusCode.UNAUTHENTICATED:
            raise _not_a_head(address, error) from error
        raise SweepError(
            f"--address {address}",
            "the cluster does not accept the token that is set here",
            "the token that the cluster was started with",
            "compare RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH and ~/.ray/auth_token (in this order) with the head's",
        ) from error


def _ask(address: str, headers: dict[str, str]) -> dict[str, Any]:
    metadata = [(name.lower(), value) for name, value in headers.items()]
    with grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)]) as channel:
        key = messages.InternalKVGetRequest(key=b"CLUSTER_METADATA", namespace=b"cluster")
        got = gcs.InternalKVGcsServiceStub(channel).InternalKVGet(key, timeout=_PROBE_S, metadata=metadata)
        listed = gcs.NodeInfoGcsServiceStub(channel).GetAllNodeInfo(
            messages.GetAllNodeInfoRequest(), timeout=_PROBE_S, metadata=metadata
        )
    nodes = [node.node_manager_address for node in listed.node_info_list if node.state == 0]
    return {**json.loads(got.value), "nodes": nodes}


def _not_a_head(address: str, error: grpc.RpcError) -> SweepError:
    return SweepError(
        f"--address {address}",
        f"the server there does not answer as the head of a Ray cluster ({error.code().name.lower()})",
        addresses.ALLOWED,
        "use the port of `ray start --head` (6379); for the dashboard's port: "
        "sweeps submit FILE --address http://HOST:8265",
    )


def _check_versions(address: str, cluster: dict[str, Any]) -> None:
    """Require equal versions, because Ray's drivers and workers exchange pickles."""
    theirs = (cluster["ray_version"], cluster["python_version"])
    ours = (ray.__version__, platform.python_version())
    if theirs != ours:
        raise SweepError(
            f"--address {address}",
            f"the cluster runs Ray {theirs[0]} on Python {theirs[1]}, this machine Ray {ours[0]} on Python {ours[1]}",
            "the same versions of both on the driver and on every node",
            f"pip install 'ray[default,train,tune]=={theirs[0]}' with Python {theirs[1]}, or run the sweep on a node: "
            "sweeps submit FILE --address http://HOST:8265",
        )
