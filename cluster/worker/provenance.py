"""Provenance of an attempt: machine, versions and code, so that a result can be explained years later."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import socket
import subprocess
import sys
import time
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("inpaint-sweeps", "torch", "torchvision", "ray", "optuna", "numpy", "opencv-python-headless", "pillow")


COMMIT = "cluster/worker/COMMIT"
"""File beside the code with its commit, for code without `.git`: what `submit` uploads, and an image."""
_COMMIT = re.compile(r"([0-9a-f]{7,64})(-dirty)?")
_CHANGES = ("--porcelain", "--untracked-files=no", "--", ":/", ":(exclude,top)docs")


@cache
def code_version() -> dict[str, Any]:
    """Git commit and dirty flag of the code that this process runs; None for both if they are not known."""
    found = _COMMIT.fullmatch(commit_of(Path(__file__).resolve().parents[2]))
    return {"commit": found[1], "dirty": found[2] is not None} if found else {"commit": None, "dirty": None}


def commit_of(folder: Path) -> str:
    """Commit of a folder with the code of this package, and `-dirty` if tracked files have changed; '' if unknown.

    It comes from the file `COMMIT`, else from git. Changes below `docs` change no number and do not count.
    """
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return (folder / COMMIT).read_text(encoding="utf-8").strip()
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None or not (folder / "pyproject.toml").exists():
        return ""
    return commit + ("-dirty" if _git(folder, "status", *_CHANGES) else "")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


@cache
def versions() -> dict[str, str]:
    """Versions of the packages that affect a trial's numbers."""
    installed = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            installed[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return installed


@cache
def hardware(device: str) -> dict[str, Any]:
    """The machine: host, CPU model and count, memory in GiB; for a trial on a GPU also its name and what uses TF32."""
    facts: dict[str, Any] = {
        "host": socket.gethostname(),
        "cpu": _cpu_model(),
        "cpus": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "device": device,
    }
    if device.startswith("cuda"):
        import torch

        facts["gpu"] = torch.cuda.get_device_name(device)
        facts["tf32"] = {
            "convolutions": torch.backends.cudnn.allow_tf32,
            "matrix_products": torch.backends.cuda.matmul.allow_tf32,
        }
    return facts


def ray_job() -> str | None:
    """The id of the Ray job that this process belongs to; None without Ray, which is not imported for this."""
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return None
    return str(ray.get_runtime_context().get_job_id())


class Load:
    """How much of the machine this process uses, between two calls of `read`."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._at, self._used_s = time.monotonic(), time.process_time()

    def read(self) -> dict[str, float]:
        """CPUs in use since the last call; of a GPU, the share of its memory and, where NVML can be asked, of its time.

        The GPU's values include other processes.
        """
        now, used_s = time.monotonic(), time.process_time()
        found = {"cpus": round((used_s - self._used_s) / max(now - self._at, 1e-3), 2)}
        self._at, self._used_s = now, used_s
        if self._device.startswith("cuda"):
            import torch

            with contextlib.suppress(Exception):  # for display only
                free, total = torch.cuda.mem_get_info(self._device)
                found["gpu_memory"] = round(1 - free / total, 3)
                found["gpu"] = torch.cuda.utilization(self._device) / 100
        return found


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
