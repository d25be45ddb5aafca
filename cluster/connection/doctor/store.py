"""Checks of a store. The probe object that they write is deleted again."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator

from cluster.connection.doctor.check_result import CheckResult
from cluster.connection.doctor.clock import check_clock, clock_offset_s
from sweeps.errors import SweepError
from sweeps.store import listing
from sweeps.store.base import Store
from sweeps.store.local import FolderStore

_PROBE = "doctor"
_SHOWN = 3
"""Number of foreign files that are named."""


def check_store(store: Store) -> Iterator[CheckResult]:
    """Write, read, write conditionally, replace, list and delete a probe object; stop at the first failure."""
    key = f"{_PROBE}/{uuid.uuid4().hex}"

    def replaced() -> bool:
        store.put(key, b"b")
        return store.get(key) == b"b"

    def deleted() -> bool:
        store.delete([key])
        return not store.exists_many([key])

    steps: list[tuple[str, Callable[[], bool], str]] = [
        ("write", lambda: store.create(key, b"a"), "the new object exists already"),
        ("read", lambda: store.get(key) == b"a", "other content was returned"),
        ("refuse a second writer", lambda: not store.create(key, b"c"), "two drivers could train the same trial"),
        ("replace", replaced, "the old content was returned"),
        ("list", lambda: key.rpartition("/")[2] in store.children(f"{_PROBE}/"), "a written object was not listed"),
        ("delete", deleted, "the object is still there"),
    ]
    done = []
    for name, step, otherwise in steps:
        try:
            good, why, do = step(), otherwise, "use a store that meets the contract in sweeps/store/base.py"
        except KeyError:
            good, why, do = False, "a written object was not found", "use a store with read-after-write consistency"
        except SweepError as error:
            good, why, do = False, error.why, error.fix
        if not good:
            yield CheckResult("failed", f"store {store.uri}: cannot {name}: {why}", do)
            return
        done.append(name)
    yield CheckResult("ok", f"store {store.uri}: {', '.join(done)}")
    if not store.exclusive:
        yield CheckResult(
            "warning",
            f"store {store.uri}: the server ignores conditional writes; claims are written and read back",
            "nothing with one driver at a time; with several, a server that has them, as AWS, or one driver only",
        )


def check_foreign(store: Store) -> Iterator[CheckResult]:
    """Tell of files and links in a store that this package has not written; nothing if there are none."""
    first, count = [], 0
    for key in listing.foreign(store):
        count += 1
        first += [key] if count <= _SHOWN else []
    if count:
        more = f" and {count - len(first):,} more" if count > len(first) else ""
        what = "file or link" if count == 1 else "files or links"
        yield CheckResult(
            "warning",
            f"store {store.uri}: {count:,} {what} that inpaint-sweeps has not written: {', '.join(first)}{more}",
            "nothing has to be done, they are ignored; they may be deleted, but leave everything else as it is",
        )


def check_folder_clock(store: FolderStore) -> CheckResult:
    """Check the clock of the server of a mounted folder, from the time stamp of a new file."""
    key = f"{_PROBE}/{uuid.uuid4().hex}"
    began = time.time()
    store.put(key, b"")
    ended = time.time()
    stamp = (store.root / key).stat().st_mtime
    store.delete([key])
    return check_clock(f"store {store.uri}", clock_offset_s((stamp, stamp), began, ended))
