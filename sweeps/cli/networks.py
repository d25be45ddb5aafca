"""Verbs that use trained networks: make a forged set, predict for images, export."""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sweeps import api
from sweeps.api.arguments import make_folder
from sweeps.cli import common
from sweeps.errors import SweepError

if TYPE_CHECKING:
    from cluster.worker.prediction import Prediction


def register(verbs: common.Verbs) -> None:
    parser = verbs.add(forge, "forge", "make a set of real and inpainted images, or continue an unfinished one")
    parser.add_argument("file", metavar="FILE", type=Path, help="forge file (YAML): the content of `data.forged`")
    common.add_store(parser)
    common.add_data(parser)
    common.add_quiet(parser)

    parser = verbs.add(
        predict, "predict", "use a trained network to fill a hole in images or to find inpainted regions in them"
    )
    common.add_trial(parser, "id of a finished trial, or the start of it")
    parser.add_argument("image", metavar="IMAGE", nargs="+", type=Path, help="image files of any format and size")
    common.add_store(parser)
    parser.add_argument(
        "--mask", metavar="FILE|X,Y,W,H", help="the hole to fill: an image in which it is white, or a rectangle in px"
    )
    parser.add_argument("--text", metavar="CAPTION", help="what the images show, for an inpainter that takes captions")
    parser.add_argument(
        "--resize",
        action="store_true",
        help="give the network a copy of the whole image, resized to its square, not windows of the image",
    )
    add_rate(parser)
    parser.add_argument(
        "--authentic",
        metavar="DIR",
        type=Path,
        help="of a detector: take its threshold from these photographs, which are known to be authentic, 19 or more "
        "for a rate of 0.05 (default: the trial's validation images)",
    )
    parser.add_argument(
        "--to-score",
        metavar="DIR",
        type=Path,
        help="of a detector: also write DIR/scores.csv and, with a mask head, DIR/maps, which `sweeps score` rates",
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path(), help="output folder (default: the current folder)"
    )

    parser = verbs.add(export, "export", "write a trained network for use in other programs, with a model card")
    common.add_trial(parser, "id of a finished trial, or the start of it")
    common.add_store(parser)
    parser.add_argument("--out", metavar="DIR", type=Path, help="output folder (default: export-TRIAL)")
    parser.add_argument(
        "--format",
        metavar="LIST",
        default="safetensors,exported",
        help="comma-separated: safetensors (weights), exported (torch.export program), onnx (needs the packages onnx, "
        "onnxscript and onnxruntime) (default: safetensors,exported)",
    )
    add_rate(parser)


def add_rate(parser: argparse.ArgumentParser) -> None:
    """Add the false positive rate that determines the threshold of a detector."""
    parser.add_argument(
        "--fpr",
        metavar="RATE",
        type=float,
        default=0.05,
        help="false positive rate of a detector on authentic images, for its threshold (default: 0.05)",
    )


def forge(options: argparse.Namespace) -> int:
    store = api.open(options.store)
    loaded = api.load_forge(options.file, store)
    for key, trial in loaded.trials.items():
        print(f"{key} is trial {trial}")
    made = api.forge(loaded, store, data=options.data, quiet=options.quiet)
    if not options.quiet:
        print(f"forged set {made.set_id}")
        for split, counts in made.counts.items():
            print(f"{split:6} {', '.join(f'{count:,} {kind}' for kind, count in counts.items())}")
        pairs = made.near_duplicates
        print(f"near duplicates across splits: {pairs:,} pairs{', listed in index.json' if pairs else ''}")
        for leak in made.leaks[:20]:
            print(f"photograph in two splits: {leak}")
        if len(made.leaks) > 20:
            print(f"and {len(made.leaks) - 20:,} more photographs in two splits")
        if made.skipped:
            print(f"images that could not be used: {made.skipped:,}, listed in done.json")
        print(f"stored in {store.uri}/{made.key} with its data card, card.md")
    return common.DONE


def predict(options: argparse.Namespace) -> int:
    """Write the output files of each image. One of several images that cannot be used does not stop the others."""
    to_score = _to_score(options)
    predictions = api.predict(
        options.store,
        options.trial,
        options.image,
        mask=options.mask,
        text=options.text,
        resize=options.resize,
        false_positive_rate=options.fpr,
        authentic=options.authentic,
    )
    make_folder(options.out)
    failed = False
    for prediction in predictions:
        if to_score is not None and prediction.score is not None:
            to_score.add(prediction)
        if prediction.error is not None:
            if len(options.image) == 1:
                raise prediction.error
            print(f"error: {prediction.error}", file=sys.stderr)
            failed = True
        if prediction.note:
            print(f"note: {prediction.note}", file=sys.stderr)
        if prediction.summary:
            print(prediction.summary)
        for suffix, data in prediction.files.items():
            path = options.out / f"{prediction.name}.{suffix}"
            path.write_bytes(data)
            print(path)
    if to_score is not None:
        for path in to_score.write():
            print(path)
    return common.USER_ERROR if failed else common.DONE


class ScoreFolder:
    """What a detector says of images, in the form that `sweeps score` rates: one number, and a map if it has some."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows: list[tuple[str, str]] = []

    def add(self, prediction: Prediction) -> None:
        """Write the map of an image, and keep its number."""
        self._rows.append((prediction.image.name, repr(prediction.score)))
        score_map = prediction.score_map()
        if score_map is not None:
            make_folder(self._folder / "maps")
            (self._folder / "maps" / f"{prediction.image.stem}.png").write_bytes(score_map)

    def write(self) -> list[Path]:
        """Write the numbers of all images; returns what can be rated."""
        make_folder(self._folder)
        file, maps = self._folder / "scores.csv", self._folder / "maps"
        with file.open("w", newline="", encoding="utf-8") as opened:
            csv.writer(opened).writerows([("image", "score"), *self._rows])
        return [file, *([maps] if maps.is_dir() else [])]


def _to_score(options: argparse.Namespace) -> ScoreFolder | None:
    """The folder of --to-score. SweepError for an inpainter, for two images of one name, and for a folder in use."""
    folder: Path | None = options.to_score
    if folder is None:
        return None
    why, fix = "", ""
    stems = [image.stem for image in options.image]
    twice = next((stem for number, stem in enumerate(stems) if stem in stems[:number]), None)
    if options.mask is not None:
        why, fix = (
            "an inpainter gives no detections",
            "sweeps export-protocol NAME, fill its images, and sweeps score them",
        )
    elif twice is not None:
        why, fix = f"two images are called {twice!r}, and results are rated by name", "rename one of the two"
    elif folder.exists() and not folder.is_dir():
        why, fix = "it is a file", "name another folder"
    elif folder.is_dir() and any(folder.iterdir()):
        why, fix = (
            "it is not empty: maps of other images would be rated, too",
            "name another folder, or remove it first",
        )
    if why:
        raise SweepError(f"--to-score {folder}", why, "a new folder, for images of different names and a detector", fix)
    return ScoreFolder(folder)


def export(options: argparse.Namespace) -> int:
    exported = api.export(
        options.store,
        options.trial,
        options.out,
        formats=options.format.split(","),
        false_positive_rate=options.fpr,
    )
    for path in exported.files:
        print(path)
    for note in exported.notes:
        print(f"note: {note}", file=sys.stderr)
    return common.DONE
