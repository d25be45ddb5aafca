"""Rendezvous of a group's workers: Ray Train's torch backend, but listening on one address only.

torch's key-value store would listen on every address of the machine. Here it gets a socket that is bound to the address
by which Ray knows the node: 127.0.0.1 for a local Ray.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import ray
from ray.train.torch import TorchConfig
from ray.train.torch.config import _set_torch_distributed_env_vars, _TorchBackend

_GET_ADDRESS = 0x8915
"""Linux's SIOCGIFADDR."""
_listening: list[socket.socket] = []
"""Worker 0's socket, between the two steps of the set-up."""


@dataclass
class OwnAddressConfig(TorchConfig):  # type: ignore[misc]
    """Torch configuration with the backend of this module: gloo on CPUs, nccl on GPUs."""

    @property
    def backend_cls(self) -> type:
        return _OwnAddressBackend


class _OwnAddressBackend(_TorchBackend):  # type: ignore[misc]
    def on_start(self, worker_group: Any, backend_config: OwnAddressConfig) -> None:
        """Called by Ray Train's controller when the workers have started."""
        gpus = worker_group.get_resources_per_worker().get("GPU", 0)
        worker_group.execute(_set_torch_distributed_env_vars)
        place = worker_group.execute_single(0, _listen)
        size, backend = len(worker_group), "nccl" if gpus else "gloo"
        joined = [
            worker_group.execute_single_async(rank, _join, place, rank, size, backend, backend_config.timeout_s)
            for rank in range(size)
        ]
        ray.get(joined)


def _listen() -> tuple[str, int]:
    address = ray.util.get_node_ip_address()
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    listener.bind((address, 0))
    listener.listen()
    _listening.append(listener)
    return address, listener.getsockname()[1]


def _interface(address: str) -> str | None:
    """The network interface with an IPv4 address. By default, gloo uses the one that the host name resolves to."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(probe.fileno(), _GET_ADDRESS, struct.pack("256s", name.encode()[:15]))
            except OSError:  # it has no IPv4 address
                continue
            if socket.inet_ntoa(answer[20:24]) == address:
                return name
    return None


def _join(place: tuple[str, int], rank: int, size: int, backend: str, timeout_s: int) -> None:
    from torch import distributed

    address, port = place
    timeout = timedelta(seconds=timeout_s)
    if interface := _interface(str(ray.util.get_node_ip_address())):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
        os.environ.setdefault("NCCL_SOCKET_IFNAME", f"={interface}")  # `=`: the exact name, not a prefix
    if rank == 0:
        file = _listening.pop().detach()
        store = distributed.TCPStore(address, port, size, is_master=True, timeout=timeout, master_listen_fd=file)  # type: ignore[attr-defined]
    else:
        store = distributed.TCPStore(address, port, size, is_master=False, timeout=timeout)  # type: ignore[attr-defined]
    distributed.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=timeout)
