"""Is this machine, this cluster, this store fit for a sweep? Each check is one line: what is wrong, and what to do.

Without an address only this machine is looked at and no Ray is started. On a cluster one small task goes to every
node. Nothing is left behind: a probe object is written into the store and deleted again.
"""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cluster.worker import provenance
from sweeps.errors import SweepError
from sweeps.store.base import Store
from sweeps.store.local import FolderStore
from sweeps.store.open import open_store

OPEN_FILES = 65_536
"""What Ray's own documentation asks of a head node; a worker's limit matters less."""
FREE_GB = 5.0
SKEW_S, WRONG_S = 2.0, 60.0
"""From when on a clock is worth a warning, and from when on `sweeps status` takes a running trial for interrupted.
Leases trust no clock."""
_PROBE = "doctor"
_TASK_S = 60.0


@dataclass(frozen=True)
class Line:
    """One check. state: `ok`, `warning` or `failed`. what: what was found. do: what to do about it; empty when ok."""

    state: str
    what: str
    do: str = ""


@dataclass
class Facts:
    """What one machine says of itself; plain data, since it travels.

    clock: seconds since the epoch there, when it began to look and when it had looked. The troubles are empty when all
    is well or nothing was asked.
    """

    host: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    open_files: int = 0
    free_gb: float = 0.0
    clock: tuple[float, float] = (0.0, 0.0)
    store_trouble: str = ""
    data_trouble: str = ""
    gpus: int = 0


def examine(address: str | None, store: Store | None, data_root: str | None) -> Iterator[Line]:
    """All checks, each as soon as it is known. address: of a running Ray, or None for this machine alone.

    data_root: the folder of the data sets, absolute, or None to leave it.
    """
    here = facts(store.uri if store else None, data_root)
    yield from machine("this machine", here)
    if store is not None:
        checked = list(check_store(store))
        yield from checked
        if isinstance(store, FolderStore) and checked[-1].state == "ok":
            yield _folder_clock(store)
        if isinstance(store, FolderStore) and address:
            yield Line(
                "warning",
                f"the store is the folder {store.uri}: every node must see the same folder there",
                "mount it on all nodes at the same path, or --store s3://BUCKET/PREFIX",
            )
    yield _data("this machine", here, data_root)
    if address:
        yield from _cluster(address, here, store, data_root)
    else:
        yield Line("ok", "no cluster was asked for; --address auto or HOST:6379 looks at one")


def facts(store_uri: str | None, data_root: str | None) -> Facts:
    """Look at the machine that this runs on."""
    began = time.time()
    known = provenance.versions()
    found = Facts(
        host=os.uname().nodename,
        versions={name: known.get(name, "none") for name in COMPARED},
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        free_gb=shutil.disk_usage(tempfile.gettempdir()).free / 1e9,
    )
    found.versions["our code"] = _code()
    if data_root and not os.path.isdir(data_root):
        found.data_trouble = f"there is no folder {data_root}"
    if store_uri:
        found.store_trouble = next((line.what for line in check_store(open_store(store_uri)) if line.state != "ok"), "")
    found.clock = (began, time.time())
    return found


