"""Verbs that use trained networks: make a forged set, predict for images, export."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sweeps import api
from sweeps.api.arguments import make_folder
from sweeps.cli import common


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
        help="false positive rate of a detector on authentic validation images, for its threshold (default: 0.05)",
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
    predictions = api.predict(
        options.store,
        options.trial,
        options.image,
        mask=options.mask,
        text=options.text,
        resize=options.resize,
        false_positive_rate=options.fpr,
    )
    make_folder(options.out)
    failed = False
    for prediction in predictions:
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
    return common.USER_ERROR if failed else common.DONE


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
