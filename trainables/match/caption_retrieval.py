"""Trained matching networks in use: as the encoders of a model that reads captions, and as judges of fills.

A judge says which caption of a split it finds for a filled image. Source: the R-precision of Xu et al. 2018, "AttnGAN",
whose matching network was trained on the images themselves. There an image's caption stands among 99 drawn ones; here
among all different captions of its split, so that nothing is drawn. With captions "a photo of a {class}" that is how
often a classifier finds the class.

A judge shares nothing with the inpainter that it judges: it is a trial of task `match`, pinned by its id. It always
reads the right captions, also where the inpainter was given others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.data import captions
from trainables.errors import TrialError
from trainables.inpaint.config import check_networks
from trainables.inpaint.dataset import Data
from trainables.match.text_encoder import PADDING, Vocabulary
from trainables.training.checkpoint import load_weights
from trainables.training.distributed import Workers
from trainables.training.networks import build_network
from trainables.training.session import Machine

HITS = "caption_hits"
TOLD = 256
"""Captions that are read at once."""


class Judge:
    """A matching network, and the captions that it chooses from.

    tokens: (n, t) of each image's first caption by split, in the network's words. Images with an empty caption are not
    judged, and none is judged to have an empty one.
    """

    def __init__(self, network: Any, tokens: Mapping[str, Tensor]) -> None:
        self._network = network.eval()
        self.untouched: dict[str, dict[str, float]] = {}  # what it finds in each split's own images, once it was asked
        self._candidates = {split: self._read(tokens_nt) for split, tokens_nt in tokens.items()}

    def _read(self, tokens_nt: Tensor) -> tuple[Tensor, Tensor]:
        """sentence_mc of the different captions, scaled to length 1; which_n of them each image has, -1 for none."""
        different_mt, which_n = torch.unique(tokens_nt, dim=0, return_inverse=True)
        told_m = (different_mt != PADDING).any(1)
        number_m = torch.where(told_m, told_m.cumsum(0) - 1, -1)
        with torch.inference_mode():
            parts = [self._network.text(some)[1] for some in torch.split(different_mt[told_m], TOLD)]
        return F.normalize(torch.cat(parts), dim=1) if parts else torch.empty(0, 0), number_m[which_n]

    def hits(self, split: str, index_b: Tensor, image_b3hw: Tensor) -> Tensor:
        """float32 (b,): 1 where an image's own caption is the best one, 0 where another is; NaN where it has none.

        By the cosine of image and caption, as `text_r1` of task `match`.
        """
        sentence_mc, which_n = self._candidates[split]
        wanted_b = which_n[index_b.to(which_n.device)]
        if not len(sentence_mc):
            return torch.full(wanted_b.shape, torch.nan, device=wanted_b.device)
        with torch.inference_mode():
            whole_bc = self._network.reader(image_b3hw * 2 - 1)[1]
            best_b = (F.normalize(whole_bc, dim=1) @ sentence_mc.T).argmax(1)
        return (best_b == wanted_b).float().where(wanted_b >= 0, torch.nan)


@dataclass(frozen=True)
class JudgedData(Data):
    """The data of task `inpaint`, and the judge that its fills are scored by."""

    judge: Judge | None = None
    """Says which caption a filled image shows; None where the configuration names none."""

    @classmethod
    def of(cls, data: Data, judge: Judge | None) -> JudgedData:
        return cls(**{field.name: getattr(data, field.name) for field in fields(data)}, judge=judge)


class Hits:
    """How often a judge finds the images' own captions in their fills; nothing without a judge."""

    def __init__(self, judge: Judge | None, split: str) -> None:
        self._judge = judge
        self._split = split
        self._parts: list[Tensor] = []

    def update(self, index_b: Tensor, composite_b3hw: Tensor) -> None:
        """Judge a batch."""
        if self._judge is not None:
            self._parts.append(self._judge.hits(self._split, index_b, composite_b3hw))

    def kept(self) -> Tensor | None:
        """(n,): `Judge.hits` of the images judged here."""
        return torch.cat(self._parts) if self._parts else None

    def compute(self, workers: Workers, device: torch.device) -> dict[str, float]:
        """Their mean over the images of all workers; nothing where no image has a caption."""
        if self._judge is None:
            return {}
        found_n = torch.cat([torch.empty(0, device=device), *self._parts])
        there_n = found_n.isfinite()
        hits, images = workers.sum(torch.stack([found_n.where(there_n, 0).sum(), there_n.sum()]).double()).tolist()
        return {HITS: hits / images} if images else {}


