"""Trained networks in the Python interface: predict, export, make forged sets, write test images for other systems."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps import data_roots
from sweeps.api import arguments
from sweeps.api.results import newest_plan
from sweeps.data_roots import DataFolders
from sweeps.errors import SweepError

if TYPE_CHECKING:
    from cluster.worker.prediction import Prediction
    from sweeps.api.arguments import StoreLike
    from sweeps.store.layout import Json
    from trainables.training.session import Machine


# --- predictions and files of one trial -------------------------------------------------------------------------------


def find_trial(store: StoreLike, prefix: str) -> str:
    """The id of the trial that starts with `prefix`. SweepError if there is none or more than one."""
    from sweeps.store import listing

    ids = [name for name in listing.children(arguments.plain_store(store), "trials") if name.startswith(prefix)]
    if len(ids) != 1:
        why = "several trials start with it" if ids else "no trial starts with it"
        raise SweepError(
            f"trial {prefix!r}",
            why,
            ", ".join(ids[:8]) or "an id from `sweeps status NAME`",
            "sweeps status NAME lists the complete ids",
        )
    return ids[0]


def predict(
    store: StoreLike,
    trial: str,
    images: Sequence[str | Path],
    *,
    mask: str | None = None,
    text: str | None = None,
    resize: bool = False,
    false_positive_rate: float = 0.05,
    authentic: str | Path | None = None,
) -> Iterator[Prediction]:
    """Fill a hole in image files, or find inpainted regions, with the network of a finished trial.

    trial: its id or the start of it. mask: the hole for an inpainter, X,Y,W,H in px or an image in which it is white.
    text: what the images show, for an inpainter that takes captions. resize: give the network a copy of the whole image
    that is resized to its square, not windows at the image's own resolution. false_positive_rate: of a detector on
    authentic images, which determines its threshold. authentic: a folder of photographs that are known to be authentic,
    which give the threshold, at least 1 / rate - 1 of them; None: the validation images of the trial. The network is
    loaded and authentic photographs are read at once; the images are processed one by one, and an image that cannot be
    used gives a prediction with its error.
    """
    from cluster.worker import prediction

    store = arguments.plain_store(store)
    files = [Path(image) for image in images]
    folder = None if authentic is None else Path(authentic)
    return prediction.predictions(
        store, find_trial(store, trial), files, mask, text, resize, false_positive_rate, folder
    )


@dataclass(frozen=True)
class ExportedNetwork:
    """The files of an exported network."""

    files: list[Path]
    notes: list[str]
    """Formats that the network does not support, and why."""


def export(
    store: StoreLike,
    trial: str,
    out: str | Path | None = None,
    *,
    formats: Sequence[str] = ("safetensors", "exported"),
    false_positive_rate: float = 0.05,
) -> ExportedNetwork:
    """Write the network of a finished trial for other programs, with its configuration and a model card.

    trial: its id or the start of it. out: the folder, which is created; None: `export-TRIAL` in the current folder.
    formats: `safetensors` (weights), `exported` (a `torch.export` program), `onnx` (needs the packages onnx,
    onnxscript and onnxruntime). false_positive_rate: of a detector on
    authentic validation images; the card and the configuration state the threshold.
    Raises SweepError if the trial has not finished or the folder cannot be written, TrialError for an unknown format,
    for one that the network does not support, and for a trial without weights; then nothing is written.
    """
    from cluster.worker import finished_trial, prediction
    from trainables.inference import export

    store = arguments.plain_store(store)
    finished = finished_trial.read(store, find_trial(store, trial), "needed for the export")
    chosen = export.check_formats(tuple(formats))
    network = prediction.TrainedNetwork(finished, store)
    threshold = partial(network.threshold, false_positive_rate) if finished.task == "detect" else None
    if threshold:
        threshold(1)  # a rate or outputs that cannot be used are an error before the folder is made
    made = export.files(
        finished.trial_id, finished.task, finished.config, finished.weights, finished.result, chosen, threshold
    )
    folder = Path(out or f"export-{finished.trial_id}")
    arguments.make_folder(folder)
    for name, content in made.files.items():
        (folder / name).write_bytes(content)
    return ExportedNetwork([folder / name for name in made.files], made.notes)


# --- forged sets ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LoadedForge:
    """What a forged set is made from, as its file states it, with references to trials resolved."""

    block: Mapping[str, Any]
    trials: Mapping[str, Any]
    """The trials that its references stand for, by the key in the file."""


@dataclass(frozen=True)
class ForgeResult:
    """A complete forged set in a store."""

    set_id: str
    key: str
    """Key of its folder in the store."""
    counts: Mapping[str, Mapping[str, int]]
    """Number of images by split and kind."""
    near_duplicates: int
    """Pairs of near duplicates across splits, among the images at the set's size."""
    leaks: tuple[str, ...]
    """Photographs in two splits, in words: files, or copies of them, before they are cropped."""
    skipped: int
    """Images that could not be used."""


