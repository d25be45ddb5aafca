"""Rates the fills of any program by a protocol, and compares scores."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.api.protocols import named
from sweeps.errors import SweepError
from sweeps.protocols import identity

if TYPE_CHECKING:
    from analysis.scores.table import ScoreTable
    from sweeps.api.protocols.named import NamedProtocol
    from sweeps.protocols.scores import RunScores, Scores
    from trainables.protocols.protocol import ImageDetectionProtocol, Protocol
    from trainables.protocols.rating import ImageSource, RatedFills, Rating

Folders = Mapping[str, Sequence[str | Path]]
_LOOKED_AT = 3
"""Images by which a folder of damaged images or masks is noticed before anything is rated."""
ALL_PIXELS = "all_pixels"
"""Baseline: every pixel is detected."""
ALL_IMAGES = "all_images"
"""Baseline: every photograph is detected."""


def score(
    fills: Folders,
    protocol: str | Path,
    truth: str | Path,
    *,
    masks: str | Path | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Scores:
    """Rate folders of filled images, and fills without training on the same images; or detections.

    fills: name in the table -> its folders, one for each seed; for detections of whole images, its CSV files.
    protocol: a name or the path of a file. truth: folder of the photographs, or one that `export_protocol` has written;
    for detections, of the true masks, or a CSV file with the labels. masks: folder of the mask files, if the protocol
    has some. progress: called with the number of images that are done, and of all.
    SweepError or TrialError for an unknown protocol, for images, masks and fills that cannot be used, and for an
    exported folder of another version of the protocol.
    """
    from sweeps.protocols import scores
    from trainables.protocols.protocol import ImageDetectionProtocol

    known = named.find_protocol(protocol)
    runs = {f"{name} {number}": Path(one) for name, folders in fills.items() for number, one in enumerate(folders)}
    untrained = _untrained(known)
    clash = [name for name in fills if name in untrained]
    if clash:
        why = "this is the name of a method without training, which is in every table"
        raise SweepError(f"name {clash[0]!r}", why, "another name", f"my_{clash[0]}=FOLDER")
    if isinstance(known.content, ImageDetectionProtocol):
        return _image_scores(known, known.content, fills, Path(truth), masks)
    rated = _rated(known, runs, Path(truth), None if masks is None else Path(masks), progress)
    found = [
        scores.FillScores(
            name=name,
            untrained=False,
            runs=[_run(rated.fills[f"{name} {number}"], str(one)) for number, one in enumerate(folders)],
        )
        for name, folders in fills.items()
    ]
    found += [scores.FillScores(name=name, untrained=True, runs=[_run(rated.fills[name], "")]) for name in untrained]
    return scores.Scores(
        schema=1,
        protocol=known.name,
        evaluation=known.content.evaluation(),
        published_images=known.content.published_images,
        tested=scores.RatedImages(count=len(rated.names), pixels=rated.images_digest, masks=rated.masks_digest),
        names=rated.names,
        groups=rated.groups,
        hole_fractions=rated.hole_fractions,
        fills=found,
    )


def _untrained(known: NamedProtocol) -> Sequence[str]:
    """The names of the methods without training, which are part of every table."""
    from trainables.protocols.fills import UNTRAINED
    from trainables.protocols.protocol import DetectionProtocol, ImageDetectionProtocol

    baselines = {DetectionProtocol: [ALL_PIXELS], ImageDetectionProtocol: [ALL_IMAGES]}
    return baselines.get(type(known.content), UNTRAINED)


def _refuse_masks(masks: str | Path | None) -> None:
    if masks is not None:
        why, allowed = "a protocol of detections has its masks in --truth", "--truth DIR"
        raise SweepError(f"--masks {masks}", why, allowed, "leave --masks out")


def _image_scores(
    known: NamedProtocol,
    content: ImageDetectionProtocol,
    files: Folders,
    truth: Path,
    masks: str | Path | None,
) -> Scores:
    """Scores of detectors that give one number for a photograph: the numbers themselves, image by image."""
    from sweeps.protocols import scores
    from trainables.protocols import image_detections

    _refuse_masks(masks)
    for file in (Path(one) for some in files.values() for one in some):
        if file.is_dir():
            why = f"the protocol {known.name} rates one number for each photograph"
            allowed = "a CSV file with the columns image,score; maps are rated by benco-pixels and others"
            raise SweepError(f"scores {file}", f"it is a folder, and {why}", allowed, "sweeps score NAME=FILE.csv ...")
    labels = image_detections.read_labels(truth)
    names, kinds = image_detections.checksums(labels)

    def run(values: list[float], file: str) -> RunScores:
        nothing = [0] * len(labels)
        return scores.RunScores(folder=file, values={"score": values}, changed_px=nothing, largest_change=0)

    found = [
        scores.FillScores(
            name=name,
            untrained=False,
            runs=[run(image_detections.read_scores(Path(one), labels), str(one)) for one in some],
        )
        for name, some in files.items()
    ]
    everything = run([content.scores.threshold + 1] * len(labels), "")
    return scores.Scores(
        schema=1,
        protocol=known.name,
        evaluation=content.evaluation(),
        published_images=content.published_images,
        tested=scores.RatedImages(count=len(labels), pixels=names, masks=kinds),
        names=list(labels),
        groups=[""] * len(labels),
        hole_fractions=[float(label) for label in labels.values()],
        fills=[*found, scores.FillScores(name=ALL_IMAGES, untrained=True, runs=[everything])],
    )


def _rated(
    known: NamedProtocol,
    runs: Mapping[str, Path],
    truth: Path,
    masks: Path | None,
    progress: Callable[[int, int], None],
) -> Rating:
    """The values of all folders and of what needs no training, by label."""
    from trainables.protocols import detections, exported, fills, rating
    from trainables.protocols.protocol import DetectionProtocol, Protocol

    content, metrics = known.content, list(known.content.metrics)
    if isinstance(content, DetectionProtocol):
        _refuse_masks(masks)
        for folder in runs.values():
            _refuse_own(folder, {truth: "true masks"}, "maps")
            if folder.suffix.lower() == ".csv" and folder.is_file():
                why = f"it is a CSV file, and the protocol {known.name} rates maps of pixels"
                fix = "sweeps score FILE.csv --protocol trufor-images --truth LABELS.csv rates numbers"
                raise SweepError(f"maps {folder}", why, "a folder with one map for each photograph", fix)
        maps: dict[str, Any] = {label: detections.MapFolder(folder) for label, folder in runs.items()}
        maps[ALL_PIXELS] = detections.AllPixels()
        true = detections.TrueMasks(content, truth)
        return rating.rate(true, maps, metrics, progress, detections.rates(content))
    assert isinstance(content, Protocol)
    images = _images(known, content, truth, masks)
    own = {truth: "photographs", **({masks: "masks of the protocol"} if masks else {})}
    own |= {truth / part: f"{part} of the exported folder" for part in exported.PARTS if exported.is_exported(truth)}
    folders = {label: fills.FillFolder(folder) for label, folder in runs.items()}
    keys = images.keys
    for one in folders.values():
        _refuse_own(one.folder, own, "fills")
        one.check(keys)
    first = list(itertools.islice((image for image in images if image.hole_hw.any()), _LOOKED_AT))
    for one in folders.values():
        fills.check_first(one, first)
    sources: dict[str, rating.FillSource] = {**folders}
    sources |= {name: fills.UntrainedFill(name, content.images.size) for name in fills.UNTRAINED}
    return rating.rate(images, sources, metrics, progress)


def _refuse_own(folder: Path, own: Mapping[Path, str], kind: str) -> None:
    """Raise SweepError if a folder that is to be rated is one of those that rate it. own: what these are."""
    for other, what in own.items():
        if folder.resolve() == other.resolve():
            allowed, fix = "the folder that a program has written", f"sweeps score FOLDER ... --truth {other}"
            raise SweepError(f"{kind} {folder}", f"this is the folder of the {what}", allowed, fix)


def _run(rated: RatedFills, folder: str) -> RunScores:
    from sweeps.protocols.scores import RunScores

    values: dict[str, list[float | None]] = {
        metric: [value if math.isfinite(value) else None for value in column] for metric, column in rated.values.items()
    }
    return RunScores(folder=folder, values=values, changed_px=rated.changed_px, largest_change=rated.largest_change)


def _images(known: NamedProtocol, content: Protocol, truth: Path, masks: Path | None) -> ImageSource:
    """The images of a folder of photographs, or of an exported one if it is of the same version of the protocol."""
    from trainables.protocols.exported import INDEX, ExportedImages, is_exported
    from trainables.protocols.masked_images import Photographs

    inside = truth.resolve().parent
    if is_exported(inside):
        raise SweepError(
            f"--truth {truth}",
            f"it is a part of the exported folder {inside}: its images would be cropped and masked once more",
            "the exported folder, or the photographs that it was made from",
            f"--truth {truth.parent}",
        )
    if not is_exported(truth):
        return Photographs(content, truth, masks)
    if masks is not None:
        why = f"{truth} has the masks that were exported"
        raise SweepError(f"--masks {masks}", why, "--masks with a folder of photographs", "leave --masks out")
    exported = ExportedImages(truth)
    index, evaluation = exported.index, exported.index.evaluation
    if not _has_hash(evaluation, index.hash):
        allowed = "the file that `sweeps export-protocol` has written"
        raise SweepError(str(truth / INDEX), "it was edited: its hash is another one", allowed, "export it again")
    different = identity.differences(evaluation, content.evaluation())
    if different:
        before, now = f"{index.name} {index.hash}", f"{known.name} is now {known.hash}"
        raise SweepError(
            f"--truth {truth}",
            f"it was exported for {before}, and {now}: {'; '.join(different)}",
            "images and masks of the same version of the protocol",
            f"sweeps export-protocol {known.name} --truth DIR --out DIR, and fill those images",
        )
    return exported


def _has_hash(evaluation: Mapping[str, Any], expected: str) -> bool:
    try:
        return identity.evaluation_hash(evaluation) == expected
    except ValueError:  # NaN, or half of a surrogate pair
        return False


def score_table(found: Scores) -> ScoreTable:
    """Means with intervals, differences between fills, and notes."""
    from analysis.scores import table

    return table.build(found)


def read_scores(file: str | Path) -> Scores:
    """Scores from a file of `sweeps score --out`. SweepError if it is none, or was changed."""
    from sweeps.protocols import scores

    return scores.read(Path(file))


def write_scores(found: Scores, file: str | Path) -> None:
    """Write scores to a file that `read_scores` and `compare_scores` read."""
    from sweeps.protocols import scores

    scores.write(found, Path(file))


def compare_scores(files: Sequence[str | Path], *, mix: bool = False) -> ScoreTable:
    """One table of the fills of several files of scores.

    SweepError, which names the fields that differ, if they were rated by other protocols or on other images, and for a
    file that is given twice. mix: make the table all the same, over the images that all have, with what differs in its
    note.
    """
    from analysis.scores import merge, table
    from sweeps.protocols import scores

    places = [Path(file).resolve() for file in files]
    twice = [str(file) for number, file in enumerate(files) if places[number] in places[:number]]
    if twice:
        why, allowed = "this file of scores is given twice", "files of scores that are all different"
        raise SweepError(twice[0], why, allowed, f"sweeps compare {twice[0]} OTHER.json")
    merged, notes = merge.merged({str(file): scores.read(Path(file)) for file in files}, mix)
    return table.build(merged, notes)
