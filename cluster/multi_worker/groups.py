"""The driver's side of groups: starts them, finds a free one, ends them.

A group is a Ray Train run that trains one trial after another (`cluster.multi_worker.group_host`). There are as many as
the cluster holds and trials need. An idle group releases its workers after a while, and a group that has trained many
trials is replaced by a new one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import ray
from ray.exceptions import RayActorError
from ray.util.placement_group import PlacementGroup, remove_placement_group

from cluster.multi_worker import group_host
from cluster.multi_worker.group import serve
from cluster.multi_worker.group_host import LOST, MOVED, NAMESPACE, RECORD, Host
from cluster.multi_worker.orphans import cancel_requests, remove_orphans
from cluster.multi_worker.trainer import ENVIRONMENT, GroupShape
from cluster.worker.storage_errors import STORAGE, storage_state
from cluster.worker.worker import CRASHED, FAILED, HELD, STOPPED, WorkerOptions, open_cached
from sweeps.errors import StorageError
from sweeps.store import attempts as stored_attempts
from sweeps.store import layout
from trainables.training.session import Row

DRIVER_RESOURCE = "driver"
"""Ray resource of the nodes on which drivers are placed, because these nodes are not preempted."""
IDLE_S = 60.0
"""Seconds after which an idle group releases its workers."""
TRIALS = 200
"""Trials that a group trains before it is replaced, which bounds leaks from trial to trial."""
LOOK_EVERY_S = 0.25
STILLBORN = 3
"""After this many groups in a row whose workers did not start, no more groups are started."""
CLOSE_S = 10.0
"""Seconds that the groups may take to end when the driver ends."""
ORPHANS_S = 5.0
"""Seconds that a group may wait for its workers before resources of dead drivers are freed, each time."""
STARTING = {"ready": False, "broken": False, "placement": None, "over": None}
"""A group's state until its host reports one."""


def driver_node_resources() -> dict[str, float]:
    """Resources that place an actor on a node for drivers if there is one, else on the head: neither is preempted."""
    have = ray.cluster_resources()
    return {DRIVER_RESOURCE if have.get(DRIVER_RESOURCE) else "node:__internal_head__": 0.001}


@dataclass
class _Group:
    name: str
    host: Any
    state: dict[str, Any] = field(default_factory=lambda: dict(STARTING))
    asked: Any = None
    ticket: str | None = None
    served: int = 0
    idle_since: float = field(default_factory=time.monotonic)
    ending: bool = False
    was_ready: bool = False
    waiting_since: float = field(default_factory=time.monotonic)
    """When the group was started, or when its resources were last looked for."""


