"""Frees what a dead driver left behind: placement groups, and requests for the resources of elastic workers.

Ray removes the placement groups of a job when the job ends. If the node of a driver dies, the controller of its Ray
Train run can outlive the node for a moment and reserve resources for new workers. Ray then keeps this placement group
for ever, and on a full cluster no other group can start.

Where the number of workers may change, Ray Train asks a detached actor, the autoscaling coordinator, which resources it
may use. The coordinator keeps the request of a run that was killed for three minutes, and until then it offers the
resources to no other run.
"""

from __future__ import annotations

from typing import Any

import ray
from ray._private import state
from ray.util.placement_group import PlacementGroup, placement_group_table, remove_placement_group

from cluster.multi_worker.trainer import GroupShape

COORDINATOR = "AutoscalingCoordinator"
"""Name and namespace of the autoscaling coordinator."""
_ENDED_WELL = ("FINISHED", "ERRORED")
"""States of Ray Train runs that have cancelled their request themselves."""
JOB_ID_DIGITS = 8
"""Number of hexadecimal digits at the end of a placement group's id that are the id of its job."""


def remove_orphans(shape: GroupShape) -> list[str]:
    """Remove placement groups for workers of this shape whose job has ended and which nothing uses; returns their ids.

    Placement groups with a name and those of another shape are never removed.
    """
    ended = _ended_jobs()
    available = ray.available_resources()
    orphans = [
        identifier
        for identifier, group in placement_group_table().items()
        if identifier[-JOB_ID_DIGITS:] in ended and _could_be_ours(group, shape) and _is_unused(group, available)
    ]
    for identifier in orphans:
        remove_placement_group(PlacementGroup(ray.PlacementGroupID.from_hex(identifier)))
    return orphans


def cancel_requests() -> list[str]:
    """Cancel the requests for resources of Ray Train runs whose job has ended; returns the names of these runs."""
    from ray.train.v2._internal.state.state_actor import get_state_actor

    try:
        coordinator = ray.get_actor(COORDINATOR, namespace=COORDINATOR)
    except ValueError:  # no elastic run has ever asked
        return []
    runs = get_state_actor()
    if runs is None:
        return []
    ended = _ended_jobs()
    killed = {
        f"train-{run.id}": run.name
        for run in ray.get(runs.get_train_runs.remote()).values()
        if run.job_id in ended and run.status.value not in _ENDED_WELL
    }
    reserved = ray.get([coordinator.get_reserved_resources.remote(requester) for requester in killed])
    cancelled = [requester for requester, resources in zip(killed, reserved, strict=True) if resources]
    ray.get([coordinator.cancel_request.remote(requester) for requester in cancelled])
    return [killed[requester] for requester in cancelled]


def _ended_jobs() -> set[str]:
    return {job["JobID"] for job in state.jobs() if job["IsDead"]}


def _could_be_ours(group: dict[str, Any], shape: GroupShape) -> bool:
    bundles = list(group["bundles"].values())
    least, most = (shape.workers, shape.workers) if isinstance(shape.workers, int) else shape.workers
    return (
        group["state"] == "CREATED"
        and not group["name"]
        and least <= len(bundles) <= most
        and all(bundle == shape.resources for bundle in bundles)
    )


def _is_unused(group: dict[str, Any], available: dict[str, float]) -> bool:
    """Whether all CPUs of a placement group are available."""
    cpus = sum(bundle["CPU"] for bundle in group["bundles"].values())
    return bool(available.get(f"CPU_group_{group['placement_group_id']}", 0.0) >= cpus)
