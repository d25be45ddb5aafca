"""Placement groups of dead drivers are removed, and no others."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from cluster.connection import connection
from cluster.multi_worker.orphans import remove_orphans
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
def test_unused_groups_of_ended_jobs_are_removed(ray_address: str) -> None:
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
    finally:
        connection.disconnect()


def _handle(identifier: str) -> object:
    import ray
    from ray.util.placement_group import PlacementGroup

    return PlacementGroup(ray.PlacementGroupID.from_hex(identifier))
