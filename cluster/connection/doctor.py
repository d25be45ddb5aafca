"""Checks whether this machine, a cluster and a store are fit for a sweep. Each check gives one line of output.

Without an address, only this machine is checked and no Ray is started. On a cluster, one small task runs on every node.
Nothing is left behind: the probe object in the store is deleted again.
"""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cluster.connection import gpu_driver, store_access
from cluster.worker import provenance
from sweeps import data_roots
from sweeps.errors import SweepError
from sweeps.store import listing
from sweeps.store.base import Store
from sweeps.store.local import FolderStore
from sweeps.store.open import open_store

OPEN_FILES = 65_536
"""Limit that Ray's documentation recommends for a head node; the limit of a worker matters less."""
FREE_GB = 5.0
SKEW_S, WRONG_S = 2.0, 60.0
"""Clock offsets: the first gives a warning; from the second, `sweeps status` takes a running trial for interrupted.
Leases do not depend on clocks."""
_PROBE = "doctor"
_IMAGES = 50_000
"""Most image files of the data root that are opened."""
_TASK_S = 60.0
_SHOWN = 3
"""Number of foreign files that are named."""


@dataclass(frozen=True)
class CheckResult:
    """The result of one check."""

    state: str
    """`ok`, `warning` or `failed`."""
    what: str
    """What was found."""
    do: str = ""
    """How to fix it; empty if ok."""


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


