"""Check `--address` and whether something listens there, without importing ray, so that mistakes show at once."""

from __future__ import annotations

import importlib.util
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sweeps import sizes
from sweeps.errors import SweepError
from trainables.cpus import usable_cpus

if TYPE_CHECKING:
    from sweeps.spec.sections.resources import Resources

LOCAL, AUTO, IN_PROCESS = "local", "auto", "in-process"
REACH_S = 5.0
"""Seconds to wait for a host to answer."""
ALLOWED = "local, auto (on a node of the cluster), HOST:PORT of its head (port 6379), in-process"

SET_TOKEN = (
    "export RAY_AUTH_TOKEN=... or RAY_AUTH_TOKEN_PATH=FILE, or write the token to ~/.ray/auth_token; KubeRay's is in "
    "the secret named like the cluster: export RAY_AUTH_TOKEN=$(kubectl get secret CLUSTER -o "
    "jsonpath='{.data.auth_token}' | base64 --decode)"
)
"""How to set the token of a cluster."""


def chosen(address: str | None, size: str, resources: Resources, max_concurrent: int | None = None) -> str:
    """The given address. By default `in-process` for the tiny form of a sweep, and where one trial fits at a time.

    There Ray would cost its start, and train no two trials at once. Otherwise `local`, also for trials of several
    workers.
    """
    alone = max_concurrent == 1 or usable_cpus() // resources.cpus == 1
    return address or (IN_PROCESS if size == sizes.TINY or (alone and not resources.grouped) else LOCAL)


def require_ray(address: str) -> None:
    """SweepError if Ray is not installed here."""
    if importlib.util.find_spec("ray") is None:
        raise SweepError(
            f"--address {address}",
            "Ray is not installed in this Python environment",
            "an environment with the packages of this project; without Ray: sweeps run FILE --address in-process",
            "pip install -r requirements.lock",
        )


def check(address: str) -> None:
    """SweepError for an address that a sweep cannot run on, or where nothing listens (within 10 s)."""
    if address == IN_PROCESS:
        return
    require_ray(address)
    if address in (LOCAL, AUTO):
        return
    if address.startswith("ray://"):
        raise SweepError(
            f"--address {address}",
            "Ray Client runs Tune apart from the driver, which our searcher does not support",
            ALLOWED,
            "sweeps submit FILE --address http://HOST:8265, or --address auto on a node of the cluster",
        )
    if address.startswith(("http://", "https://")):
        raise SweepError(
            f"--address {address}",
            "this is the address of Ray's dashboard and job server",
            ALLOWED,
            f"sweeps submit FILE --address {address}; run and doctor take "
            f"{urlsplit(address).hostname or 'HOST'}:6379, or --address auto on a node",
        )
    reach(*host_and_port(address))


def host_and_port(address: str) -> tuple[str, int]:
    """(host, port) of HOST:PORT or [HOST]:PORT."""
    try:
        parts = urlsplit(f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port:
        raise SweepError(f"--address {address}", "this is not an address", ALLOWED, "--address auto, or HOST:6379")
    return host, port


def reach(host: str, port: int, given: str | None = None) -> None:
    """SweepError if nothing listens at host and port, or nothing answers within `REACH_S` seconds.

    given: the address as it was given, if that is not HOST:PORT.
    """
    try:
        socket.create_connection((host, port), REACH_S).close()
    except OSError as error:
        if given is None:
            allowed, tunnel = "the head of a running Ray cluster (port 6379; for jobs http://HOST:8265)", ""
        else:
            allowed = "the dashboard of a running Ray cluster (port 8265), directly or through a tunnel"
            tunnel = ", ray dashboard CLUSTER.yaml, or kubectl port-forward service/CLUSTER-head-svc 8265"
        raise SweepError(
            f"--address {given or f'{host}:{port}'}",
            f"it cannot be reached: {error.strerror or error}",
            allowed,
            "run `ray status` on the head to check it; from outside open a tunnel: "
            f"ssh -L 8265:127.0.0.1:8265 HEAD{tunnel}",
        ) from error