def untouched(data: JudgedData, split: str, workers: Workers) -> dict[str, float]:
    """What the judge finds in the images themselves, which no fill should exceed; nothing without a judge."""
    if data.judge is None:
        return {}
    if split not in data.judge.untouched:
        hits = Hits(data.judge, split)
        mine = workers.part(torch.arange(len(data.split(split))))
        for index in data.evaluation_batches(mine):
            hits.update(index, data.batch(split, index, data.evaluation_masks[split])[0])
        data.judge.untouched[split] = hits.compute(workers, data.device)
    return {f"{name}_real": rate for name, rate in data.judge.untouched[split].items()}


def load_judge(config: Mapping[str, Any], machine: Machine) -> Judge | None:
    """The judge of a resolved configuration of task `inpaint`; None without one.

    Raises TrialError where the trial that it names is of another task or size, or knows other words.
    """
    if config.get("judge") is None:
        return None
    network = _network("judge", config["judge"]["trial"], config, machine)
    right = {**config["data"], "captions": {**config["data"]["captions"], "text": "right"}}
    said = _said("judge", config["judge"]["trial"], right, network.text.vocabulary, machine)
    first = {
        split: tokens_nkt[:, 0].to(machine.device) for split, tokens_nkt in said.tokens.items() if split != "train"
    }
    return Judge(network.to(machine.device), first)


def vocabulary_of(config: Mapping[str, Any], machine: Machine) -> Vocabulary | None:
    """The words that the trained text encoder of a model brings along; None where it learns from the start.

    Raises TrialError as `load_judge`, and where its sizes do not fit.
    """
    section = config["model"].get("text_encoder")
    if section is None:
        return None
    vocabulary: Vocabulary = _network("model.text_encoder", section["trial"], config, machine).text.vocabulary
    _said("model.text_encoder", section["trial"], config["data"], vocabulary, machine)
    return vocabulary


def give_encoders(network: Any, config: Mapping[str, Any], machine: Machine) -> None:
    """Put the trained text encoder, and the image encoder that it was trained with, into a model that names a trial."""
    section = config["model"].get("text_encoder")
    if section is not None:
        trained = _network("model.text_encoder", section["trial"], config, machine)
        network.text.load_state_dict(trained.text.state_dict())
        network.reader.load_state_dict(trained.reader.state_dict())


def _network(key: str, trial: str, config: Mapping[str, Any], machine: Machine) -> Any:
    """The network of a trial of task `match` with its weights and words, on the CPU. key: that names it in `config`."""
    if trial not in machine.networks:
        raise TrialError(
            f"{key}: {{trial: {trial}}}",
            "nobody has brought its network here",
            "a finished trial of the store that the sweep runs in",
            "sweeps run FILE, which brings it",
            key,
        )
    matcher, weights = machine.networks[trial]
    check_networks(config, {trial: matcher})
    network = build_network(matcher["model"], matcher["data"]["size"])
    load_weights(network, weights, f"{key}: {{trial: {trial}}}")
    return network


def _said(key: str, trial: str, data: Mapping[str, Any], known: Vocabulary, machine: Machine) -> captions.Captions:
    """The captions of a resolved `data` section in a trained network's words, which must be all of training's."""
    own, said = (captions.load(data, machine.data_root, words) for words in (None, known))
    assert own is not None, "the schema wants captions"
    assert said is not None
    lacking = sorted({*own.vocabulary.words} - {*known.words})
    if lacking:
        raise TrialError(
            f"{key}: {{trial: {trial}}}",
            f"it lacks {len(lacking)} words of the training captions, {lacking[0]!r} first",
            "a matching network that was trained on these captions",
            "train one of task match with the `data` section of this sweep, and name its trial",
            key,
        )
    return said
