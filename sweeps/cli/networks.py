"""Verbs that use what was trained: forge a set, predict for an image, export a network."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.cli import common

if TYPE_CHECKING:
    from sweeps.store.base import Store

Use = Callable[[Any], dict[str, bytes]]
"""From a `trainables.inference.user_images.Picture` to files, by the end of their names."""
_KEPT: dict[tuple[Any, ...], tuple[Any, Any]] = {}
"""A trial and its network by store, trial and result, the one last asked for last."""
_kept_trials = 0


def forge(options: argparse.Namespace) -> int:
    """Make the set of a forge file, or go on with it."""
    from cluster.driver import forging
    from cluster.worker import inputs

    store = common.store(options)
    resolved = _forge_block(options.file, store)
    set_id = forging.ensure(store, resolved, Path(options.data).resolve() if options.data else None, options.quiet)
    if not options.quiet:
        done = json.loads(store.get(inputs.set_key(set_id, inputs.DONE)))
        print(f"forged set {set_id}")
        for split, counts in done["counts"].items():
            print(f"{split:6} {', '.join(f'{count:,} {kind}' for kind, count in counts.items())}")
        pairs = done["near_duplicates"]["pairs"]
        print(f"near duplicates across splits: {pairs:,} pairs{'; index.json lists them' if pairs else ''}")
        if done["skipped"]:
            print(f"left out, as they could not be used: {len(done['skipped']):,}; done.json names them")
        print(f"lies in {store.uri}/{inputs.set_key(set_id)}, with its data card: card.md")
    return common.DONE


def _forge_block(file: Path, store: Store) -> dict[str, Any]:
    """The resolved block in a forge file; what it takes from sweeps is read as in a sweep file."""
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
    """Use a finished trial's network on image files; a file that cannot be used is told, and the others go on."""
    from cluster.worker import finished_trial
    from sweeps.cli import console
    from sweeps.errors import SweepError
    from trainables.errors import TrialError
    from trainables.inference import user_images
    from trainables.inference.predict import check_text, output_names

    store = common.store(options)
    trial_id = console.find_trial(store, options.trial)
    result = finished_trial.newest_result(store, trial_id, "which is to predict")
    key = (store.uri, trial_id, result["attempt"], result["epochs"])
    trial, network = _KEPT.get(key) or (finished_trial.read(store, trial_id, "which is to predict"), None)
    if trial.task not in ("inpaint", "detect"):
        raise SweepError(f"trial {trial.trial_id}", f"its task is {trial.task}", "inpaint or detect", "another trial")
    if (options.mask is None) == (trial.task == "inpaint"):
        why = "an inpainter needs a hole to fill" if trial.task == "inpaint" else "a detector looks for the hole itself"
        fix = "--mask 10,10,40,30, or --mask FILE" if trial.task == "inpaint" else "leave --mask out"
        raise SweepError(f"trial {trial.trial_id} of task {trial.task}", why, "--mask with inpainters alone", fix)
    if options.text is not None:
        check_text(trial.config)
    network = network or _network(trial)
    _keep(key, (trial, network))
    fills = trial.task == "inpaint"
    use = _filling(trial, network, options.mask, options.text) if fills else _detecting(trial, network)
    failed = 0
    common.make_folder(options.out)
    for file, name in zip(options.image, output_names(options.image), strict=True):
        try:
            found = use(user_images.read(file))
        except TrialError as error:
            if len(options.image) == 1:
                raise
            print(f"error: {error}", file=sys.stderr)
            failed += 1
            continue
        for suffix, data in found.items():
            (options.out / f"{name}.{suffix}").write_bytes(data)
            print(options.out / f"{name}.{suffix}")
    return common.USER_ERROR if failed else common.DONE


def keep(trials: int) -> None:
    """Let `predict` keep so many trained networks in memory, for a process that is asked again and again."""
    global _kept_trials
    _kept_trials = trials


def _keep(key: tuple[Any, ...], loaded: tuple[Any, Any]) -> None:
    """Keep a trial and its network as those last asked for; those that were not asked for the longest go."""
    _KEPT.pop(key, None)
    _KEPT[key] = loaded
    while len(_KEPT) > _kept_trials:
        _KEPT.pop(next(iter(_KEPT)))


def _network(trial: Any) -> Any:
    """The network of a `cluster.worker.finished_trial.Trained`, on the device."""
    from cluster.driver import forging
    from trainables.inference import predict

    load = predict.inpainter if trial.task == "inpaint" else predict.detector
    return load(trial.config, trial.weights, forging.device())


def _filling(trial: Any, network: Any, mask: str, text: str | None) -> Use:
    """trial: a `cluster.worker.finished_trial.Trained`, as below."""
    from trainables.inference import predict, user_images

    def use(picture: Any) -> dict[str, bytes]:
        hole_hw = user_images.read_hole(mask, picture)
        predict.check_hole(trial.config, hole_hw)
        filled = predict.fill(network, trial.config["data"]["size"], picture, hole_hw, text)
        return {"filled.png": picture.png(filled)}

    return use


def _detecting(trial: Any, network: Any) -> Use:
    from trainables.inference import predict

    threshold = trial.last("val/threshold")

    def use(picture: Any) -> dict[str, bytes]:
        found = predict.find(network, trial.config, 0.5 if threshold is None else threshold, picture)
        print(f"{picture.file}: {found.label}, probability {found.probability:.3f} (threshold {found.threshold:.3f})")
        return predict.files(found, picture)

    return use


def export(options: argparse.Namespace) -> int:
    """Write a finished trial's network for use elsewhere."""
    from cluster.worker import finished_trial
    from sweeps.cli import console
    from trainables.inference import export

    store = common.store(options)
    trial = finished_trial.read(store, console.find_trial(store, options.trial), "which is to be exported")
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
