"""Verbs about results: report, claims, comparison of two sweeps, reproduction, test images for other systems."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from sweeps import api
from sweeps.cli import common

if TYPE_CHECKING:
    from analysis.report.content import Report
    from sweeps.store.base import Store

STUDIES = Path(__file__).parent.parent
"""Root of the folders with the studies of the package."""


def register(verbs: common.Verbs) -> None:
    parser = verbs.add(report, "report", "print or write the table, figures and verdicts of sweeps")
    parser.add_argument("name", metavar="NAME", nargs="+", help="name of a sweep")
    common.add_store(parser)
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help="folder for the report files (default: only print the table)"
    )
    parser.add_argument("--publish", metavar="URI", help="write the report files to a store, below reports/NAME/")
    parser.add_argument(
        "--format",
        metavar="LIST",
        default="html,md,csv",
        help="file types, from html,md,tex,csv,parquet (default: html,md,csv)",
    )
    parser.add_argument(
        "--redraw", action="store_true", help="first draw the images on which the arms differ, from final checkpoints"
    )
    common.add_data(parser, "folder of the data sets, for --redraw (default: $SWEEPS_DATA)")

    parser = verbs.add(claims, "claims", "print the claims of all studies: published value, measured value, verdict")
    parser.add_argument(
        "name", metavar="NAME", nargs="*", help="name of a sweep (default: all, including studies that were not run)"
    )
    common.add_store(parser)
    parser.add_argument("--csv", action="store_true", help="print CSV with the source and reason of each verdict")

    parser = verbs.add(compare, "compare", "compare two sweeps, or a sweep in two stores, and show what has drifted")
    parser.add_argument("before", metavar="A", help="name of a sweep")
    parser.add_argument("after", metavar="B", nargs="?", help="name of the other sweep (default: A, with --with-store)")
    common.add_store(parser)
    parser.add_argument("--with-store", metavar="URI", help="store of B (default: the same store)")

    parser = verbs.add(reproduce, "reproduce", "run finished trials again and report which numbers changed")
    common.add_sweep_name(parser)
    common.add_store(parser)
    common.add_data(parser)
    parser.add_argument("--address", help="where to run: in-process (default), local, auto or HOST:PORT")
    parser.add_argument("--cell", metavar="ARM", help="this arm only")
    parser.add_argument("--seed", metavar="N", type=int, help="this seed only")
    parser.add_argument("--into", metavar="URI", help="store for the new results (default: they are deleted)")

    parser = verbs.add(
        export_test, "export-test", "write the damaged test images and masks of a study for another system to fill"
    )
    common.add_sweep_name(parser)
    common.add_store(parser)
    common.add_data(parser)
    parser.add_argument("--arm", metavar="ARM", help="use the images and masks of this arm (default: the baseline)")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="output folder")


def report(options: argparse.Namespace) -> int:
    from analysis.report import formats
    from sweeps.cli import console

    kinds = tuple(options.format.split(","))
    store = api.open(options.store)
    for name in options.name:
        built = api.report(store, name)
        console.show(formats.terminal(built))
        if options.redraw:
            _redraw(store, built, common.data_root(options))
        if options.out is not None:
            for path in formats.write(built, options.out, kinds):
                print(path)
        if options.publish is not None:
            target = api.open(options.publish)
            for key in formats.publish(built, target, kinds):
                print(f"{target.uri}/{key}")
    return common.DONE


def _redraw(store: Store, built: Report, data_root: Path | None) -> None:
    """Fill the disputed test images with the final checkpoint of each arm, and store them for the report.

    Images that were drawn for the same trials before are kept. An arm without a checkpoint of its last epoch is skipped
    with a message.
    """
    from analysis.report.sections import images
    from sweeps.store import checkpoints
    from sweeps.store import trials as stored_trials
    from trainables.inference import redraw
    from trainables.training.session import Machine

    study, shown = built.study, built.images
    if shown is None or shown.disputed is None:
        print(f"{study.name}: nothing to redraw, because no two arms have values of single test images")
        return
    disputed = shown.disputed.images
    folders = {arm: images.redrawn_folder(study, arm, seed, disputed) for arm, seed in shown.seeds.items()}
    drawn = store.exists_many(f"{folder}/composite.png" for folder in folders.values())
    machine, drawn_now = Machine(data_root=data_root), 0
    for arm, folder in folders.items():
        if f"{folder}/composite.png" in drawn:
            continue
        trial, epochs = study.arm(arm).trials[shown.seeds[arm]]
        saved = checkpoints.latest_checkpoint(store, trial, epochs) if study.arm(arm).trains else None
        if study.arm(arm).trains and (saved is None or saved.epoch != epochs):
            print(f"{arm}: not drawn, because the store has no checkpoint of trial {trial} at epoch {epochs}")
            continue
        body = stored_trials.read_trial(store, trial)
        config = {**body["config"], "epochs": epochs, "seed": body["seed"]}
        strips = redraw.strips(config, saved.files if saved else None, disputed, machine)
        for name in ("truth.png", "damaged.png", "composite.png"):  # the last one marks the folder as complete
            store.put(f"{folder}/{name}", strips[name])
        drawn_now += 1
    print(f"{study.name}: {len(disputed)} disputed images drawn for {drawn_now} arms; {len(drawn)} arms had them")


def claims(options: argparse.Namespace) -> int:
    from analysis.claims import overview
    from sweeps.cli import console

    files = [] if options.name else sorted(STUDIES.glob("*/*.yaml"))
    lines = overview.collect(api.open(options.store), options.name, files)
    if options.csv:
        print(overview.to_csv(lines), end="")
    else:
        console.show(overview.terminal(lines))
    return common.DONE


def compare(options: argparse.Namespace) -> int:
    from analysis.report import compare_sweeps
    from sweeps.cli import console

    store = api.open(options.store)
    other = api.open(options.with_store) if options.with_store else store
    before, after = api.read(store, options.before), api.read(other, options.after or options.before)
    lines = compare_sweeps.compare(before, after)
    console.show(compare_sweeps.terminal(lines))
    for sentence in compare_sweeps.unmatched_arms(before, after):
        print(sentence)
    return common.FAILED if any(line.verdict == compare_sweeps.DRIFT for line in lines) else common.DONE


def reproduce(options: argparse.Namespace) -> int:
    from analysis.report import compare_sweeps
    from sweeps.cli.progress_display import RunDisplay

    trials = api.reproduce(
        options.store,
        options.name,
        api.RunOptions(address=options.address, data=options.data, command=options.command),
        RunDisplay(options.store),
        arm=options.cell,
        seed=options.seed,
        into=options.into,
    )
    changed = 0
    for trial in trials:
        outcome: object = "did not finish again"
        if trial.after is not None:
            outcome = compare_sweeps.history_change(trial.before, trial.after)
        changed += outcome is not None
        print(f"{trial.label}: {outcome or 'the same numbers, to the last bit'}")
    print(f"{len(trials)} finished trials run again, {changed} changed")
    return common.FAILED if changed or not trials else common.DONE


def export_test(options: argparse.Namespace) -> int:
    from sweeps.spec.loader import unknown_name_error
    from trainables.inpaint import dataset as inpaint_dataset
    from trainables.training.session import Machine

    stored = api.newest_plan(options.store, options.name)
    arms = {arm["name"]: arm for arm in stored["arms"]}
    if options.arm is not None and options.arm not in arms:
        raise unknown_name_error(f"--arm {options.arm!r}", options.arm, arms)
    config = arms[options.arm or stored["baseline"]]["config"]
    folders = {kind: options.out / kind for kind in ("damaged", "masks")}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for name, image, mask in inpaint_dataset.export_test(config, Machine(data_root=common.data_root(options))):
        (folders["damaged"] / name).write_bytes(image)
        (folders["masks"] / name).write_bytes(mask)
        count += 1
    print(f"{count} images in {folders['damaged']}, their masks in {folders['masks']} (white: fill this)")
    print("fill them into a folder under the same names, then add an arm to the sweep file:")
    print(f"  - {{name: theirs, outputs: {options.out.resolve() / 'filled'}}}")
    return common.DONE
