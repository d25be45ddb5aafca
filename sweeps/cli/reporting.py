"""Verbs that say what was found: the report of a sweep, the claims of all, two sweeps side by side, cells again."""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.cli import common, redrawing

if TYPE_CHECKING:
    from sweeps.store.base import Store

STUDIES = Path(__file__).parent.parent
"""Folder below which the studies lie that come with the package."""


def report(options: argparse.Namespace) -> int:
    from analysis.report import build as report
    from analysis.report import formats
    from sweeps.cli import console
    from sweeps.store.open import open_store

    kinds = tuple(options.format.split(","))
    store = common.store(options)
    for name in options.name:
        built = report.build(store, name)
        console.show(formats.terminal(built))
        if options.redraw:
            redrawing.redraw(store, built, options.data)
        if options.out is not None:
            for path in formats.write(built, options.out, kinds):
                print(path)
        if options.publish is not None:
            target = open_store(options.publish)
            for key in formats.publish(built, target, kinds):
                print(f"{target.uri}/{key}")
    return common.DONE


def claims(options: argparse.Namespace) -> int:
    from analysis.claims import overview
    from sweeps.cli import console

    files = [] if options.name else sorted(STUDIES.glob("*/*.yaml"))
    lines = overview.collect(common.store(options), options.name, files)
    if options.csv:
        print(overview.comma_separated(lines), end="")
    else:
        console.show(overview.terminal(lines))
    return common.DONE


def compare(options: argparse.Namespace) -> int:
    from analysis import study as studies
    from analysis.report import compare_sweeps
    from sweeps.cli import console
    from sweeps.store.open import open_store

    store = common.store(options)
    other = open_store(options.with_store) if options.with_store else store
    before, after = studies.read(store, options.before), studies.read(other, options.after or options.before)
    lines = compare_sweeps.compare(before, after)
    console.show(compare_sweeps.terminal(lines))
    for sentence in compare_sweeps.unmatched(before, after):
        print(sentence)
    return common.FAILED if any(line.verdict == compare_sweeps.DRIFT for line in lines) else common.DONE


def reproduce(options: argparse.Namespace) -> int:
    """Run cells again from their recorded configuration, in a store of their own; say which came out differently."""
    from cluster.driver import driver
    from cluster.driver.trial_queue import Job
    from sweeps.cli.progress_display import Watch
    from sweeps.store import layout
    from sweeps.store.open import open_store
    from trainables import schema

    store = common.store(options)
    stored, plan = common.stored_plan(store, options.name)
    cells = _chosen(stored, options.cell, options.seed)
    finished = store.exists_many(layout.result_key(*trial) for trial in cells.values())
    cells = {label: trial for label, trial in cells.items() if layout.result_key(*trial) in finished}
    with contextlib.ExitStack() as stack:
        folder = options.into or stack.enter_context(tempfile.TemporaryDirectory(prefix="sweeps-reproduce-"))
        again = open_store(folder)
        for key, data in store.get_many(layout.trial_key(trial) for trial, _ in cells.values()).items():
            again.create(key, data)
        jobs = [Job(trial, epochs, label) for label, (trial, epochs) in cells.items()]
        settings = driver.Settings(
            address=options.address or driver.IN_PROCESS,
            data_root=str(Path(options.data).resolve()) if options.data else None,
            command=options.command,
            inputs=store.uri,
        )
        work = driver.Work(plan, jobs, cached=0, failed=[], searches=[])
        with Watch(len(jobs), 0, plan.sweep.spec.report.metrics[0], quiet=False) as watch:
            driver.run(work, again, schema, settings, watch)
        return _say_what_changed(store, again, cells)


def _chosen(stored: Mapping[str, Any], arm: str | None, seed: int | None) -> dict[str, tuple[str, int]]:
    """(trial id, epochs) of the cells asked for, by what to call them; each trial once."""
    from sweeps.spec.loader import unknown

    names = [one["name"] for one in stored["arms"]]
    if arm is not None and arm not in names:
        raise unknown(f"--cell {arm!r}", arm, names)
    if seed is not None and seed not in stored["seeds"]:
        raise unknown(f"--seed {seed}", str(seed), map(str, stored["seeds"]))
    found: dict[tuple[str, int], str] = {}
    for one in stored["arms"]:
        for number, trial in one["trials"].items():
            if arm in (None, one["name"]) and seed in (None, int(number)):
                label = f"{one['name']} · seed {number}" if one["trains"] else one["name"]
                found.setdefault((trial["id"], trial["epochs"]), label)
    return {label: trial for trial, label in found.items()}


def _say_what_changed(store: Store, again: Store, cells: Mapping[str, tuple[str, int]]) -> int:
    from analysis.report import compare_sweeps
    from sweeps.store import layout

    changed = 0
    for label, trial in cells.items():
        key = layout.result_key(*trial)
        before, after = layout.get_json(store, key), layout.get_json(again, key)
        if before is None or after is None:
            found: object = "did not finish again"
        else:
            found = compare_sweeps.changed(before["history"], after["history"])
        changed += found is not None
        print(f"{label}: {found or 'the same numbers, to the last bit'}")
    print(f"{len(cells)} finished cells run again, {changed} changed")
    return common.FAILED if changed or not cells else common.DONE


def export_test(options: argparse.Namespace) -> int:
    """Write a study's damaged test images and masks for another system to fill."""
    from sweeps.spec.loader import unknown
    from trainables.inpaint import dataset as inpaint_dataset
    from trainables.training.session import Machine

    stored = common.newest_plan(common.store(options), options.name)
    arms = {one["name"]: one for one in stored["arms"]}
    if options.arm is not None and options.arm not in arms:
        raise unknown(f"--arm {options.arm!r}", options.arm, arms)
    config = arms[options.arm or stored["baseline"]]["config"]
    folders = {kind: options.out / kind for kind in ("damaged", "masks")}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    count = 0
    machine = Machine(data_root=Path(options.data).resolve() if options.data else None)
    for name, image, mask in inpaint_dataset.export_test(config, machine):
        (folders["damaged"] / name).write_bytes(image)
        (folders["masks"] / name).write_bytes(mask)
        count += 1
    print(f"{count} images in {folders['damaged']}, their masks (white: fill this) in {folders['masks']}")
    print("fill them into a folder under the same names, then add an arm to the sweep file:")
    print(f"  - {{name: theirs, outputs: {options.out.resolve() / 'filled'}}}")
    return common.DONE
