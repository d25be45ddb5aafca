"""Removes placement groups that a dead driver left behind.

Ray removes the placement groups of a job when the job ends. If the node of a driver dies, the controller of its Ray
Train run can outlive the node for a moment and reserve resources for new workers. Ray then keeps this placement group
for ever, and on a full cluster no other group can start.
"""

from __future__ import annotations

from typing import Any

import ray
from ray._private import state
from ray.util.placement_group import PlacementGroup, placement_group_table, remove_placement_group

from cluster.multi_worker.trainer import GroupShape

JOB_ID_DIGITS = 8
"""Number of hexadecimal digits at the end of a placement group's id that are the id of its job."""


def remove_orphans(shape: GroupShape) -> list[str]:
    """Remove placement groups for workers of this shape whose job has ended and which nothing uses; returns their ids.

    Placement groups with a name and those of another shape are never removed.
    """
    ended = {job["JobID"] for job in state.jobs() if job["IsDead"]}
    available = ray.available_resources()
    orphans = [
        identifier
        for identifier, group in placement_group_table().items()
        if identifier[-JOB_ID_DIGITS:] in ended and _could_be_ours(group, shape) and _is_unused(group, available)
    ]
    for identifier in orphans:
        remove_placement_group(PlacementGroup(ray.PlacementGroupID.from_hex(identifier)))
    return orphans


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
