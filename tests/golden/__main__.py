"""`python -m tests.golden`: write the golden records and reports anew. See the package's text for the options."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

from tests.golden import identities, produce, reports
from tests.golden.compare import differences
from tests.golden.store_files import read_json

WRITTEN = ("records", "reports", "fingerprint.json")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.golden", description=__doc__)
    parser.add_argument("--wording", action="store_true", help="write the reports alone; refuse if a number changed")
    parser.add_argument("--old-store", action="store_true", help="make old_store.tar.xz anew as well")
    options = parser.parse_args()
    data_root = Path(os.environ.get("SWEEPS_DATA") or produce.ROOT.parent / "shared" / "data").resolve()
    if options.old_store:
        produce.start(produce.HERE, data_root, "tests.golden.old_store")
    with tempfile.TemporaryDirectory(prefix="golden-new-") as name:
        found = Path(name)
        produce.start(found, data_root)
        changed = _changed_numbers(found) if options.wording else []
        if changed:
            print("numbers have changed, not words alone:", *changed, sep="\n  ", file=sys.stderr)
            return 1
        for item in ("reports",) if options.wording else WRITTEN:
            _replace(found / item, produce.HERE / item)
    if not options.wording:
        identities.FILE.write_text(identities.text())
    print("written; read what changed: git diff --stat tests/golden")
    return 0


def _changed_numbers(found: Path) -> list[str]:
    """Records that differ, and numbers that a report lost or gained."""
    lines: list[str] = []
    for file in sorted((produce.HERE / "records").iterdir()):
        lines += differences(read_json(file), read_json(found / "records" / file.name), exact=True)
    before, after = (reports.numbers(_texts(folder)) for folder in (produce.HERE, found))
    lost, gained = before - after, after - before
    return [*lines, *(f"a report no longer says {n}" for n in lost), *(f"a report newly says {n}" for n in gained)]


def _texts(folder: Path) -> list[str]:
    """Reports without HTML, whose styles are full of numbers."""
    return [path.read_text() for path in sorted((folder / "reports").iterdir()) if path.suffix != ".html"]


def _replace(source: Path, target: Path) -> None:
    if target.is_dir():
        shutil.rmtree(target)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy(source, target)


if __name__ == "__main__":
    sys.exit(main())
