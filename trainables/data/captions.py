"""Captions of images: from a template, a captions file or a folder of text files.

Captions are matched to images by name, so they stay with them through splits, subsets, mixtures, shuffling and
augmentation. The vocabulary is that of the training captions in use. If an image has several captions, each training
epoch draws one from (seed, epoch, image index), and evaluation takes the first.

A template contains the class of an image: the published class name for CIFAR, the name of the file's folder for a
folder of images. A captions file has one line `image name, tab, caption` for each caption; names are relative to
`data.path`, or e.g. `train/7` for CIFAR's eighth published training image. A caption folder has
`<image name without suffix>.txt` for each image, one caption per line, as CUB's captions are published. Captions are
cut after `text_encoder.WORDS` words.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from trainables.config.sections import CaptionSourceConfig, DataConfig
from trainables.data.image_files import path_below
from trainables.data.images import image_counts
from trainables.data.loaded import cached
from trainables.data.section import read
from trainables.data.splits import SPLITS, Source
from trainables.data.text_files import read_text
from trainables.errors import TrialError
from trainables.match.text_encoder import Vocabulary, words_of
from trainables.training.loop import generator


@dataclass(frozen=True)
class Captions:
    """The captions of the images of each split, in the order of the images."""

    vocabulary: Vocabulary
    tokens: Mapping[str, Tensor]
    """By split: tokens of shape (n, k, t), with k captions for each image."""
    counts: Mapping[str, Tensor]
    """By split: the number of captions of each image, (n,); the remaining ones of the k are empty."""
    other: Mapping[str, Tensor]
    """By split: for each image a fixed other image, (n,), whose captions serve as wrong captions."""
    fingerprint: str
    """SHA-256 (hexadecimal) over all captions in use."""

    def of(self, split: str, index_b: Tensor, drawn_n: Tensor | None = None, wrong: bool = False) -> Tensor:
        """tokens_bt of one caption for each of these images.

        drawn_n: a number in [0, 1) for every image of the split that chooses its caption; None: the first caption.
        wrong: take the captions of another image.
        """
        counts = self.counts[split]
        index_b = index_b.to(counts.device)
        of_b = self.other[split][index_b] if wrong else index_b
        number_b = torch.zeros_like(of_b)
        if drawn_n is not None:
            number_b = (drawn_n.to(counts.device)[index_b] * counts[of_b]).long()
        return self.tokens[split][of_b, number_b]

    def to(self, device: torch.device | str) -> Captions:
        """The same captions on a device."""
        parts = (self.tokens, self.counts, self.other)
        tokens, counts, other = ({name: x.to(device) for name, x in part.items()} for part in parts)
        return Captions(self.vocabulary, tokens, counts, other, self.fingerprint)


def load(config: Mapping[str, Any], root: Path | None, vocabulary: Vocabulary | None = None) -> Captions | None:
    """The captions of a resolved `data` section; None if it has no captions. Raises TrialError like `check`.

    vocabulary: replaces the vocabulary of the training captions.
    """
    data = read(DataConfig, config)
    words = None if vocabulary is None else vocabulary.words
    return None if data.captions is None else _load(data.model_dump_json(exclude={"augment"}), root, words)


def check(config: Mapping[str, Any], root: Path | None) -> None:
    """Raise TrialError if an image has no caption, or a caption has no image."""
    load(config, root)


@cached(maxsize=4)
def _load(section: str, root: Path | None, words: tuple[str, ...] | None) -> Captions:
    data = read(DataConfig, json.loads(section))
    assert data.captions is not None
    parts = image_counts(data, root)
    said = CaptionSource(data.captions, [source for some in parts.values() for source, _ in some], root)
    texts = {
        split: [captions for source, count in parts[split] for captions in said.of(source, split, 0, count)]
        for split in SPLITS
    }
    if words is None:
        words = tuple(word for captions in texts["train"] for text in captions for word in words_of(text))
    vocabulary = Vocabulary(words)
    other = {split: _others(split, len(texts[split])) for split in SPLITS}
    if data.captions.text == "shuffled":
        texts = {split: [texts[split][place] for place in other[split].tolist()] for split in SPLITS}
    elif data.captions.text == "none":
        texts = {split: [("",)] * len(texts[split]) for split in SPLITS}
    digest = hashlib.sha256(repr(texts).encode()).hexdigest()
    counts = {split: torch.tensor([len(captions) for captions in texts[split]]) for split in SPLITS}
    return Captions(vocabulary, {s: _padded(vocabulary, texts[s]) for s in SPLITS}, counts, other, digest)


def _others(split: str, n: int) -> Tensor:
    """A permutation with one cycle: every image gets another image, unless there is only one."""
    order = torch.randperm(n, generator=generator("captions", split))
    other = torch.empty(n, dtype=torch.long)
    other[order] = order.roll(-1)
    return other


def _padded(vocabulary: Vocabulary, texts: list[tuple[str, ...]]) -> Tensor:
    """tokens_nkt."""
    most = max(map(len, texts))
    flat = [caption for captions in texts for caption in (*captions, *[""] * (most - len(captions)))]
    return vocabulary.tokens(flat).view(len(texts), most, -1)


class CaptionSource:
    """Caption source of a `captions` section. Raises TrialError if a captions file names images not in `sources`."""

    def __init__(self, section: CaptionSourceConfig, sources: list[Source], root: Path | None) -> None:
        self._template, self._folder = section.template, None
        self._by_name: dict[str, list[str]] = {}
        if section.file is not None:
            self._where = path_below(root, section.file, "data.captions.file")
            self._by_name = _read(self._where)
            self._all_have_images(sources)
        elif section.folder is not None:
            self._where = self._folder = path_below(root, section.folder, "data.captions.folder")

    def of(self, source: Source, split: str, start: int, stop: int) -> list[tuple[str, ...]]:
        """The captions of images `start` to `stop` (exclusive) of a split."""
        if self._template is not None:
            field = "{class}" if "{class}" in self._template else "{breed}"
            return [(self._template.replace(field, name),) for name in source.classes(split, start, stop)]
        names = source.names(split, start, stop)
        captions_of = {name: self._of_image(name) for name in set(names)}
        without = sorted(name for name, captions in captions_of.items() if not captions)
        if without:
            raise TrialError(
                f"data.captions: {self._where}",
                f"{len(without)} of {len(captions_of)} images of the {split} split have no caption, "
                f"for example {without[0]!r}",
                "at least one caption for each image; an empty caption is a line with the name and a tab only"
                if self._folder is None
                else "a file <image name>.txt for each image, one caption per line",
                f"add captions for these images, or exclude the images with `data.split` or `data.{split}`",
                "data.captions",
            )
        return [captions_of[name] for name in names]

    def _of_image(self, name: str) -> tuple[str, ...]:
        if self._folder is None:
            return tuple(self._by_name.get(name, ()))
        file = self._folder / PurePosixPath(name).with_suffix(".txt")
        return tuple(line for line in _lines(file) if line.strip()) if file.is_file() else ()

    def _all_have_images(self, sources: list[Source]) -> None:
        names = {name for source in sources for split in SPLITS for name in source.names(split, 0, source.count(split))}
        extra = [name for name in self._by_name if name not in names]
        if extra:
            raise TrialError(
                f"data.captions.file: {self._where}",
                f"{len(extra)} of its image names are not in the data set, e.g. {extra[0]!r}",
                f"image names of the data set: {', '.join(sorted(names)[:3])}, ...",
                "remove these lines, or correct the names",
                "data.captions.file",
            )


def _read(file: Path) -> dict[str, list[str]]:
    """The captions of each image name, in the order of the lines; empty lines are ignored."""
    captions: dict[str, list[str]] = {}
    for number, line in enumerate(_lines(file), 1):
        name, tab, caption = line.partition("\t")
        if not line.strip():
            continue
        if not tab or not name:
            raise TrialError(
                f"data.captions.file: {file}, line {number}",
                f"{line[:60]!r} has no {'tab' if not tab else 'name before its tab'}",
                "image name, tab, caption in each line",
                "correct this line",
                "data.captions.file",
            )
        captions.setdefault(name, []).append(caption)
    return captions


def _lines(file: Path) -> list[str]:
    return [line.rstrip("\r") for line in read_text(file, "data.captions").split("\n")]
