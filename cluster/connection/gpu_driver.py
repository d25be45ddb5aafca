"""Whether the GPU driver of a machine can run the CUDA of the installed torch; torch itself falls back to the CPU."""

from __future__ import annotations

import ctypes

_LIBRARY = "libcuda.so.1"
OLDEST_DRIVERS = {11: 450, 12: 525, 13: 580}
"""First driver branch that runs programs of a major version of CUDA (CUDA's minor version compatibility)."""


def supported_cuda() -> str:
    """The newest CUDA that this machine's GPU driver supports, such as `13.0`; empty without a driver."""
    version = ctypes.c_int()
    try:
        status = ctypes.CDLL(_LIBRARY).cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return ""
    return f"{version.value // 1000}.{version.value % 1000 // 10}" if status == 0 else ""


def torch_cuda() -> str:
    """The CUDA that torch was built for; empty for a build without CUDA."""
    import torch

    return torch.version.cuda or ""


def obstacle(supported: str, torchs: str) -> tuple[str, str]:
    """(why torch cannot use a GPU, how to fix it) for a driver's CUDA and torch's; two empty texts if it can.

    Drivers run every program of their own or an earlier major version of CUDA.
    """
    if not supported:
        return (
            f"the GPU driver ({_LIBRARY}) is missing here",
            "install NVIDIA's driver; in a container: docker run --gpus all (worker_run_options in "
            "cluster/manifests/aws.yaml), or the limit nvidia.com/gpu in Kubernetes",
        )
    if not torchs:
        return "the installed torch has no CUDA", "pip install -r requirements.lock (on Linux, its torch has CUDA)"
    need = int(torchs.partition(".")[0])
    if int(supported.partition(".")[0]) < need:
        branch = f"{OLDEST_DRIVERS[need]} or newer" if need in OLDEST_DRIVERS else f"one that supports CUDA {need}"
        return (
            f"the GPU driver supports CUDA {supported}, and torch needs CUDA {torchs}",
            f"install driver {branch} (on AWS and Google Cloud: the machine images that cluster/manifests names)",
        )
    return "", ""
