"""Verbs about results: report, claims, comparison of two sweeps, reproduction, test images for other systems."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sweeps import api, sizes
from sweeps.cli import common
from sweeps.wording import count

if TYPE_CHECKING:
    from cluster.driver.reproduction import Reproduction
    from sweeps.cli.programs import result_json
    from sweeps.store.layout import Json


def register(verbs: common.Verbs) -> None:
    parser = verbs.add(report, "report", "print or write the table, figures and verdicts of sweeps")
    parser.add_argument("name", metavar="NAME", nargs="+", help="name of a sweep")
    common.add_store(parser)
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help="folder for the report files (default: only print the table)"
    )
    parser.add_argument(
        "--publish", metavar="URI", help="store to which the report files are written, below reports/NAME/"
    )
    parser.add_argument(
        "--format",
        metavar="LIST",
        default="html,md,csv",
        help="comma-separated file types: html, md, tex, csv, parquet; svg, pdf: the figures (default: html,md,csv)",
    )
    tables = parser.add_argument_group("layout of the main tables")
    tables.add_argument(
        "--columns",
        metavar="LIST",
        help="comma-separated metrics, in this order (default: those of the sweep's report)",
    )
    tables.add_argument("--transpose", action="store_true", help="metrics in rows, arms in columns")
    tables.add_argument(
        "--sd",
        action="store_true",
        help="standard deviations over seeds after the ±, not half-widths of 95 %% intervals",
    )
    parser.add_argument(
        "--redraw",
        action="store_true",
        help="first fill the test images on which the arms differ most, with the final checkpoint of each arm",
    )
    parser.add_argument(
        "--redraw-arm",
        metavar="ARM",
        action="append",
        default=[],
        help="with --redraw, once for each of two or more arms: the images on which these arms differ, for them alone",
    )
    common.add_data(parser, "folder of the data sets, for --redraw (default: $SWEEPS_DATA)")
    common.add_json(parser)

    parser = verbs.add(claims, "claims", "print the claims of all studies: published value, measured value, verdict")
    parser.add_argument("name", metavar="NAME", nargs="*", help="name of a sweep (default: all)")
    parser.add_argument(
        "--all",
        action="store_true",
        help="also print claims of studies that were not run (--csv and --json, and a store without claims, have them)",
    )
    common.add_store(parser)
    parser.add_argument(
        "--csv",
        action="store_true",
        help="print CSV, which includes the source of each claim and the evidence for its verdict",
    )
    common.add_json(parser)

    parser = verbs.add(
        compare,
        "compare",
        "compare two sweeps, or one sweep in two stores, and show which results differ by more than noise; or compare "
        "two files of `sweeps score`",
    )
    parser.add_argument("before", metavar="A", help="name of a sweep, or a file of scores (.json)")
    parser.add_argument(
        "after",
        metavar="B",
        nargs="?",
        help="name of the other sweep (default: A in the store of --with-store), or the other file of scores",
    )
    parser.add_argument(
        "--mix",
        action="store_true",
        help="compare what different protocols rated, or one on different images, all the same; the note says what "
        "differs",
    )
    common.add_store(parser)
    parser.add_argument("--with-store", metavar="URI", help="store of B (default: the same store)")
    common.add_json(parser)

    parser = verbs.add(reproduce, "reproduce", "run finished trials again and report which numbers changed")
    common.add_sweep_name(parser)
    common.add_store(parser)
    common.add_data(parser)
    parser.add_argument(
        "--address",
        help="where to run: in-process, local, auto or HOST:PORT (default: local for "
        "trials of several workers, otherwise in-process)",
    )
    parser.add_argument("--cell", metavar="ARM", help="reproduce only this arm")
    parser.add_argument("--seed", metavar="N", type=int, help="reproduce only this seed")
    parser.add_argument("--into", metavar="URI", help="store for the new results (default: they are deleted)")
    common.add_json(parser)

    parser = verbs.add(
        export_test, "export-test", "write the damaged test images and masks of a sweep, for another system to fill"
    )
    common.add_sweep_name(parser)
    common.add_store(parser)
    common.add_data(parser)
    parser.add_argument("--arm", metavar="ARM", help="arm whose images and masks are written (default: the baseline)")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="output folder")
    parser.add_argument(
        "--protocol",
        action="store_true",
        help="write the images of the sweep's protocol alone, as export-protocol does, for `sweeps score`",
    )
    common.add_json(parser)

    parser = verbs.add(export_to, "export-to", "write the finished trials of a sweep for another tool")
    parser.add_argument("tool", metavar="TOOL", choices=("tensorboard", "mlflow", "wandb"), help="%(choices)s")
    common.add_sweep_name(parser)
    common.add_store(parser)
    parser.add_argument(
        "--out",
        metavar="PLACE",
        help="folder for tensorboard (default: ./tensorboard), tracking URI for mlflow, project for wandb",
    )
    common.add_json(parser)

    parser = verbs.add(archive, "archive", "write sweeps to one file, which --store reads: to publish, commit or send")
    parser.add_argument("name", metavar="NAME", nargs="*", help="name of a sweep (default: all)")
    common.add_store(parser)
    parser.add_argument("--out", metavar="FILE.zip", type=Path, required=True, help="the file; an archive is replaced")
    parser.add_argument(
        "--parts",
        metavar="LIST",
        default="pictures,scores",
        help="comma-separated parts beside plans and results: pictures (sample images), scores (of each test image), "
        "logs, weights, notes (of people, with their names) (default: pictures,scores)",
    )
    common.add_json(parser)

    parser = verbs.add(
        audit, "audit", "tell what a CSV table of methods and seeds (or images), from anywhere, can decide and what not"
    )
    parser.add_argument("file", metavar="FILE.csv", type=Path, help="one row for each value, or for each method")
    parser.add_argument("--metric", metavar="COLUMN", help="column of the values, where the file has several")
    parser.add_argument(
        "--goal",
        choices=("max", "min"),
        help="whether higher or lower values are better (default: by the metric's name, max if it is unknown)",
    )
    common.add_json(parser)


def report(options: argparse.Namespace) -> int:
    from analysis.report import formats
    from sweeps.cli import console

    kinds = options.format.split(",")
    columns = [name.strip() for name in options.columns.split(",")] if options.columns else ()
    store = api.open(options.store)
    reports, files = [], []
    for name in options.name:
        built = api.report(store, name, columns=columns, transpose=options.transpose, sd=options.sd)
        reports.append(built)
        if not options.json:
            console.show(formats.terminal(built))
        if options.redraw:
            redrawn = api.redraw(store, built, options.data, options.redraw_arm)
            if not options.json:
                _print_redrawn(name, redrawn)
        written: list[object] = []
        if options.out is not None:
            written += api.write_report(built, options.out, kinds)
        if options.publish is not None:
            target = api.open(options.publish)
            written += [f"{target.uri}/{key}" for key in api.publish_report(built, target, kinds)]
        files += [str(file) for file in written]
        for file in written if not options.json else ():
            print(file)
    if options.json:
        from sweeps.cli.programs import json_document, result_json

        found = [result_json.reported(one) for one in reports]
        json_document.write(result_json.ReportOutput(reports=found, files=files))
    return common.DONE


def _print_redrawn(name: str, redrawn: api.RedrawnImages | None) -> None:
    if redrawn is None:
        print(f"{name}: nothing to redraw, because no two arms have values of single test images")
        return
    for arm, why in redrawn.skipped.items():
        print(f"{arm}: not drawn, because {why}")
    drawn = f"{count(redrawn.images, 'disputed image')} drawn for {count(len(redrawn.drawn), 'arm')}"
    print(f"{name}: {drawn}; {count(redrawn.kept, 'arm')} had them")


def claims(options: argparse.Namespace) -> int:
    from analysis.claims import overview
    from sweeps.cli import console

    lines = api.claims(options.store, options.name)
    if options.json:
        from sweeps.cli.programs import json_document, result_json

        json_document.write(result_json.claims(lines))
    elif options.csv:
        print(overview.to_csv(lines), end="")
    else:
        judged = [line for line in lines if line.verdict != overview.NOT_RUN]
        shown = lines if options.all else judged or lines
        console.show(overview.terminal(shown))
        if left_out := len(lines) - len(shown):
            print(f"Not run: {count(left_out, 'more claim')} of shipped studies; `sweeps claims --all` lists them.")
        tiny = [] if options.name else [name for name in api.open(options.store) if name.endswith(f"-{sizes.TINY}")]
        if tiny:
            print(f"Not shown: {', '.join(tiny)}; `sweeps claims {tiny[0]}` does.")
    return common.DONE


def compare(options: argparse.Namespace) -> int:
    from analysis.report import compare_sweeps
    from sweeps.cli import console
    from sweeps.cli.protocols import verbs

    if verbs.are_scores(options):
        return verbs.compare_scores(options)
    before, after = options.before, options.after
    comparison = api.compare(options.store, before, after, after_store=options.with_store, mix=options.mix)
    if options.json:
        from sweeps.cli.programs import json_document, result_json

        json_document.write(result_json.comparison(comparison))
        return common.FAILED if comparison.drifted else common.DONE
    console.show(compare_sweeps.terminal(comparison.arms))
    for sentence in (*comparison.mixed, *comparison.unmatched):
        print(sentence)
    return common.FAILED if comparison.drifted else common.DONE


def reproduce(options: argparse.Namespace) -> int:
    from sweeps.cli.programs import json_document, result_json
    from sweeps.cli.progress_display import RunDisplay

    trials = api.reproduce(
        options.store,
        options.name,
        api.RunOptions(address=options.address, data=options.data, command=options.command),
        RunDisplay(options.store, quiet=options.json),
        arm=options.cell,
        seed=options.seed,
        into=options.into,
    )
    lines = [_reproduced(trial) for trial in trials]
    changed = sum(line.state in ("changed", "not finished") for line in lines)
    if options.json:
        json_document.write(result_json.ReproduceOutput(trials=lines))
    else:
        for trial, line in zip(trials, lines, strict=True):
            print(f"{line.label}: {_in_words(line, trial.tolerance)}")
        print(f"{len(trials)} finished trials run again, {changed} changed")
    return common.FAILED if changed or not trials else common.DONE


def _reproduced(trial: Reproduction) -> result_json.ReproducedTrial:
    from analysis.report import compare_sweeps
    from sweeps.cli.programs import result_json

    if trial.after is None:
        return result_json.ReproducedTrial(label=trial.label, state="not finished", change="")
    change = compare_sweeps.history_change(trial.before, trial.after)
    if change is None:
        return result_json.ReproducedTrial(label=trial.label, state="same", change="")
    state: Literal["changed", "within tolerance"] = "changed" if change.exceeds(trial.tolerance) else "within tolerance"
    return result_json.ReproducedTrial(label=trial.label, state=state, change=str(change))


def _in_words(line: result_json.ReproducedTrial, tolerance: float) -> str:
    return {
        "same": "the same numbers, to the last bit",
        "within tolerance": f"the same numbers within {tolerance:.1%}, as one process ran it",
        "changed": line.change,
        "not finished": "did not finish again",
    }[line.state]


def _protocol_as_given(stored: Json) -> str:
    """The name or the file of the protocol of a stored plan, as its sweep file or `--set` has it."""
    from sweeps.spec import loader, yaml_document

    source = yaml_document.parse(stored["text"], stored["file"])
    given = loader.adapt(source, sizes.size_of(stored), tuple(stored["changes"])).spec.protocol
    return given if isinstance(given, str) else given.name if given else "NAME"


def export_test(options: argparse.Namespace) -> int:
    images = api.export_test(
        options.store, options.name, options.out, arm=options.arm, data=options.data, protocol=options.protocol
    )
    if options.json:
        from sweeps.cli.programs import json_document, result_json

        damaged, masks = (str(options.out / name) for name in ("damaged", "masks"))
        json_document.write(result_json.ExportTestOutput(images=images, damaged=damaged, masks=masks))
        return common.DONE
    written = f"{count(images, 'image')} in {options.out / 'damaged'}"
    print(f"{written}, their masks in {options.out / 'masks'} (white: fill this)")
    if options.protocol:
        given = _protocol_as_given(api.newest_plan(options.store, options.name))
        where = " in the folder of the sweep file" if given.endswith((".yaml", ".yml")) else ""
        print(f"fill them into a folder under the same names, then type{where}")
        print(f"  sweeps score FOLDER --protocol {given} --truth {options.out.resolve()}")
        return common.DONE
    print("fill them into a folder under the same names, then add an arm to the sweep file:")
    print(f"  - {{name: theirs, outputs: {options.out.resolve() / 'filled'}}}")
    return common.DONE


def export_to(options: argparse.Namespace) -> int:
    number, place = api.export_to(options.store, options.name, options.tool, options.out)
    if options.json:
        from sweeps.cli.programs import json_document, result_json

        json_document.write(result_json.ExportToOutput(name=options.name, runs=number, place=place))
        return common.DONE
    print(f"{options.name}: {count(number, 'run')} written to {place}")
    return common.DONE


def archive(options: argparse.Namespace) -> int:
    parts = [part.strip() for part in options.parts.split(",") if part.strip()]
    packed = api.archive(options.store, options.out, options.name, parts=parts)
    if options.json:
        from sweeps.cli.programs import json_document, result_json

        json_document.write(
            result_json.ArchiveOutput(
                file=str(packed.file),
                sweeps=packed.sweeps,
                trials=packed.trials,
                objects=packed.objects,
                size_bytes=packed.size_bytes,
            )
        )
        return common.DONE
    size = f"{packed.size_bytes / 1e6:.1f} MB"
    print(f"{packed.file}: {size}, {count(packed.sweeps, 'sweep')}, {count(packed.trials, 'trial')}")
    print(f"sweeps report NAME --store {packed.file}")
    return common.DONE


def audit(options: argparse.Namespace) -> int:
    from analysis.audit import audit_text
    from sweeps.cli import console

    found = api.audit(options.file, metric=options.metric, goal=options.goal)
    if options.json:
        from sweeps.cli.programs import audit_json, json_document

        json_document.write(audit_json.audit(found))
    else:
        console.show(audit_text.terminal(found))
    return common.DONE if found.tested else common.FAILED
