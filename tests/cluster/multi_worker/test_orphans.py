"""What dead drivers still hold of a cluster is freed, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from cluster.connection import connection
from cluster.multi_worker.orphans import JOB_ID_DIGITS, cancel_requests, remove_orphans
from cluster.multi_worker.trainer import GroupShape

SHAPE = GroupShape("one", workers=1, cpus=1, gpus=0)
DRIVER = """
import sys
from cluster.connection import connection
connection.connect(sys.argv[1])
from ray.util.placement_group import placement_group
for name, bundle in (("named", {"CPU": 1}), ("", {"memory": 1000}), ("", {"CPU": 1})):
    group = placement_group([bundle], name=name, lifetime="detached")
    assert group.wait(30)
print(group.id.hex())
"""
"""Leaves three placement groups behind, the last as a controller does that outlives its node."""


@pytest.mark.ray
def test_unused_groups_and_requests_of_ended_jobs_are_removed(ray_address: str) -> None:
    from ray.util.placement_group import placement_group, placement_group_table, remove_placement_group

    ended = subprocess.run([sys.executable, "-c", DRIVER, ray_address], capture_output=True, text=True, check=True)
    orphan = ended.stdout.split()[-1]
    connection.connect(ray_address)
    try:
        deadline, removed = time.monotonic() + 30, []
        while not removed and time.monotonic() < deadline:  # Ray learns only after a moment that the job has ended
            removed = remove_orphans(SHAPE)
            time.sleep(0.2)
        assert removed == [orphan]
        ours = placement_group([{"CPU": 1}])
        assert ours.wait(30), "the CPU is free again"
        assert remove_orphans(SHAPE) == [], "the job of this group has not ended"
        remove_placement_group(ours)
        kept = {key: group for key, group in placement_group_table().items() if group["state"] != "REMOVED"}
        assert sorted(group["name"] for group in kept.values()) == ["", "named"], "other shapes and names are kept"
        for key in kept:
            remove_placement_group(_handle(key))
        _check_requests(orphan[-JOB_ID_DIGITS:])
    finally:
        connection.disconnect()


def _check_requests(ended_job: str) -> None:
    """Of the real coordinator: it offers a run that waits for workers what a run of an ended job still holds."""
    import ray
    from ray.data._internal.cluster_autoscaler import default_autoscaling_coordinator as coordinators
    from ray.train.v2._internal.state import schema, state_actor

    assert cancel_requests() == [], "no coordinator yet"
    coordinator, runs = coordinators.get_or_create_autoscaling_coordinator(), state_actor.get_or_create_state_actor()
    try:
        jobs = {"killed": ended_job, "waiting": ray.get_runtime_context().get_job_id()}
        for name, job in jobs.items():  # the first one gets all
            running = schema.RunStatus.RUNNING
            run = schema.TrainRun.model_construct(id=name, name=f"{name} sweep", job_id=job, status=running)
            ray.get(runs.create_or_update_train_run.remote(run))
            ray.get(coordinator.request_resources.remote(f"train-{name}", [{"CPU": 1}] * 2, expire_after_s=180))

        def offered() -> dict[str, float]:
            found = ray.get([coordinator.get_reserved_resources.remote(f"train-{name}") for name in jobs])
            return {n: sum(node.get("CPU", 0) for node in one.values()) for n, one in zip(jobs, found, strict=True)}

        assert offered() == {"killed": 2, "waiting": 0}
        assert cancel_requests() == ["killed sweep"]
        assert offered() == {"killed": 0, "waiting": 2}
        assert cancel_requests() == [], "its job lives"
    finally:
        ray.kill(runs)
        ray.kill(coordinator)


def _handle(identifier: str) -> object:
    import ray
    from ray.util.placement_group import PlacementGroup

    return PlacementGroup(ray.PlacementGroupID.from_hex(identifier))
