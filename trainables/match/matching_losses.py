"""Losses of DAMSM, which match images with captions, and the retrieval recalls.

Source: Xu et al. 2018, "AttnGAN": a sentence loss on the cosine of image and caption, and a word loss in which each
word attends to image regions. Gammas 5, 5 and 10 as published. Other pairs of a batch with equal captions are excluded
from the loss, as are pairs of the same class in the source; images with an empty caption are excluded, too.

Legend: i images and j captions of a batch (b of each), c features, l regions of an image, t words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.training.distributed import BatchPart
from trainables.training.precision import as_given, full

GAMMA_PLACES, GAMMA_WORDS, GAMMA_PAIRS = 5.0, 5.0, 10.0
"""Sharpness of a word's attention to regions, of the pooling over a caption's words, and of the softmax over pairs."""
RECALLS = (1, 5, 10)


@dataclass(frozen=True)
class EncodedCaptions:
    """Encoded captions: tokens, and the outputs of `text_encoder.TextEncoder` for them."""

    tokens_bt: Tensor
    words_bct: Tensor
    """Features of each word."""
    sentence_bc: Tensor
    """Features of the caption."""
    there_bt: Tensor
    """Which tokens are words rather than padding."""

    def of(self, part: BatchPart) -> EncodedCaptions:
        """The captions of one worker's images."""
        parts = (self.tokens_bt, self.words_bct, self.sentence_bc, self.there_bt)
        return EncodedCaptions(*(part.of(x) for x in parts))

    def detached(self) -> EncodedCaptions:
        """Detach the features from the graph."""
        return EncodedCaptions(self.tokens_bt, self.words_bct.detach(), self.sentence_bc.detach(), self.there_bt)


def losses(
    places_bcl: Tensor, image_bc: Tensor, text: EncodedCaptions, part: BatchPart | None = None
) -> dict[str, Tensor]:
    """`sentence` and `word`: mean cross-entropy of choosing the caption plus that of choosing the image.

    part: this worker's part of the batch, if the images are those of one worker and the captions those of the whole
    batch; the losses are those of the whole batch.
    """
    with as_given(image_bc.device):
        captioned_b = text.there_bt.any(1)
        excluded_bb = same_caption(text.tokens_bt) & ~torch.eye(
            len(captioned_b), dtype=torch.bool, device=captioned_b.device
        )
        excluded_bb = excluded_bb | ~captioned_b
        scores = {
            "sentence": sentence_scores(full(image_bc), text),
            "word": word_scores(full(places_bcl), text),
        }
        if part is not None:
            scores = {name: part.rows(score_ij) for name, score_ij in scores.items()}
        return {name: _both_ways(score_ij, excluded_bb, captioned_b) for name, score_ij in scores.items()}


def same_caption(tokens_bt: Tensor) -> Tensor:
    """same_bb: whether two captions are equal."""
    return (tokens_bt.unsqueeze(0) == tokens_bt.unsqueeze(1)).all(2)


def sentence_scores(image_bc: Tensor, text: EncodedCaptions) -> Tensor:
    """scores_ij: cosines of images and captions, times GAMMA_PAIRS."""
    return GAMMA_PAIRS * F.normalize(image_bc, dim=1) @ F.normalize(text.sentence_bc, dim=1).T


def word_scores(places_bcl: Tensor, text: EncodedCaptions) -> Tensor:
    """scores_ij: match of each word with its attended regions, pooled over a caption; 0 for an empty caption."""
    there_jt = text.there_bt
    score_ijlt = torch.einsum("icl,jct->ijlt", places_bcl, text.words_bct)
    share_ijlt = score_ijlt.masked_fill(~there_jt[None, :, None], -1e9).softmax(3)  # of the words at each place
    place_ijlt = (GAMMA_PLACES * share_ijlt).softmax(2)
    seen_ijct = torch.einsum("icl,ijlt->ijct", places_bcl, place_ijlt)
    cosine_ijt = F.cosine_similarity(seen_ijct, text.words_bct.unsqueeze(0), dim=2, eps=1e-8)
    weight_ijt = (GAMMA_WORDS * cosine_ijt).exp() * there_jt
    return GAMMA_PAIRS * torch.where(there_jt.any(1), weight_ijt.sum(2), 1.0).log()


def _both_ways(score_ij: Tensor, excluded_ij: Tensor, captioned_b: Tensor) -> Tensor:
    score_ij = score_ij.masked_fill(excluded_ij, -1e9)
    right = torch.arange(len(score_ij), device=score_ij.device)
    both = F.cross_entropy(score_ij, right, reduction="none") + F.cross_entropy(score_ij.T, right, reduction="none")
    return (both * captioned_b).sum() / captioned_b.sum().clamp(min=1)


def recalls(image_nc: Tensor, sentence_nc: Tensor, tokens_nt: Tensor, batch: int = 256) -> dict[str, float]:
    """Recall at 1, 5 and 10: captions retrieved by image (`text_r1`, ...), and images by caption (`image_r1`, ...).

    Candidates are all distinct captions of the split, or all its images, ranked by cosine. For a caption, every image
    with an equal caption is correct. batch: number of queries compared with all candidates at once.
    """
    _, which_n = torch.unique(tokens_nt, dim=0, return_inverse=True)
    first_m = which_n.argsort(stable=True)[which_n.bincount().cumsum(0) - which_n.bincount()]
    image_nc, sentence_nc = F.normalize(image_nc.float(), dim=1), F.normalize(sentence_nc.float(), dim=1)
    numbers_m = torch.arange(len(first_m), device=which_n.device)
    ways: Mapping[str, tuple[Tensor, Tensor, Tensor, Tensor]] = {
        "text": (image_nc, which_n, sentence_nc[first_m], numbers_m),
        "image": (sentence_nc, which_n, image_nc, which_n),
    }
    values: dict[str, float] = {}
    for way, (query, right, candidate, caption) in ways.items():
        hits = []
        for some, wanted in zip(torch.split(query, batch), torch.split(right, batch), strict=True):
            best = (some @ candidate.T).topk(min(max(RECALLS), len(candidate)), 1).indices
            hits.append(caption[best] == wanted.unsqueeze(1))
        values |= {f"{way}_r{k}": torch.cat(hits)[:, :k].any(1).double().mean().item() for k in RECALLS}
    return values
