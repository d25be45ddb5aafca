"""Verbs about named evaluations: list them, export the images and masks of one, and rate fills by one."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sweeps.api.protocols import named, scoring
from sweeps.cli import common
from sweeps.errors import SweepError

if TYPE_CHECKING:
    from analysis.scores.table import ScoreTable


def register(verbs: common.Verbs) -> None:
    parser = verbs.add(protocols, "protocols", "list the named evaluations: images, masks and metrics with one hash")
    common.add_json(parser)

    parser = verbs.add(
        export_protocol, "export-protocol", "write the images and masks of a protocol, for any program to fill"
    )
    name = parser.add_argument("protocol", metavar="PROTOCOL", help="name of a protocol, or a YAML file")
    common.complete(name, _names, files=True)
    _add_images(parser, "folder of the photographs")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="output folder")
    common.add_json(parser)

    parser = verbs.add(
        score, "score", "rate the fills or detections of any program by a protocol; needs no sweep and no store"
    )
    parser.add_argument(
        "fills",
        metavar="[NAME=]FOLDER",
        nargs="+",
        help="filled images, or maps of detections, named like those of the protocol, or a CSV file image,score; a "
        "NAME that is given several times has several seeds",
    )
    name = parser.add_argument(
        "--protocol", metavar="PROTOCOL", required=True, help="name of a protocol, or a YAML file"
    )
    common.complete(name, _names, files=True)
    _add_images(
        parser,
        "folder of the photographs, or one that export-protocol has written; for detections, of the true masks, or a "
        "CSV file image,label",
    )
    parser.add_argument("--out", metavar="FILE.json", type=Path, help="file for the scores, which `compare` reads")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--latex", action="store_true", help="print the table as LaTeX")
    common.add_json(form)  # type: ignore[arg-type]  # a group has `add_argument` too


def _add_images(parser: argparse.ArgumentParser, truth: str) -> None:
    parser.add_argument("--truth", metavar="DIR", type=Path, required=True, help=truth)
    parser.add_argument(
        "--masks", metavar="DIR", type=Path, help="folder of the published masks, if those of the protocol are files"
    )


def _names() -> list[str]:
    from sweeps.protocols import files

    return files.names()


def protocols(options: argparse.Namespace) -> int:
    from rich.text import Text

    from sweeps.cli import console

    found = named.list_protocols()
    if options.json:
        from sweeps.cli.programs import json_document, protocol_json

        json_document.write(protocol_json.protocols(found))
        return common.DONE
    table = console.make_table("protocol", "hash", "masks", "evaluates")
    for one in found:
        table.add_row(*(Text(cell) for cell in (one.name, one.hash, one.content.equality, one.content.about)))
    console.show(table)
    print("sweeps describe PROTOCOL prints all of one, and how its masks were compared with the authors'")
    return common.DONE


def export_protocol(options: argparse.Namespace) -> int:
    known, count = named.export_protocol(options.protocol, options.truth, options.out, masks=options.masks)
    if options.json:
        from sweeps.cli.programs import json_document, protocol_json

        folder = str(options.out)
        json_document.write(
            protocol_json.ExportProtocolOutput(name=known.name, hash=known.hash, images=count, folder=folder)
        )
        return common.DONE
    print(f"{known.name} {known.hash}: {count:,} images in {options.out / 'damaged'}, with black holes")
    print(f"their masks are in {options.out / 'masks'} (white: fill this), the originals in {options.out / 'images'}")
    print("fill them into a folder under the same names, then")
    print(f"  sweeps score FOLDER --protocol {options.protocol} --truth {options.out}")
    return common.DONE


def score(options: argparse.Namespace) -> int:
    if options.out is not None:
        _check_out(options.out)
    found = scoring.score(
        _folders(options.fills), options.protocol, options.truth, masks=options.masks, progress=_progress
    )
    if options.out is not None:
        scoring.write_scores(found, options.out)
    _print(scoring.score_table(found), options.json, options.latex)
    if options.out is not None and not options.json and not options.latex:
        print(options.out)
    return common.DONE


def _check_out(file: Path) -> None:
    """Raise SweepError or OSError now for a file that cannot be written after all images were rated."""
    import tempfile

    if file.suffix != ".json" or file.is_dir():
        why = "`compare` tells files of scores from sweeps by this ending"
        raise SweepError(f"--out {file}", why, "a file that ends in .json", f"--out {file}.json")
    file.parent.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=file.parent).close()


def _folders(given: list[str]) -> dict[str, list[str | Path]]:
    """Name -> its folders. A folder without a name is called like itself, even if its path has a `=`."""
    found: dict[str, list[str | Path]] = {}
    unnamed: set[str] = set()
    for text in given:
        name, equals, folder = ("", "", text) if Path(text).exists() else text.partition("=")
        if not equals:
            path = Path(text).resolve()
            name, folder = path.stem if path.suffix.lower() == ".csv" else path.name, text
        if name in found and (name in unnamed or not equals):
            why = f"another folder is called {name!r} too"
            allowed = "NAME=FOLDER where folders have the same name; the same NAME several times for several seeds"
            raise SweepError(text, why, allowed, f"first={found[name][0]} second={text}")
        if not name or not folder:
            raise SweepError(text, "a part is missing", "NAME=FOLDER, or FOLDER", "lama=fills/lama")
        found.setdefault(name, []).append(folder)
        unnamed |= set() if equals else {name}
    return found


def _progress(done: int, of: int) -> None:
    """How many images are done, on one line of a terminal."""
    if sys.stderr.isatty():
        print(f"\r{done:,} of {of:,} images", end="\n" if done == of else "", file=sys.stderr, flush=True)


def _print(table: ScoreTable, as_json: bool, as_latex: bool = False) -> None:
    from analysis.scores import score_text
    from sweeps.cli import console

    if as_json:
        from sweeps.cli.programs import json_document, protocol_json

        json_document.write(protocol_json.scored(table))
    elif as_latex:
        print(score_text.latex(table), end="")
    else:
        console.show(score_text.terminal(table))


# --- compare ----------------------------------------------------------------------------------------------------------


def are_scores(options: argparse.Namespace) -> bool:
    """Whether the arguments of `compare` are files of scores. SweepError if only one is."""
    given = [text for text in (options.before, options.after) if text is not None]
    files = [text for text in given if text.endswith(".json")]
    if files and len(files) < 2:
        raise SweepError(
            f"sweeps compare {' '.join(given)}",
            "a file of scores is compared with another one, and a sweep with a sweep",
            "two names of sweeps, or two files that `sweeps score --out FILE.json` has written",
            f"sweeps compare {files[0]} OTHER.json",
        )
    return bool(files)


def compare_scores(options: argparse.Namespace) -> int:
    """The fills of both files in one table."""
    _print(scoring.compare_scores([options.before, options.after], mix=options.mix), options.json)
    return common.DONE