class Groups:
    """The groups of one driver.

    most: how many groups the cluster holds. wanted: returns how many trials could run now. fresh: use a new group for
    each trial.
    """

    def __init__(
        self, shape: GroupShape, options: WorkerOptions, most: int, wanted: Callable[[], int], fresh: bool
    ) -> None:
        self._shape, self._options, self._most, self._wanted = shape, options, most, wanted
        self._trials = 1 if fresh else TRIALS
        self._groups: dict[str, _Group] = {}
        self._count = 0
        self._looked = 0.0
        self._place = driver_node_resources()
        self._stillborn = 0
        self.hopeless = ""
        """Why no more groups are started; '' while they are."""
        self._free_resources()

    def free(self) -> str | None:
        """Name of a group that can train a trial at once. If there is none, start one if it fits, and return None."""
        self.update()
        ready = [
            group for group in self._groups.values() if group.state["ready"] and not (group.ticket or group.ending)
        ]
        if ready:
            return max(ready, key=lambda group: group.served).name  # so that the others become idle and end
        if not self.hopeless and len(self._groups) < min(self._most, self._wanted()):
            self._start()
        return None

    @property
    def starting(self) -> list[str]:
        """Names of the groups whose workers are not ready."""
        return [group.name for group in self._groups.values() if not (group.state["ready"] or group.ending)]

    def assign(self, name: str, ticket: str) -> None:
        """Record that a trial was handed to a group."""
        group = self._groups[name]
        group.ticket, group.served = ticket, group.served + 1

    def take_back(self, ticket: str, died: bool = False) -> None:
        """Record that a trial or its relay ended. died: the relay died, and the workers may still be training."""
        for group in self._groups.values():
            if group.ticket == ticket:
                if died:
                    group.host.halt.remote(ticket)
                    group.state, group.asked = {**group.state, "ready": False}, None
                group.ticket, group.idle_since = None, time.monotonic()
                if group.served >= self._trials:
                    self._end(group)

    def halt(self, ticket: str) -> None:
        """End a trial now: its workers become free without another record."""
        for group in self._groups.values():
            if group.ticket == ticket:
                group.host.halt.remote(ticket)

    def update(self) -> None:
        """Check which groups are ready or over, and end those that were idle for long. Does not block."""
        now = time.monotonic()
        if now - self._looked < LOOK_EVERY_S:
            return
        self._looked = now
        for group in list(self._groups.values()):
            self._update(group)
            if group.state["over"] is not None:
                self._forget(group)
            elif group.state["ready"] and not group.ticket and not group.ending and now - group.idle_since > IDLE_S:
                self._end(group)
            elif not group.was_ready and now - group.waiting_since > ORPHANS_S:
                group.waiting_since = now
                self._free_resources()

    def _free_resources(self) -> None:
        """Free the resources that drivers which died still hold."""
        for identifier in remove_orphans(self._shape):
            print(f"removed placement group {identifier}, which a driver that died left behind", file=sys.stderr)
        for name in cancel_requests() if isinstance(self._shape.workers, tuple) else ():
            print(f"cancelled the request for workers of {name}, whose driver has died", file=sys.stderr)

    def _update(self, group: _Group) -> None:
        if group.asked is not None and ray.wait([group.asked], timeout=0)[0]:
            try:
                state = ray.get(group.asked)
            except RayActorError as error:
                state = {**group.state, "ready": False, "over": str(error)}
            if state["ready"] and not group.state["ready"]:
                group.idle_since, group.was_ready = time.monotonic(), True
            group.state, group.asked = state, None
        if group.asked is None and group.state["over"] is None:
            group.asked = group.host.state.remote()

    def _start(self) -> _Group:
        name = f"{self._shape.name}-{self._count}"
        self._count += 1
        host = (
            ray.remote(Host)
            .options(
                name=name,
                namespace=NAMESPACE,
                num_cpus=0,
                resources=self._place,
                max_concurrency=group_host.CALLS,
                runtime_env={"env_vars": ENVIRONMENT},
            )
            .remote(replace(self._shape, name=name), self._options, serve)
        )
        self._groups[name] = group = _Group(name, host)
        return group

    def _end(self, group: _Group) -> None:
        group.ending = True
        group.host.end.remote()

    def _forget(self, group: _Group) -> None:
        """Remove a group whose run is over, and its placement group, which a dead host would leave behind."""
        if group.state["placement"] is not None:
            placement = PlacementGroup(ray.PlacementGroupID.from_hex(group.state["placement"]))
            remove_placement_group(placement)
        ray.kill(group.host)
        del self._groups[group.name]
        if group.was_ready or group.ending:
            self._stillborn = 0
            return
        self._stillborn += 1
        print(f"the workers of {group.name} did not start: {group.state['over']}", file=sys.stderr)
        if self._stillborn >= STILLBORN:
            self.hopeless = str(group.state["over"])

    def close(self) -> None:
        """End all groups; kill those that have not ended within `CLOSE_S`."""
        for group in self._groups.values():
            if not group.ending:
                self._end(group)
        deadline = time.monotonic() + CLOSE_S
        while self._groups and time.monotonic() < deadline:
            self.update()
            time.sleep(0.1)
        for group in self._groups.values():
            ray.kill(group.host)


# --- the relay: the Tune trial of a trial that a group trains ---------------------------------------------------------


def relay(config: dict[str, Any], options: WorkerOptions, report: Callable[[Row], None]) -> str:
    """Hand a trial to its group and pass on its records. Returns its state, as `run_trial` does."""
    try:
        host = ray.get_actor(config["group"], namespace=NAMESPACE)
    except ValueError:  # the group is gone
        return HELD
    try:
        ray.get(host.offer.remote(config["ticket"], config["trial"], config["epochs"], config["after"]))
        seen = 0
        while True:
            event = ray.get(host.event.remote(config["ticket"], seen))
            if event is None:
                continue
            kind, body = event
            if kind in (LOST, MOVED):
                return _lost(options, config, kind, body)
            if kind != RECORD:
                return str(body)
            seen += 1
            report(body)
    except RayActorError:  # the host has died, and its Ray Train run with it
        return CRASHED


def _lost(options: WorkerOptions, config: dict[str, Any], kind: str, errors: list[dict[str, str]]) -> str:
    """Record the end of a trial whose workers are gone, so that nobody has to wait until its lease expires.

    An error of the storage on one of the workers ends the run; the trial has not failed.
    """
    storage = next((error[STORAGE] for error in errors if STORAGE in error), "")
    try:
        store = open_cached(options.store)
        attempt = stored_attempts.newest_attempt(store, config["trial"])
        if attempt is not None and attempt.number == config["after"] + 1:
            end = layout.get_intact(store, attempt.end_key)
            if end is None and errors and not storage:
                stored_attempts.end(store, attempt, FAILED, time.time(), errors[0])
            elif end is None:
                stored_attempts.end(store, attempt, STOPPED, time.time())
    except StorageError as error:
        return storage or storage_state(error)
    return storage or (HELD if kind == MOVED else CRASHED)