def load_forge(file: str | Path, store: StoreLike) -> LoadedForge:
    """Read and check a forge file, the content of `data.forged`. References to sweeps are resolved in the store.

    Raises SweepError for a mistake in the file and for a trial that the store lacks.
    """
    from sweeps.spec import dependencies, yaml_document
    from sweeps.spec.loader import Sweep
    from trainables.forgery import config as forgery_config

    path = Path(file)
    source = yaml_document.read(path)
    place: yaml_document.Place = ("base", "data", "forged")
    source.value = {"name": "forge", "task": "detect", "base": {"data": {"forged": source.value}}}
    source.origins = {(*place, *at): origin for at, origin in source.origins.items()}
    pinned = dependencies.pin(Sweep(source), path.parent, arguments.plain_store(store))
    return LoadedForge(forgery_config.resolve_forge(pinned.spec.base["data"]["forged"], path.parent), pinned.pins)


def forge(loaded: LoadedForge, store: StoreLike, *, data: DataFolders | None = None, quiet: bool = True) -> ForgeResult:
    """Make a set of real and inpainted images in the store, or continue an unfinished one.

    data: folder of the data sets; None: $SWEEPS_DATA. quiet: show no progress bar.
    Raises SweepError if an inpainter has not finished, TrialError if it does not fit or images are missing.
    """
    from cluster.driver import forging
    from cluster.worker import inputs
    from trainables.data.leaks import find_leaks

    store, root = arguments.plain_store(store), data_roots.local(data)
    set_id = forging.ensure(store, loaded.block, root, quiet)
    done = forging.read_done(store, set_id)
    return ForgeResult(
        set_id,
        inputs.set_key(set_id),
        done["counts"],
        done["near_duplicates"]["pairs"],
        tuple(str(leak) for leak in find_leaks({"data": {"forged": loaded.block}}, root)) if root else (),
        len(done["skipped"]),
    )


# --- test images for other systems ------------------------------------------------------------------------------------


def export_test(
    store: StoreLike,
    name: str,
    out: str | Path,
    *,
    arm: str | None = None,
    data: DataFolders | None = None,
    protocol: bool = False,
) -> int:
    """Write the damaged test images of a sweep to `out/damaged`, their masks (white: fill this) to `out/masks`.

    Another system fills them under the same names; the filled folder is then an arm: `{name: theirs, outputs: FOLDER}`.
    arm: whose images and masks; None: those of the baseline. data: folder of the data sets; None: $SWEEPS_DATA.
    protocol: write those of the sweep's protocol alone, as `export_protocol` does, for `score`. Returns the number of
    images. Raises SweepError for an unknown sweep or arm, a sweep without a protocol, and then a folder with files.
    """
    from cluster.worker import user_code
    from sweeps.spec.loader import unknown_name_error
    from trainables import schema
    from trainables.inpaint import dataset as inpaint_dataset
    from trainables.training.session import Machine

    stored = newest_plan(store, name)
    arms = {one["name"]: one for one in stored["arms"]}
    if arm is not None and arm not in arms:
        raise unknown_name_error(f"--arm {arm!r}", arm, arms)
    config = arms[arm or stored["baseline"]]["config"]
    machine = Machine(data_root=data_roots.local(data))
    user_code.bring_code(arguments.plain_store(store), schema.code_of(stored["task"], config))
    if protocol:
        return _export_protocol_images(stored, config, Path(out), machine)
    damaged, masks = Path(out) / "damaged", Path(out) / "masks"
    for folder in (damaged, masks):
        arguments.make_folder(folder)
    count = 0
    for file, image, mask in inpaint_dataset.export_test(config, machine):
        (damaged / file).write_bytes(image)
        (masks / file).write_bytes(mask)
        count += 1
    return count


def _export_protocol_images(stored: Json, config: Json, out: Path, machine: Machine) -> int:
    from sweeps.api.protocols import named
    from sweeps.store import plans as stored_plans
    from trainables.inpaint import dataset as inpaint_dataset
    from trainables.protocols import exported

    section = stored_plans.protocol(stored)
    if section is None:
        why, allowed = "the sweep names no protocol", "a sweep with `protocol: NAME`"
        raise SweepError(f"--protocol with sweep {stored['name']!r}", why, allowed, "leave --protocol out")
    named.make_empty(out)
    images = inpaint_dataset.load(config, machine).protocol
    assert images is not None
    return exported.write(images, out, {key: section[key] for key in ("name", "hash", "evaluation")})