def run_checks(address: str | None, store: Store | None, data_root: str | None) -> Iterator[CheckResult]:
    """Run all checks; yields each result at once.

    address: of a running Ray, or None for this machine only. data_root: the folder of the data sets, absolute, or None
    to skip that check.
    """
    here = facts(store.uri if store else None, data_root)
    yield from check_machine("this machine", here)
    if store is not None:
        checked = list(check_store(store))
        yield from checked
        if checked[-1].state == "ok":
            yield from check_foreign(store)
        if isinstance(store, FolderStore) and checked[-1].state == "ok":
            yield _folder_clock(store)
        if isinstance(store, FolderStore) and address:
            yield CheckResult(
                "warning",
                f"the store is the folder {store.uri}: every node must have the same folder at this path",
                "mount it on all nodes at the same path, or --store s3://BUCKET/PREFIX",
            )
    yield _data("this machine", here, data_root)
    if data_root and not here.data_trouble:
        for folder in data_roots.split(data_root):
            yield from _unreadable(folder)
    if address:
        yield from _cluster(address, here, store, data_root)
    else:
        yield CheckResult("ok", "no cluster was checked; --address auto or --address HOST:6379 checks one")


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
    top = Path(__file__).resolve().parents[2]
    digest = hashlib.sha256()
    for folder in ("analysis", "cluster", "sweeps", "trainables"):
        for path in sorted((top / folder).rglob("*.py")):
            digest.update(path.relative_to(top).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


COMPARED = ("python", "ray", "torch", "torchvision", "optuna", "numpy", "opencv-python-headless", "pillow")
"""Packages that decide a trial's numbers, or whether its process can talk to the driver."""


# --- the store --------------------------------------------------------------------------------------------------------


def check_store(store: Store) -> Iterator[CheckResult]:
    """Write, read, write conditionally, replace, list and delete a probe object; stop at the first failure."""
    key = f"{_PROBE}/{uuid.uuid4().hex}"

    def replaced() -> bool:
        store.put(key, b"b")
        return store.get(key) == b"b"

    def deleted() -> bool:
        store.delete([key])
        return not store.exists_many([key])

    steps: list[tuple[str, Callable[[], bool], str]] = [
        ("write", lambda: store.create(key, b"a"), "the new object exists already"),
        ("read", lambda: store.get(key) == b"a", "other content was returned"),
        ("refuse a second writer", lambda: not store.create(key, b"c"), "two drivers could train the same trial"),
        ("replace", replaced, "the old content was returned"),
        ("list", lambda: key.rpartition("/")[2] in store.children(f"{_PROBE}/"), "a written object was not listed"),
        ("delete", deleted, "the object is still there"),
    ]
    done = []
    for name, step, otherwise in steps:
        try:
            good, why, do = step(), otherwise, "use a store that meets the contract in sweeps/store/base.py"
        except KeyError:
            good, why, do = False, "a written object was not found", "use a store with read-after-write consistency"
        except SweepError as error:
            good, why, do = False, error.why, error.fix
        if not good:
            yield CheckResult("failed", f"store {store.uri}: cannot {name}: {why}", do)
            return
        done.append(name)
    yield CheckResult("ok", f"store {store.uri}: {', '.join(done)}")
    if not store.exclusive:
        yield CheckResult(
            "warning",
            f"store {store.uri}: the server ignores conditional writes; claims are written and read back",
            "nothing with one driver at a time; with several, a server that has them, as AWS, or one driver only",
        )


def check_foreign(store: Store) -> Iterator[CheckResult]:
    """Tell of files and links in a store that this package has not written; nothing if there are none."""
    first, count = [], 0
    for key in listing.foreign(store):
        count += 1
        first += [key] if count <= _SHOWN else []
    if count:
        more = f" and {count - len(first):,} more" if count > len(first) else ""
        what = "file or link" if count == 1 else "files or links"
        yield CheckResult(
            "warning",
            f"store {store.uri}: {count:,} {what} that inpaint-sweeps has not written: {', '.join(first)}{more}",
            "nothing has to be done, they are ignored; they may be deleted, but leave everything else as it is",
        )


def _folder_clock(store: FolderStore) -> CheckResult:
    """Check the clock of the server of a mounted folder, from the time stamp of a new file."""
    key = f"{_PROBE}/{uuid.uuid4().hex}"
    began = time.time()
    store.put(key, b"")
    ended = time.time()
    stamp = (store.root / key).stat().st_mtime
    store.delete([key])
    return _clock(f"store {store.uri}", clock_offset_s((stamp, stamp), began, ended))


# --- one machine ------------------------------------------------------------------------------------------------------


def check_machine(name: str, found: MachineFacts) -> Iterator[CheckResult]:
    versions = ", ".join(f"{package} {version}" for package, version in found.versions.items())
    missing = [package for package in ("ray", "torch", "torchvision") if found.versions[package] == "none"]
    if missing:
        yield CheckResult("failed", f"{name}: {', '.join(missing)} not installed", "install from requirements.lock")
    else:
        yield CheckResult("ok", f"{name}: {versions}")
    yield from _gpu_driver(name, found)
    yield _open_files(name, found)
    yield _free_disk(name, found)


def _gpu_driver(name: str, found: MachineFacts) -> Iterator[CheckResult]:
    """Check that torch can use the GPUs of a machine; nothing for a machine without GPUs."""
    if found.gpus or found.driver_cuda:
        why, do = gpu_driver.obstacle(found.driver_cuda, found.torch_cuda)
        if why:
            yield CheckResult("failed", f"{name}: torch cannot use its GPUs: {why}", do)
        else:
            words = f"the GPU driver supports CUDA {found.driver_cuda}, torch uses CUDA {found.torch_cuda}"
            yield CheckResult("ok", f"{name}: {words}")


def _open_files(name: str, found: MachineFacts) -> CheckResult:
    if found.open_files == resource.RLIM_INFINITY or found.open_files >= OPEN_FILES:
        return CheckResult("ok", f"{name}: {found.open_files} open files allowed")
    return CheckResult(
        "warning",
        f"{name}: only {found.open_files} open files allowed; sweeps of thousands of trials need more",
        f"ulimit -n {OPEN_FILES} before `ray start` (or before sweeps run)",
    )


def _free_disk(name: str, found: MachineFacts) -> CheckResult:
    if found.free_gb >= FREE_GB:
        return CheckResult("ok", f"{name}: {found.free_gb:.0f} GB free for temporary files")
    return CheckResult(
        "failed",
        f"{name}: only {found.free_gb:.1f} GB free for temporary files, where Ray spills objects and logs",
        f"free {FREE_GB:g} GB, or point TMPDIR (RAY_TMPDIR for `ray start`) to a larger disk",
    )


def _data(name: str, found: MachineFacts, data_root: str | None) -> CheckResult:
    if data_root is None:
        return CheckResult("ok", f"{name}: no data folder is set (--data, SWEEPS_DATA); CIFAR-10 is downloaded")
    if found.data_trouble:
        do = "copy or mount the data at this path on every node, or use --data FOLDER"
        return CheckResult("failed", f"{name}: {found.data_trouble}", do)
    return CheckResult("ok", f"{name}: data in {data_root}")


def _unreadable(root: Path) -> Iterator[CheckResult]:
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


# --- a cluster --------------------------------------------------------------------------------------------------------


def _cluster(address: str, here: MachineFacts, store: Store | None, data_root: str | None) -> Iterator[CheckResult]:
    from cluster.connection import address as addresses

    try:
        addresses.require_ray(address)
        from cluster.connection import connection

        connection.connect(address)
    except SweepError as error:
        yield CheckResult("failed", f"{error.given}: {error.why}", error.fix)
        return
    try:
        yield _authentication()
        nodes = _ask_nodes(store.uri if store else None, data_root)
        yield _nodes(nodes)
        for name, answer, skew_s in nodes:
            if isinstance(answer, str):
                do = "see `ray status` and the node's logs; install the same inpaint-sweeps there as here"
                yield CheckResult("failed", f"{name}: no answer: {answer}", do)
                continue
            yield _clock(name, skew_s)
            yield from _node(name, answer, here, store, data_root)
    finally:
        connection.disconnect()


def _authentication() -> CheckResult:
    from ray._private.authentication.authentication_utils import is_token_auth_enabled

    if is_token_auth_enabled():
        return CheckResult("ok", "the cluster requires a token")
    return CheckResult(
        "warning",
        "the cluster requires no token: anyone who can reach its ports can run code on it",
        "ray get-auth-token --generate, and RAY_AUTH_MODE=token for every `ray start`",
    )


Answer = tuple[str, "MachineFacts | str", float]
"""(node, its facts or why it did not answer, minimum clock offset in seconds)."""


def _ask_nodes(store_uri: str | None, data_root: str | None) -> list[Answer]:
    """Run one task on every living node, concurrently."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ask = ray.remote(num_cpus=0, max_retries=0)(facts)
    living = [node for node in ray.nodes() if node["Alive"]]
    sent = time.time()
    references = []
    for node in living:
        strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        references.append(
            ask.options(scheduling_strategy=strategy).remote(store_uri, data_root, store_access.of_driver())
        )
    deadline = time.monotonic() + _TASK_S
    answers: list[Answer] = []
    for node, reference in zip(living, references, strict=True):
        name = f"node {node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
        try:
            answer: MachineFacts = ray.get(reference, timeout=max(1.0, deadline - time.monotonic()))
        except ray.exceptions.RayError as error:
            answers.append((name, f"{type(error).__name__}: {str(error).strip().splitlines()[-1]}", 0.0))
            continue
        answer.gpus = int(node["Resources"].get("GPU", 0))
        answers.append((name, answer, clock_offset_s(answer.clock, sent, time.time())))
    return answers


def clock_offset_s(clock: tuple[float, float], sent: float, received: float) -> float:
    """Minimum offset of a clock in seconds, from two readings of it between two times of ours."""
    return max(0.0, sent - clock[0], clock[1] - received)


def _nodes(nodes: list[Answer]) -> CheckResult:
    import ray

    have = ray.cluster_resources()
    text = f"{len(nodes)} nodes, {have.get('CPU', 0):g} CPUs, {have.get('GPU', 0):g} GPUs"
    per_node = sorted({answer.gpus for _, answer, _ in nodes if isinstance(answer, MachineFacts) and answer.gpus})
    return CheckResult("ok", text + (f" ({' or '.join(map(str, per_node))} per node)" if per_node else ""))


def _clock(name: str, skew_s: float) -> CheckResult:
    if skew_s <= SKEW_S:
        return CheckResult("ok", f"{name}: its clock agrees within {SKEW_S:g} s")
    why = "`sweeps status` may take its running trials for interrupted, and S3 refuses requests that are 15 minutes off"
    do = "synchronise it: systemctl enable --now chrony (or the provider's time service)"
    return CheckResult(
        "failed" if skew_s > WRONG_S else "warning", f"{name}: its clock is off by {skew_s:.0f} s; {why}", do
    )


def _node(
    name: str, found: MachineFacts, here: MachineFacts, store: Store | None, data_root: str | None
) -> Iterator[CheckResult]:
    others = {package: version for package, version in found.versions.items() if version != here.versions[package]}
    if others:
        differ = ", ".join(
            f"{package} {version} (here {here.versions[package]})" for package, version in others.items()
        )
        do = "one image for all nodes (cluster/manifests/Dockerfile), or pip install -r requirements.lock there"
        yield CheckResult("failed", f"{name}: different versions: {differ}", do)
    else:
        yield CheckResult("ok", f"{name}: the same packages as here")
    if found.store_trouble:
        yield CheckResult(
            "failed", f"{name}: {found.store_trouble}", "give the nodes read and write access to the store"
        )
    elif store is not None:
        yield CheckResult("ok", f"{name}: can read and write the store")
    yield from _gpu_driver(name, found)
    yield _data(name, found, data_root)
    yield _open_files(name, found)
    yield _free_disk(name, found)
