"""Whether this machine computes faster in bfloat16 than in float32; imports no torch.

Used for `precision: auto`, which is settled when a sweep is planned, on the machine that plans it.
"""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

CPU_INSTRUCTIONS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Flags of x86 and, last, of ARM processors, in /proc/cpuinfo."""
LEAST_GPU = 8.0
"""Compute capability of the first GPUs with bfloat16 arithmetic (Ampere)."""


@cache
def fast_bf16() -> bool:
    """Whether the GPUs of this machine, or without any its CPU, have instructions for bfloat16."""
    gpus = _gpu_capabilities()
    if gpus:
        return all(capability >= LEAST_GPU for capability in gpus)
    try:
        return cpu_has_bf16(Path("/proc/cpuinfo").read_text())
    except OSError:
        return False


def cpu_has_bf16(cpuinfo: str) -> bool:
    """Whether the text of /proc/cpuinfo names one of CPU_INSTRUCTIONS."""
    lines = (line.partition(":") for line in cpuinfo.splitlines())
    flags = next((flags for key, _, flags in lines if key.strip() in ("flags", "Features")), "")
    return not CPU_INSTRUCTIONS.isdisjoint(flags.split())


def _gpu_capabilities() -> list[float]:
    """The compute capability of every NVIDIA GPU; empty without any."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    asked = [command, "--query-gpu=compute_cap", "--format=csv,noheader"]
    try:
        answer = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=True)
        return [float(line) for line in answer.stdout.split()]
    except (OSError, subprocess.SubprocessError, ValueError):
        return []
