"""Uses of trained matching networks: encoders of a model that reads captions, and caption retrieval from fills.

Caption retrieval selects, for each filled image, the best matching caption of its split. Source: the R-precision of Xu
et al. 2018, "AttnGAN", whose matching network was trained on the same images. There the candidates are the image's
caption and 99 random ones; here they are all distinct captions of the split, so that nothing is random. With captions
"a photo of a {class}", it is the accuracy of a classifier.

The network comes from a trial of task `match`, named by its id under `judge`, and must not share weights with the
inpainter that it evaluates. It always reads the correct captions, even if the inpainter receives other ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.data import captions
from trainables.errors import TrialError
from trainables.inpaint.config import check_networks
from trainables.inpaint.dataset import InpaintDataset
from trainables.match.text_encoder import PADDING, Vocabulary
from trainables.training.checkpoint import load_weights
from trainables.training.distributed import Workers
from trainables.training.networks import build_network
from trainables.training.session import Machine

HITS = "caption_hits"
CAPTIONS_AT_ONCE = 256
"""Batch size for encoding captions."""


class CaptionRetriever:
    """A matching network, and the candidate captions of each split."""

    def __init__(self, network: Any, tokens: Mapping[str, Tensor]) -> None:
        """Encode the candidates. Empty captions are no candidates, and images with an empty caption are not scored.

        tokens: (n, t) by split, each image's first caption in the network's vocabulary.
        """
        self._network = network.eval()
        self.on_real_images: dict[
            str, dict[str, float]
        ] = {}  # results for the original images by split, filled on demand
        self._candidates = {split: self._read(tokens_nt) for split, tokens_nt in tokens.items()}

    def _read(self, tokens_nt: Tensor) -> tuple[Tensor, Tensor]:
        """(sentence_mc, which_n): unit-length features of the distinct captions; each image's caption, -1 for none."""
        different_mt, which_n = torch.unique(tokens_nt, dim=0, return_inverse=True)
        not_empty_m = (different_mt != PADDING).any(1)
        number_m = torch.where(not_empty_m, not_empty_m.cumsum(0) - 1, -1)
        with torch.inference_mode():
            parts = [self._network.text(some)[1] for some in torch.split(different_mt[not_empty_m], CAPTIONS_AT_ONCE)]
        return F.normalize(torch.cat(parts), dim=1) if parts else torch.empty(0, 0), number_m[which_n]

    def hits(self, split: str, index_b: Tensor, image_b3hw: Tensor) -> Tensor:
        """float32 (b,): 1 if an image's own caption is the best match, 0 if another is; NaN without a caption.

        Matches are ranked by the cosine of image and caption, as for `text_r1` of task `match`.
        """
        sentence_mc, which_n = self._candidates[split]
        wanted_b = which_n[index_b.to(which_n.device)]
        if not len(sentence_mc):
            return torch.full(wanted_b.shape, torch.nan, device=wanted_b.device)
        with torch.inference_mode():
            whole_bc = self._network.reader(image_b3hw * 2 - 1)[1]
            best_b = (F.normalize(whole_bc, dim=1) @ sentence_mc.T).argmax(1)
        return (best_b == wanted_b).float().where(wanted_b >= 0, torch.nan)


class RetrievalAccuracy:
    """Accuracy of caption retrieval from fills; empty without a matching network."""

    def __init__(self, retriever: CaptionRetriever | None, split: str) -> None:
        self._judge = retriever
        self._split = split
        self._parts: list[Tensor] = []

    def update(self, index_b: Tensor, composite_b3hw: Tensor) -> None:
        """Add the retrievals of a batch."""
        if self._judge is not None:
            self._parts.append(self._judge.hits(self._split, index_b, composite_b3hw))

    def per_image(self) -> Tensor | None:
        """(n,): `CaptionRetriever.hits` of the images of this worker; None without any."""
        return torch.cat(self._parts) if self._parts else None

    def compute(self, workers: Workers, device: torch.device) -> dict[str, float]:
        """Mean over the images of all workers; empty if no image has a caption."""
        if self._judge is None:
            return {}
        hit_n = torch.cat([torch.empty(0, device=device), *self._parts])
        scored_n = hit_n.isfinite()
        hits, images = workers.sum(torch.stack([hit_n.where(scored_n, 0).sum(), scored_n.sum()]).double()).tolist()
        return {HITS: hits / images} if images else {}


