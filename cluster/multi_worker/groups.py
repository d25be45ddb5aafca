"""The driver's side of groups: how many there are, which one is free, when one ends.

A group is a Ray Train run that serves trial after trial (`cluster.multi_worker.group_host`). There are as many as the
cluster holds and as there are trials for; one that has nothing to do gives its workers back after a while, and one that
has served many trials makes room for a fresh one.
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
from cluster.multi_worker.trainer import ENVIRONMENT, Shape
from cluster.worker.worker import CRASHED, FAILED, HELD, STOPPED, Options, open_cached
from sweeps.store import attempts as stored_attempts
from sweeps.store import layout
from trainables.training.session import Row

DRIVER_RESOURCE = "driver"
"""Nodes that have this resource are where drivers go: those that are not taken away."""
IDLE_S = 60.0
"""Seconds after which a group without a trial gives its workers back."""
TRIALS = 200
"""Trials that a group serves before it is replaced: whatever leaks from trial to trial ends with it."""
LOOK_EVERY_S = 0.25
STILLBORN = 3
"""After so many groups in a row whose workers never came up, no other is started."""
CLOSE_S = 10.0
"""How long the groups may take to end when the driver does."""


STARTING = {"ready": False, "broken": False, "placement": None, "over": None}
"""What a group's state is until its host tells another."""


def driver_place() -> dict[str, float]:
    """Resources that bring an actor to a driver's node where there is one, else to the head: neither is taken away."""
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


class Groups:
    """The groups of one driver. wanted: how many trials could run now. most: how many groups the cluster holds."""

    def __init__(self, shape: Shape, options: Options, most: int, wanted: Callable[[], int], fresh: bool) -> None:
        self._shape, self._options, self._most, self._wanted = shape, options, most, wanted
        self._trials = 1 if fresh else TRIALS
        self._groups: dict[str, _Group] = {}
        self._count = 0
        self._looked = 0.0
        self._place = driver_place()
        self._stillborn = 0
        self.hopeless = ""
        """Why no group can be started; '' while one may be."""

    def free(self) -> str | None:
        """A group that could train a trial at once; where there is none, more are started as far as they fit."""
        self.look()
        ready = [
            group for group in self._groups.values() if group.state["ready"] and not (group.ticket or group.ending)
        ]
        if ready:
            return max(ready, key=lambda group: group.served).name  # the others may become idle and end
        if not self.hopeless and len(self._groups) < min(self._most, self._wanted()):
            self._start()
        return None

    def give(self, name: str, ticket: str) -> None:
        """A trial has been handed to a group."""
        group = self._groups[name]
        group.ticket, group.served = ticket, group.served + 1

    def take_back(self, ticket: str, died: bool = False) -> None:
        """A trial is over, or its relay is. died: the relay did, and the workers may still train it for nobody."""
        for group in self._groups.values():
            if group.ticket == ticket:
                if died:
                    group.host.halt.remote(ticket)
                    group.state, group.asked = {**group.state, "ready": False}, None
                group.ticket, group.idle_since = None, time.monotonic()
                if group.served >= self._trials:
                    self._end(group)

    def halt(self, ticket: str) -> None:
        """End a trial now: its workers are free again before its record after this one."""
        for group in self._groups.values():
            if group.ticket == ticket:
                group.host.halt.remote(ticket)

    def look(self) -> None:
        """See which groups are ready or over, and end those that were idle for long. Never waits."""
        now = time.monotonic()
        if now - self._looked < LOOK_EVERY_S:
            return
        self._looked = now
        for group in list(self._groups.values()):
            self._hear(group)
            if group.state["over"] is not None:
                self._forget(group)
            elif group.state["ready"] and not group.ticket and not group.ending and now - group.idle_since > IDLE_S:
                self._end(group)

    def _hear(self, group: _Group) -> None:
        if group.asked is not None and ray.wait([group.asked], timeout=0)[0]:
            try:
                heard = ray.get(group.asked)
            except RayActorError as error:
                heard = {**group.state, "ready": False, "over": str(error)}
            if heard["ready"] and not group.state["ready"]:
                group.idle_since, group.was_ready = time.monotonic(), True
            group.state, group.asked = heard, None
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
        """A run that is over; had its host died, Ray Train would not free its resources while this driver lives."""
        if group.state["placement"] is not None:
            placement = PlacementGroup(ray.PlacementGroupID.from_hex(group.state["placement"]))
            remove_placement_group(placement)
        ray.kill(group.host)
        del self._groups[group.name]
        if group.was_ready or group.ending:
            self._stillborn = 0
            return
        self._stillborn += 1
        print(f"the workers of {group.name} did not come up: {group.state['over']}", file=sys.stderr)
        if self._stillborn >= STILLBORN:
            self.hopeless = str(group.state["over"])

    def close(self) -> None:
        """End all groups, in order if they do so in a few seconds."""
        for group in self._groups.values():
            if not group.ending:
                self._end(group)
        deadline = time.monotonic() + CLOSE_S
        while self._groups and time.monotonic() < deadline:
            self.look()
            time.sleep(0.1)
        for group in self._groups.values():
            ray.kill(group.host)


# --- the relay: the Tune trial of a trial that a group trains ---------------------------------------------------------


def relay(config: dict[str, Any], options: Options, report: Callable[[Row], None]) -> str:
    """Hand a trial to its group and pass its records on. Returns how it went: as `run_trial`, or crashed."""
    try:
        host = ray.get_actor(config["group"], namespace=NAMESPACE)
    except ValueError:  # it is gone
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
    except RayActorError:  # the host has died, and with it what started the workers
        return CRASHED


def _lost(options: Options, config: dict[str, Any], kind: str, errors: list[dict[str, str]]) -> str:
    """A trial whose workers are gone: say so in the store, where they could not, so that nobody waits for its lease."""
    store = open_cached(options.store)
    attempt = stored_attempts.newest_attempt(store, config["trial"])
    if attempt is not None and attempt.number == config["after"] + 1:
        end = layout.get_json(store, attempt.end_key)
        if end is None and errors:
            stored_attempts.end(store, attempt, FAILED, time.time(), errors[0])
        elif end is None:
            stored_attempts.end(store, attempt, STOPPED, time.time())
    return HELD if kind == MOVED else CRASHED
