"""Compares the data that a plan would read today with those that its trials have read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.worker.inputs import DONE, MADE_FROM, set_key
from cluster.worker.trial_data import forged_set, forged_set_name
from sweeps.errors import SweepError
from sweeps.results import data_versions
from sweeps.results.leaks import store_leaks
from sweeps.spec.plan import Arm, Plan
from sweeps.store import layout, record_cache
from sweeps.store.base import Store
from trainables import schema
from trainables.config import data_paths
from trainables.data import leaks
from trainables.data.fingerprints import Fingerprint, fingerprints

if TYPE_CHECKING:
    from cluster.driver.pending_work import PendingWork


@dataclass(frozen=True)
class ChangedPath:
    """A folder or file whose content differs from what earlier trials of the sweep have read."""

    before: str
    """The digest of what they have read."""
    finished: int
    """Number of finished trials that have read something else than what is there today."""


@dataclass(frozen=True)
class ChangedPhotographs:
    """A finished forged set whose photographs, captions or masks have changed since it was made."""

    block: Mapping[str, Any]
    path: str
    before: str
    """The digest of the folder or file that the set was made from."""
    now: Fingerprint


@dataclass(frozen=True)
class PlannedData:
    """The data of a plan, as far as this machine has them."""

    sweep: str
    today: Mapping[str, Fingerprint]
    """By path."""
    changed: Mapping[str, ChangedPath]
    """By path."""
    trials: frozenset[str]
    """Trials of the plan whose result is from other data, or that may have begun with other data."""
    unknown: Mapping[str, tuple[str, ...]]
    """By path: other digests in results that the sweep has not been told to accept."""
    mixed: tuple[str, ...]
    """Sentences on results from different data."""
    outdated: Mapping[str, ChangedPhotographs]
    """Forged sets that were made from other files than there are today, by id."""

    @property
    def digests(self) -> dict[str, str]:
        return {path: one.digest for path, one in self.today.items()}

    def refuse_changes(self, store: Store) -> None:
        """Raise SweepError if earlier trials of the sweep have read other data under the same path.

        Also if a forged set in the store was made from other files.
        """
        for set_id, outdated in self.outdated.items():
            raise _outdated_error(store, set_id, outdated)
        if not self.changed:
            return
        for one in self.today.values():
            data_versions.store_files(store, one.path, one.digest, one.files)
        path, change = next(iter(self.changed.items()))
        count = change.finished
        trials = f"{count} finished trial{'s' if count != 1 else ''} read" if count else "its trials have begun with"
        others = f" {len(self.changed) - 1} more paths have changed too." if len(self.changed) > 1 else ""
        raise SweepError(
            f"data {path} of sweep {self.sweep!r}",
            f"{trials} other files under this path than there are now: "
            f"{data_versions.difference(store, change.before, self.today[path].digest)}.{others}",
            "the same files for all trials of a sweep, because its tables compare them",
            "restore the files, or use another --store; sweeps run FILE --retrain-stale trains on the present files "
            "what was trained on others; --accept-changed-data keeps the results of both, and the report says so",
        )

    def settle(self, store: Store) -> None:
        """Record that the sweep reads the data of today from now on."""
        before = data_versions.used(store, self.sweep)
        for path, one in self.today.items():
            unknown = self.unknown.get(path, ())
            if before.get(path, [None])[-1] == one.digest and not unknown:
                continue
            data_versions.store_files(store, path, one.digest, one.files)
            for digest in (*unknown, one.digest):
                data_versions.use(store, self.sweep, path, digest)


def look(plan: Plan, store: Store, root: Path | None) -> PlannedData:
    """Compare the data of today with the results of a plan's trials, and with what its sweep has used before.

    root: the data root of this machine, see `RunOptions.local_data_root`.
    """
    blocks = {arm.name: _forged(arm) for arm in plan.arms}
    read_by = [(arm, tuple(schema.data_paths(arm.task, arm.config)), list(blocks[arm.name])) for arm in plan.arms]
    paths = dict.fromkeys(path for _, own, _ in read_by for path in own)
    today = fingerprints(paths, root) | _forged_sets({one for _, _, sets in read_by for one in sets}, store)
    keys = {layout.result_key(trial.id, trial.epochs): trial.id for trial, _ in plan.runs()}
    results = record_cache.cached(store, plan.name).results(keys)
    read = {keys[key]: data_versions.recorded(result) for key, (result, _) in results.items()}
    used = data_versions.used(store, plan.name)
    changed, unknown = {}, {}
    for path, one in today.items():
        accepted = used.get(path, [])
        others = [digests[path] for digests in read.values() if digests.get(path, one.digest) != one.digest]
        unknown[path] = tuple(dict.fromkeys(digest for digest in others if digest not in accepted))
        before = unknown[path][0] if unknown[path] else accepted[-1] if accepted else one.digest
        if before != one.digest:
            changed[path] = ChangedPath(before, len(others))
    old = {
        trial.id
        for arm, own, sets in read_by
        for path in {*(one.path for one in own), *map(forged_set_name, sets)} & today.keys()
        for trial in arm.trials.values()
        if read.get(trial.id, {}).get(path, None if path in changed else today[path].digest) != today[path].digest
    }
    mixed = tuple(data_versions.mixed_data(store, [result for result, _ in results.values()]))
    outdated = _outdated({set_id: block for some in blocks.values() for set_id, block in some.items()}, store, root)
    return PlannedData(plan.name, today, changed, frozenset(old), unknown, mixed, outdated)


def check_leaks(work: PendingWork, store: Store, root: Path | None, accept: bool) -> None:
    """Raise TrialError if a photograph is in two splits of the data of an arm that is about to run.

    accept: store the leaks for the report instead. Nothing is found if this machine does not have the data.
    """
    if root is None:
        return
    trials = {job.trial_id for job in work.jobs}
    searched = {tuning.arm.name for tuning in work.searches}
    found: dict[str, list[leaks.Leak]] = {}
    leaking: dict[str, leaks.Leak] = {}
    of_leaks: set[str] = set()
    for arm in work.plan.arms:
        if arm.name not in searched and not trials & {trial.id for trial in arm.trials.values()}:
            continue
        key = json.dumps([arm.config.get(name) for name in ("data", "test_sets", "protocol")], sort_keys=True)
        if key not in found:
            found[key] = leaks.find_leaks(arm.config, root)
        if found[key]:
            leaking |= {str(leak): leak for leak in found[key]}
            of_leaks |= {trial.id for trial in arm.trials.values()}
    if leaking and not accept:
        raise leaks.leaks_error(list(leaking.values()))
    store_leaks(store, work.plan.name, list(leaking), of_leaks or trials)


def _forged(arm: Arm) -> Mapping[str, Mapping[str, Any]]:
    """The configuration blocks of the forged sets that an arm reads, by id."""
    blocks: dict[str, Mapping[str, Any]] = {}
    for seed in arm.trials or (0,):
        blocks |= schema.needs(arm.task, arm.config, seed).forged
    return blocks


def _outdated(
    blocks: Mapping[str, Mapping[str, Any]], store: Store, root: Path | None
) -> dict[str, ChangedPhotographs]:
    """The finished sets that were made from other files than this machine has; without the files nothing is known."""
    finished = store.exists_many(set_key(set_id, DONE) for set_id in blocks)
    keys = {set_key(set_id, MADE_FROM): set_id for set_id in blocks if set_key(set_id, DONE) in finished}
    found = {}
    for key, before in layout.intact(store.get_many(sorted(keys))).items():
        set_id, block = keys[key], blocks[keys[key]]
        for path, now in fingerprints(data_paths.of_forged(block), root).items():
            if before.get(path, now.digest) != now.digest:
                found[set_id] = ChangedPhotographs(block, path, before[path], now)
    return found


def _outdated_error(store: Store, set_id: str, outdated: ChangedPhotographs) -> SweepError:
    data_versions.store_files(store, outdated.path, outdated.now.digest, outdated.now.files)
    return SweepError(
        f"data {outdated.path}, from which the forged set {set_id} was made",
        f"its files have changed since: {data_versions.difference(store, outdated.before, outdated.now.digest)}",
        "a forged set that was made from the present files",
        "restore the files, or use another --store; sweeps run FILE --retrain-stale makes the set again and trains "
        "again what was trained on it; --accept-changed-data goes on with the set as it was made",
    )


def _forged_sets(ids: Iterable[str], store: Store) -> dict[str, Fingerprint]:
    """The forged sets that the store has, by name."""
    keys = {set_key(set_id, DONE): set_id for set_id in ids}
    whole = [forged_set(body, keys[key]) for key, body in store.get_many(sorted(keys)).items()]
    return {one.path: one for one in whole}
