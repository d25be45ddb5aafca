"""Which processes listen on which addresses, from the kernel's tables (Linux)."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable
from pathlib import Path

_LISTEN = "0A"


def beyond_loopback(pids: Iterable[int]) -> tuple[list[str], int]:
    """(sockets of these processes that listen beyond loopback, number of all their listening sockets)."""
    listening = _listening()
    found = []
    total = 0
    for pid in pids:
        for inode in _sockets(pid) & listening.keys():
            address, port = listening[inode]
            total += 1
            if not address.is_loopback:
                command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()[:100]
                found.append(f"{pid} {address}:{port} {command}")
    return found, total


def _listening() -> dict[str, tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]]:
    """Inode -> (address, port) of every listening TCP socket of this machine."""
    found = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTEN:
                host, port = fields[1].split(":")
                found[fields[9]] = (_address(host), int(port, 16))
    return found


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The kernel writes 32-bit words in the machine's byte order."""
    words = [bytes.fromhex(text[i : i + 8])[::-1] for i in range(0, len(text), 8)]
    address = ipaddress.ip_address(b"".join(words))
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address


def _sockets(pid: int) -> set[str]:
    """Inodes of a process's sockets."""
    found = set()
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            target = os.readlink(f"/proc/{pid}/fd/{name}")
            if target.startswith("socket:["):
                found.add(target[8:-1])
    except OSError:  # the process has ended
        pass
    return found
