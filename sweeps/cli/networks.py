"""Verbs that use trained networks: make a forged set, predict for images, export."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps import api
from sweeps.cli import common

if TYPE_CHECKING:
    from sweeps.store.base import Store


def register(verbs: common.Verbs) -> None:
    parser = verbs.add(forge, "forge", "make a set of real and inpainted images, or continue an unfinished one")
    parser.add_argument("file", metavar="FILE", type=Path, help="forge file (YAML): the content of `data.forged`")
    common.add_store(parser)
    common.add_data(parser)
    common.add_quiet(parser)

    parser = verbs.add(
        predict, "predict", "fill a hole in images, or find inpainted regions in them, with a trained network"
    )
    common.add_trial(parser, "id of a finished trial, or the start of it")
    parser.add_argument("image", metavar="IMAGE", nargs="+", type=Path, help="image files of any format and size")
    common.add_store(parser)
    parser.add_argument("--mask", metavar="FILE|X,Y,W,H", help="the hole: white in an image, or a rectangle in px")
    parser.add_argument("--text", metavar="CAPTION", help="what the images show, for an inpainter that takes captions")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path(), help="output folder (default: the current folder)"
    )

    parser = verbs.add(export, "export", "write a trained network as safetensors, with a model card")
    common.add_trial(parser, "id of a finished trial, or the start of it")
    common.add_store(parser)
    parser.add_argument("--out", metavar="DIR", type=Path, help="output folder (default: export-TRIAL)")
    parser.add_argument(
        "--format",
        metavar="LIST",
        default="safetensors,exported",
        help="file types, from safetensors,exported,torchscript (default: safetensors,exported)",
    )


def forge(options: argparse.Namespace) -> int:
    from cluster.driver import forging
    from cluster.worker import inputs

    store = api.open(options.store)
    resolved = _forge_block(options.file, store)
    set_id = forging.ensure(store, resolved, common.data_root(options), options.quiet)
    if not options.quiet:
        done = json.loads(store.get(inputs.set_key(set_id, inputs.DONE)))
        print(f"forged set {set_id}")
        for split, counts in done["counts"].items():
            print(f"{split:6} {', '.join(f'{count:,} {kind}' for kind, count in counts.items())}")
        pairs = done["near_duplicates"]["pairs"]
        print(f"near duplicates across splits: {pairs:,} pairs{', listed in index.json' if pairs else ''}")
        if done["skipped"]:
            print(f"images that could not be used: {len(done['skipped']):,}, listed in done.json")
        print(f"stored in {store.uri}/{inputs.set_key(set_id)} with its data card, card.md")
    return common.DONE


def _forge_block(file: Path, store: Store) -> dict[str, Any]:
    """The resolved block of a forge file; references to sweeps are resolved as in a sweep file."""
    from sweeps.spec import dependencies, yaml_document
    from sweeps.spec.loader import Sweep
    from trainables.forgery import config as forgery_config

    source = yaml_document.read(file)
    place: yaml_document.Place = ("base", "data", "forged")
    source.value = {"name": file.stem, "task": "detect", "base": {"data": {"forged": source.value}}}
    source.origins = {(*place, *at): origin for at, origin in source.origins.items()}
    pinned = dependencies.pin(Sweep(source), file.parent, store)
    for key, trial in pinned.pins.items():
        print(f"{key} is trial {trial}")
    return forgery_config.resolve_forge(pinned.spec.base["data"]["forged"])


def predict(options: argparse.Namespace) -> int:
    """Write the output files of each image. One of several images that cannot be used does not stop the others."""
    predictions = api.predict(options.store, options.trial, options.image, mask=options.mask, text=options.text)
    common.make_folder(options.out)
    failed = False
    for prediction in predictions:
        if prediction.error is not None:
            if len(options.image) == 1:
                raise prediction.error
            print(f"error: {prediction.error}", file=sys.stderr)
            failed = True
        if prediction.summary:
            print(prediction.summary)
        for suffix, data in prediction.files.items():
            path = options.out / f"{prediction.name}.{suffix}"
            path.write_bytes(data)
            print(path)
    return common.USER_ERROR if failed else common.DONE


def export(options: argparse.Namespace) -> int:
    from cluster.worker import finished_trial
    from trainables.inference import export

    store = api.open(options.store)
    trial = finished_trial.read(store, api.find_trial(store, options.trial), "needed for the export")
    formats = export.check_formats(tuple(options.format.split(",")))
    folder = options.out or Path(f"export-{trial.trial_id}")
    common.make_folder(folder)
    made = export.files(trial.trial_id, trial.task, trial.config, trial.weights, trial.result, formats)
    for name, data in made.files.items():
        (folder / name).write_bytes(data)
        print(folder / name)
    for note in made.notes:
        print(f"note: {note}", file=sys.stderr)
    return common.DONE
