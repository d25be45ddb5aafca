"""Facts about one machine, and checks of them."""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cluster.connection import gpu_driver, store_access
from cluster.connection.doctor.check_result import CheckResult
from cluster.connection.doctor.store import check_store
from cluster.worker import provenance
from sweeps import data_roots
from sweeps.store.open import open_store

OPEN_FILES = 65_536
"""Limit that Ray's documentation recommends for a head node; the limit of a worker matters less."""
FREE_GB = 5.0
_IMAGES = 50_000
"""Most image files of the data root that are opened."""
COMPARED = ("python", "ray", "torch", "torchvision", "optuna", "numpy", "opencv-python-headless", "pillow")
"""Packages that decide a trial's numbers, or whether its process can talk to the driver."""


@dataclass
class MachineFacts:
    """Facts about one machine; plain data, because nodes send it to the driver."""

    host: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    open_files: int = 0
    free_gb: float = 0.0
    clock: tuple[float, float] = (0.0, 0.0)
    """That machine's time, in seconds since the epoch, at the beginning and at the end of its checks."""
    store_trouble: str = ""
    """What is wrong with the store; empty if nothing is or it was not checked."""
    data_trouble: str = ""
    """What is wrong with the data folder; empty if nothing is or it was not checked."""
    gpus: int = 0
    """GPUs that Ray counts; 0 for a machine that is checked without Ray."""
    driver_cuda: str = ""
    """Newest CUDA that the GPU driver supports; empty without a driver."""
    torch_cuda: str = ""
    """CUDA that torch was built for; empty without a driver, or for a build without CUDA."""


def facts(store_uri: str | None, data_root: str | None, access: Mapping[str, str] | None = None) -> MachineFacts:
    """Collect the facts of the machine that this runs on. access: to the store, which trials get from the driver."""
    began = time.time()
    store_access.take(access or {})
    known = provenance.versions()
    found = MachineFacts(
        host=os.uname().nodename,
        versions={name: known.get(name, "none") for name in COMPARED},
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        free_gb=shutil.disk_usage(tempfile.gettempdir()).free / 1e9,
    )
    found.versions["our code"] = _code()
    found.driver_cuda = gpu_driver.supported_cuda()
    if found.driver_cuda and found.versions["torch"] != "none":
        found.torch_cuda = gpu_driver.torch_cuda()
    absent = [str(folder) for folder in data_roots.split(data_root or ()) if not folder.is_dir()]
    if absent:
        found.data_trouble = f"there is no folder {' and no folder '.join(absent)}"
    if store_uri:
        found.store_trouble = next(
            (line.what for line in check_store(open_store(store_uri)) if line.state == "failed"), ""
        )
    found.clock = (began, time.time())
    return found


def _code() -> str:
    """A hash of our own modules, because a version number does not change with every edit."""
    top = Path(__file__).resolve().parents[3]
    digest = hashlib.sha256()
    for folder in ("analysis", "cluster", "sweeps", "trainables"):
        for path in sorted((top / folder).rglob("*.py")):
            digest.update(path.relative_to(top).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def check_machine(name: str, found: MachineFacts) -> Iterator[CheckResult]:
    """All checks of one machine but for its data. name: of the machine, for the output."""
    versions = ", ".join(f"{package} {version}" for package, version in found.versions.items())
    missing = [package for package in ("ray", "torch", "torchvision") if found.versions[package] == "none"]
    if missing:
        yield CheckResult("failed", f"{name}: {', '.join(missing)} not installed", "install from requirements.lock")
    else:
        yield CheckResult("ok", f"{name}: {versions}")
    yield from check_gpu_driver(name, found)
    yield check_open_files(name, found)
    yield check_free_disk(name, found)


def check_gpu_driver(name: str, found: MachineFacts) -> Iterator[CheckResult]:
    """Check that torch can use the GPUs of a machine; nothing for a machine without GPUs."""
    if found.gpus or found.driver_cuda:
        why, do = gpu_driver.obstacle(found.driver_cuda, found.torch_cuda)
        if why:
            yield CheckResult("failed", f"{name}: torch cannot use its GPUs: {why}", do)
        else:
            words = f"the GPU driver supports CUDA {found.driver_cuda}, torch uses CUDA {found.torch_cuda}"
            yield CheckResult("ok", f"{name}: {words}")


def check_open_files(name: str, found: MachineFacts) -> CheckResult:
    """Check that a process may open enough files."""
    if found.open_files == resource.RLIM_INFINITY or found.open_files >= OPEN_FILES:
        return CheckResult("ok", f"{name}: {found.open_files} open files allowed")
    return CheckResult(
        "warning",
        f"{name}: only {found.open_files} open files allowed; sweeps of thousands of trials need more",
        f"ulimit -n {OPEN_FILES} before `ray start` (or before sweeps run)",
    )


def check_free_disk(name: str, found: MachineFacts) -> CheckResult:
    """Check that there is room for temporary files."""
    if found.free_gb >= FREE_GB:
        return CheckResult("ok", f"{name}: {found.free_gb:.0f} GB free for temporary files")
    return CheckResult(
        "failed",
        f"{name}: only {found.free_gb:.1f} GB free for temporary files, where Ray spills objects and logs",
        f"free {FREE_GB:g} GB, or point TMPDIR (RAY_TMPDIR for `ray start`) to a larger disk",
    )


def check_data(name: str, found: MachineFacts, data_root: str | None) -> CheckResult:
    """Check that the folders of the data sets are there. data_root: None if none is set."""
    if data_root is None:
        return CheckResult("ok", f"{name}: no data folder is set (--data, SWEEPS_DATA); CIFAR-10 is downloaded")
    if found.data_trouble:
        do = "copy or mount the data at this path on every node, or use --data FOLDER"
        return CheckResult("failed", f"{name}: {found.data_trouble}", do)
    return CheckResult("ok", f"{name}: data in {data_root}")


def check_images(root: Path) -> Iterator[CheckResult]:
    """Name the files below the data root that have the name of an image but are none."""
    from trainables.data.image_files import is_image, unreadable, with_reasons
    from trainables.data.listing import data_files

    names = [file.relative_to(root).as_posix() for file in data_files(root) if is_image(file.name)][:_IMAGES]
    damaged = unreadable(root, names)
    if damaged:
        what = f"{len(damaged):,} of {len(names):,} image files below {root} cannot be read: {with_reasons(damaged)}"
        yield CheckResult("warning", what, "restore these files, or move them out of the folder")
    elif names:
        yield CheckResult("ok", f"{len(names):,} image files below {root} begin as images do")
