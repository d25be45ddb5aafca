"""An environment in which machines compute alike, as far as libraries allow, and a fingerprint that tells if they do.

Sums come out differently with another number of threads, other vector instructions or another version of a library.
Threads and instructions are chosen by variables that are read when a process first computes, so golden records are
computed in a process of their own.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

PINNED = {
    "ATEN_CPU_CAPABILITY": "avx2",  # torch's own kernels
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # convolutions
    "MKL_CBWR": "COMPATIBLE",  # matrix products and Fourier transforms, on processors of any maker
    "OPENBLAS_CORETYPE": "Haswell",  # NumPy and SciPy
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
LIBRARIES = (
    *("torch", "torchvision", "numpy", "scipy", "scikit-learn", "opencv-python-headless", "pillow"),
    *("optuna", "pandas", "pyarrow", "matplotlib", "statsmodels"),
)

Fingerprint = dict[str, str]


def pinned() -> dict[str, str]:
    """The environment of a process that computes golden records."""
    return {**os.environ, **PINNED}


def fingerprint() -> Fingerprint:
    """Library versions, who made the processor, and a hash of a fixed computation in this process.

    Equal fingerprints promise equal bits. The maker counts because oneDNN splits a sum by the sizes of the caches that
    it reads from the processor: with equal instructions and an equal probe, convolutions trained on an AMD EPYC and on
    an Intel Xeon were 1e-7 apart.
    """
    versions = {name: metadata.version(name) for name in LIBRARIES}
    probe = hashlib.sha256(_torch_probe() + _numpy_probe()).hexdigest()
    return {**versions, "processor": _processor(), "probe": probe}


def unlike(expected: Fingerprint, found: Fingerprint) -> str:
    """What differs between two fingerprints, in words; empty where they are equal."""
    names = [name for name in {**expected, **found} if expected.get(name) != found.get(name)]
    return ", ".join(
        "its arithmetic" if name == "probe" else f"{name} {found.get(name)} instead of {expected.get(name)}"
        for name in names
    )


def _processor() -> str:
    """Architecture and maker, such as `x86_64 AuthenticAMD`; the architecture alone where the maker is hidden."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    makers = [line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id")]
    return " ".join([platform.machine(), *makers[:1]])


def _torch_probe() -> bytes:
    """Convolution, normalisation, Fourier transform, matrix product and reductions, forward and backward."""
    import torch
    from torch import nn

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(3, 17, 5, 2, 2), nn.BatchNorm2d(17), nn.ELU(), nn.ConvTranspose2d(17, 3, 4, 2, 1)
        )
        image_b3hw = torch.rand(5, 3, 33, 33, requires_grad=True)
        output = network(image_b3hw)
        waves = torch.fft.rfft2(output).abs().log1p()
        flat = output.flatten(1)
        loss = (flat @ flat.T).softmax(1).log().mean() + waves.mean() + output.sigmoid().std()
        loss.backward()
    tensors: list[Any] = [loss, output, waves, image_b3hw.grad, *(one.grad for one in network.parameters())]
    return b"".join(tensor.detach().numpy().tobytes() for tensor in tensors)


def _numpy_probe() -> bytes:
    draw = np.random.default_rng(0)
    matrix = draw.normal(size=(37, 41))
    parts = [matrix @ matrix.T, np.exp(matrix).sum(0), np.linalg.svd(matrix)[1], np.log1p(matrix**2).mean(1)]
    return b"".join(np.ascontiguousarray(part).tobytes() for part in parts)


if __name__ == "__main__":
    (Path(sys.argv[1]) / "fingerprint.json").write_text(json.dumps(fingerprint()))
