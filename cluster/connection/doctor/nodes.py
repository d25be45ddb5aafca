"""Checks of a cluster: one small task runs on every node."""

from __future__ import annotations

import time
from collections.abc import Iterator

from cluster.connection import store_access
from cluster.connection.doctor.check_result import CheckResult
from cluster.connection.doctor.clock import check_clock, clock_offset_s
from cluster.connection.doctor.machine import (
    MachineFacts,
    check_data,
    check_free_disk,
    check_gpu_driver,
    check_open_files,
    facts,
)
from sweeps.errors import SweepError
from sweeps.store.base import Store

_TASK_S = 60.0
"""Seconds in which the nodes have to answer."""


def check_cluster(
    address: str, here: MachineFacts, store: Store | None, data_root: str | None
) -> Iterator[CheckResult]:
    """Connect to a Ray, and check it and each of its nodes. here: the facts of this machine, to compare with."""
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
            yield check_clock(name, skew_s)
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


Answer = tuple[str, MachineFacts | str, float]
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


def _nodes(nodes: list[Answer]) -> CheckResult:
    import ray

    have = ray.cluster_resources()
    text = f"{len(nodes)} nodes, {have.get('CPU', 0):g} CPUs, {have.get('GPU', 0):g} GPUs"
    per_node = sorted({answer.gpus for _, answer, _ in nodes if isinstance(answer, MachineFacts) and answer.gpus})
    return CheckResult("ok", text + (f" ({' or '.join(map(str, per_node))} per node)" if per_node else ""))


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
    yield from check_gpu_driver(name, found)
    yield check_data(name, found, data_root)
    yield check_open_files(name, found)
    yield check_free_disk(name, found)
