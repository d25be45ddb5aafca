"""All checks of a machine, a cluster and a store, in order. Each gives one line of output.

Without an address, only this machine is checked and no Ray is started. On a cluster, one small task runs on every node.
Nothing is left behind: the probe object in the store is deleted again.
"""

from __future__ import annotations

from collections.abc import Iterator

from cluster.connection.doctor.check_result import CheckResult
from cluster.connection.doctor.machine import check_data, check_images, check_machine, facts
from cluster.connection.doctor.nodes import check_cluster
from cluster.connection.doctor.store import check_folder_clock, check_foreign, check_store
from sweeps import data_roots
from sweeps.store.base import Store
from sweeps.store.local import FolderStore


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
            yield check_folder_clock(store)
        if isinstance(store, FolderStore) and address:
            yield CheckResult(
                "warning",
                f"the store is the folder {store.uri}: every node must have the same folder at this path",
                "mount it on all nodes at the same path, or --store s3://BUCKET/PREFIX",
            )
    yield check_data("this machine", here, data_root)
    if data_root and not here.data_trouble:
        for folder in data_roots.split(data_root):
            yield from check_images(folder)
    if address:
        yield from check_cluster(address, here, store, data_root)
    else:
        yield CheckResult("ok", "no cluster was checked; --address auto or --address HOST:6379 checks one")