def _code() -> str:
    """A hash of our own modules: a version number stands still while the code changes."""
    top = Path(__file__).resolve().parents[2]
    digest = hashlib.sha256()
    for folder in ("analysis", "cluster", "sweeps", "trainables"):
        for path in sorted((top / folder).rglob("*.py")):
            digest.update(path.relative_to(top).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


COMPARED = ("python", "ray", "torch", "torchvision", "optuna", "numpy", "opencv-python-headless", "pillow")
"""Packages that decide a trial's numbers, or whether its process can talk to the driver."""


# --- the store --------------------------------------------------------------------------------------------------------


def check_store(store: Store) -> Iterator[Line]:
    """Write, read, write on condition, list, delete; the first that fails ends it."""
    key = f"{_PROBE}/{uuid.uuid4().hex}"

    def replaced() -> bool:
        store.put(key, b"b")
        return store.get(key) == b"b"

    def deleted() -> bool:
        store.delete([key])
        return not store.exists_many([key])

    steps: list[tuple[str, Callable[[], bool], str]] = [
        ("write", lambda: store.create(key, b"a"), "an object stood there already"),
        ("read", lambda: store.get(key) == b"a", "another content came back"),
        ("refuse a second writer", lambda: not store.create(key, b"c"), "two drivers could train the same trial"),
        ("replace", replaced, "the old content came back"),
        ("list", lambda: key.rpartition("/")[2] in store.children(f"{_PROBE}/"), "a written object was not listed"),
        ("delete", deleted, "it is still there"),
    ]
    done = []
    for name, step, otherwise in steps:
        try:
            good, why, do = step(), otherwise, "use a store that keeps the promises of sweeps/store/local.py"
        except KeyError:
            good, why, do = False, "a written object could not be found", "use a store that shows what was written"
        except SweepError as error:
            good, why, do = False, error.why, error.fix
        if not good:
            yield Line("failed", f"store {store.uri}: cannot {name}: {why}", do)
            return
        done.append(name)
    yield Line("ok", f"store {store.uri}: {', '.join(done)}")


def _folder_clock(store: FolderStore) -> Line:
    """A mounted folder stamps files with its server's clock."""
    key = f"{_PROBE}/{uuid.uuid4().hex}"
    began = time.time()
    store.put(key, b"")
    ended = time.time()
    stamp = (store.root / key).stat().st_mtime
    store.delete([key])
    return _clock(f"store {store.uri}", off_by((stamp, stamp), began, ended))


# --- one machine ------------------------------------------------------------------------------------------------------


def machine(name: str, found: Facts) -> Iterator[Line]:
    versions = ", ".join(f"{package} {version}" for package, version in found.versions.items())
    missing = [package for package in ("ray", "torch", "torchvision") if found.versions[package] == "none"]
    if missing:
        yield Line("failed", f"{name}: {', '.join(missing)} not installed", "install from requirements.lock")
    else:
        yield Line("ok", f"{name}: {versions}")
    yield _open_files(name, found)
    yield _free_disk(name, found)


def _open_files(name: str, found: Facts) -> Line:
    if found.open_files == resource.RLIM_INFINITY or found.open_files >= OPEN_FILES:
        return Line("ok", f"{name}: {found.open_files} open files allowed")
    return Line(
        "warning",
        f"{name}: only {found.open_files} open files allowed; sweeps of thousands of trials need more",
        f"ulimit -n {OPEN_FILES} before `ray start` (or before sweeps run)",
    )


def _free_disk(name: str, found: Facts) -> Line:
    if found.free_gb >= FREE_GB:
        return Line("ok", f"{name}: {found.free_gb:.0f} GB free for temporary files")
    return Line(
        "failed",
        f"{name}: only {found.free_gb:.1f} GB free for temporary files, where Ray spills and logs",
        f"free {FREE_GB:g} GB, or point TMPDIR (RAY_TMPDIR for `ray start`) to a larger disk",
    )


def _data(name: str, found: Facts, data_root: str | None) -> Line:
    if data_root is None:
        return Line("ok", f"{name}: no data folder was named (--data, SWEEPS_DATA); CIFAR-10 is downloaded")
    if found.data_trouble:
        do = "copy or mount the data there on every node, at the same path; or --data FOLDER"
        return Line("failed", f"{name}: {found.data_trouble}", do)
    return Line("ok", f"{name}: data in {data_root}")


# --- a cluster --------------------------------------------------------------------------------------------------------


def _cluster(address: str, here: Facts, store: Store | None, data_root: str | None) -> Iterator[Line]:
    from cluster.connection import connection

    try:
        connection.connect(address)
    except SweepError as error:
        yield Line("failed", f"{error.given}: {error.why}", error.fix)
        return
    try:
        yield _authentication()
        nodes = _ask_nodes(store.uri if store else None, data_root)
        yield _nodes(nodes)
        for name, answer, skew_s in nodes:
            if isinstance(answer, str):
                do = "see `ray status` and the node's logs; inpaint-sweeps must be installed there as it is here"
                yield Line("failed", f"{name}: no answer: {answer}", do)
                continue
            yield _clock(name, skew_s)
            yield from _node(name, answer, here, store, data_root)
    finally:
        connection.disconnect()


def _authentication() -> Line:
    from ray._private.authentication.authentication_utils import is_token_auth_enabled

    if is_token_auth_enabled():
        return Line("ok", "the cluster wants a token")
    return Line(
        "warning",
        "the cluster wants no token: whoever reaches its ports can run anything on it",
        "ray get-auth-token --generate, and RAY_AUTH_MODE=token for every `ray start`",
    )


Answer = tuple[str, "Facts | str", float]
"""(node, what it said or why it did not, seconds that its clock is off at least)."""


def _ask_nodes(store_uri: str | None, data_root: str | None) -> list[Answer]:
    """One task on every living node, side by side."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ask = ray.remote(num_cpus=0, max_retries=0)(facts)
    living = [node for node in ray.nodes() if node["Alive"]]
    sent = time.time()
    asked = []
    for node in living:
        strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        asked.append(ask.options(scheduling_strategy=strategy).remote(store_uri, data_root))
    deadline = time.monotonic() + _TASK_S
    found: list[Answer] = []
    for node, reference in zip(living, asked, strict=True):
        name = f"node {node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
        try:
            answer: Facts = ray.get(reference, timeout=max(1.0, deadline - time.monotonic()))
        except ray.exceptions.RayError as error:
            found.append((name, f"{type(error).__name__}: {str(error).strip().splitlines()[-1]}", 0.0))
            continue
        answer.gpus = int(node["Resources"].get("GPU", 0))
        found.append((name, answer, off_by(answer.clock, sent, time.time())))
    return found


def off_by(clock: tuple[float, float], sent: float, received: float) -> float:
    """Seconds that a clock is off at least, when it was read (twice) between two moments of ours."""
    return max(0.0, sent - clock[0], clock[1] - received)


def _nodes(nodes: list[Answer]) -> Line:
    import ray

    have = ray.cluster_resources()
    text = f"{len(nodes)} nodes, {have.get('CPU', 0):g} CPUs, {have.get('GPU', 0):g} GPUs"
    per_node = sorted({answer.gpus for _, answer, _ in nodes if isinstance(answer, Facts) and answer.gpus})
    return Line("ok", text + (f" ({' or '.join(map(str, per_node))} a node)" if per_node else ""))


def _clock(name: str, skew_s: float) -> Line:
    if skew_s <= SKEW_S:
        return Line("ok", f"{name}: its clock agrees to {SKEW_S:g} s")
    why = "`sweeps status` misjudges its trials, and S3 refuses requests that are 15 minutes off"
    do = "synchronise it: systemctl enable --now chrony (or the provider's time service)"
    return Line("failed" if skew_s > WRONG_S else "warning", f"{name}: its clock is off by {skew_s:.0f} s; {why}", do)


def _node(name: str, found: Facts, here: Facts, store: Store | None, data_root: str | None) -> Iterator[Line]:
    others = {package: version for package, version in found.versions.items() if version != here.versions[package]}
    if others:
        differ = ", ".join(
            f"{package} {version} (here {here.versions[package]})" for package, version in others.items()
        )
        do = "one image for all nodes (cluster/manifests/Dockerfile), or pip install -r requirements.lock there"
        yield Line("failed", f"{name}: other versions: {differ}", do)
    else:
        yield Line("ok", f"{name}: the same packages as here")
    if found.store_trouble:
        yield Line("failed", f"{name}: {found.store_trouble}", "let the nodes reach and write the store")
    elif store is not None:
        yield Line("ok", f"{name}: can read and write the store")
    yield _data(name, found, data_root)
    yield _open_files(name, found)
    yield _free_disk(name, found)