def real_image_accuracy(
    retriever: CaptionRetriever | None, data: InpaintDataset, split: str, workers: Workers
) -> dict[str, float]:
    """Retrieval accuracy on the original images, which fills should not exceed; empty without a matching network."""
    if retriever is None:
        return {}
    if split not in retriever.on_real_images:
        hits = RetrievalAccuracy(retriever, split)
        mine = workers.part(data.all_of(split))
        for index in data.evaluation_batches(mine):
            hits.update(index, data.batch(split, index, data.evaluation_masks[split])[0])
        retriever.on_real_images[split] = hits.compute(workers, data.device)
    return {f"{name}_real": rate for name, rate in retriever.on_real_images[split].items()}


def load_retriever(config: Mapping[str, Any], machine: Machine) -> CaptionRetriever | None:
    """Load the network of `judge` in a resolved configuration of task `inpaint`; None without `judge`.

    Raises TrialError if the trial has another task or image size, or if its vocabulary lacks words.
    """
    if config.get("judge") is None:
        return None
    network = _network("judge", config["judge"]["trial"], config, machine)
    right = {**config["data"], "captions": {**config["data"]["captions"], "text": "right"}}
    read = _captions("judge", config["judge"]["trial"], right, network.text.vocabulary, machine)
    first = {
        split: tokens_nkt[:, 0].to(machine.device) for split, tokens_nkt in read.tokens.items() if split != "train"
    }
    return CaptionRetriever(network.to(machine.device), first)


def vocabulary_of(config: Mapping[str, Any], machine: Machine) -> Vocabulary | None:
    """Vocabulary of the trained text encoder that a model names; None if the model trains its own from scratch.

    Raises TrialError like `load_retriever`, and if the sizes of the encoders do not fit.
    """
    section = config["model"].get("text_encoder")
    if section is None:
        return None
    vocabulary: Vocabulary = _network("model.text_encoder", section["trial"], config, machine).text.vocabulary
    _captions("model.text_encoder", section["trial"], config["data"], vocabulary, machine)
    return vocabulary


def set_trained_encoders(network: Any, config: Mapping[str, Any], machine: Machine) -> None:
    """Load the trained text encoder, and the image encoder trained with it, into a model that names a trial."""
    section = config["model"].get("text_encoder")
    if section is not None:
        trained = _network("model.text_encoder", section["trial"], config, machine)
        network.text.load_state_dict(trained.text.state_dict())
        network.reader.load_state_dict(trained.reader.state_dict())


def _network(key: str, trial: str, config: Mapping[str, Any], machine: Machine) -> Any:
    """Network of a trial of task `match` with its weights and vocabulary, on the CPU. key: its place in `config`."""
    if trial not in machine.networks:
        raise TrialError(
            f"{key}: {{trial: {trial}}}",
            "the network of this trial has not been downloaded",
            "a finished trial in the store of the sweep",
            "sweeps run FILE, which downloads it",
            key,
        )
    matcher, weights = machine.networks[trial]
    check_networks(config, {trial: matcher})
    network = build_network(matcher["model"], matcher["data"]["size"])
    load_weights(network, weights, f"{key}: {{trial: {trial}}}")
    return network


def _captions(
    key: str, trial: str, data: Mapping[str, Any], vocabulary: Vocabulary, machine: Machine
) -> captions.Captions:
    """Captions of a resolved `data` section in a trained vocabulary, which must contain all training words."""
    own, read = (captions.load(data, machine.data_root, words) for words in (None, vocabulary))
    assert own is not None, "the schema requires captions"
    assert read is not None
    lacking = sorted({*own.vocabulary.words} - {*vocabulary.words})
    if lacking:
        raise TrialError(
            f"{key}: {{trial: {trial}}}",
            f"its vocabulary lacks {len(lacking)} words of the training captions, the first is {lacking[0]!r}",
            "a matching network trained on these captions",
            "train one in task match with the `data` section of this sweep, and name its trial",
            key,
        )
    return read
