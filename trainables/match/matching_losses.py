"""How well images and captions match: the losses of DAMSM, and how often the right one is found among all.

Source: Xu et al. 2018, "AttnGAN": a sentence loss on the cosine of image and caption, and a word loss for which each
word looks for its place in the image. Gammas 5, 5 and 10 as published. Pairs of a batch whose captions are equal are
neither right nor wrong: they are left out, as there those of one class are; so is an image whose caption is empty.

Legend: i images and j captions of a batch (b of each), c features, l places of an image, t words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.training.distributed import Part
from trainables.training.precision import as_given, full

GAMMA_PLACES, GAMMA_WORDS, GAMMA_PAIRS = 5.0, 5.0, 10.0
"""Sharpness of a word's attention to places, of a caption's to its words, and of the choice among pairs."""
RECALLS = (1, 5, 10)


@dataclass(frozen=True)
class Read:
    """What was read of captions: tokens_bt, and what `text_encoder.TextEncoder` gives for them."""

    tokens_bt: Tensor
    words_bct: Tensor
    sentence_bc: Tensor
    there_bt: Tensor

    def of(self, part: Part) -> Read:
        """Of one worker's images."""
        parts = (self.tokens_bt, self.words_bct, self.sentence_bc, self.there_bt)
        return Read(*(part.of(x) for x in parts))

    def detached(self) -> Read:
        """The same without its graph."""
        return Read(self.tokens_bt, self.words_bct.detach(), self.sentence_bc.detach(), self.there_bt)


def losses(places_bcl: Tensor, image_bc: Tensor, text: Read, part: Part | None = None) -> dict[str, Tensor]:
    """`sentence` and `word`, each the mean cross entropy of finding the caption plus that of finding the image.

    part: where the images are one worker's, and the captions those of the whole batch, which the losses are of.
    """
    with as_given(image_bc.device):
        told_b = text.there_bt.any(1)
        left_out_bb = same_caption(text.tokens_bt) & ~torch.eye(len(told_b), dtype=torch.bool, device=told_b.device)
        left_out_bb = left_out_bb | ~told_b
        scores = {
            "sentence": sentence_scores(full(image_bc), text),
            "word": word_scores(full(places_bcl), text),
        }
        if part is not None:
            scores = {name: part.rows(score_ij) for name, score_ij in scores.items()}
        return {name: _both_ways(score_ij, left_out_bb, told_b) for name, score_ij in scores.items()}


def same_caption(tokens_bt: Tensor) -> Tensor:
    """same_bb: whose captions are equal."""
    return (tokens_bt.unsqueeze(0) == tokens_bt.unsqueeze(1)).all(2)


def sentence_scores(image_bc: Tensor, text: Read) -> Tensor:
    """scores_ij: cosines of images and captions, sharpened."""
    return GAMMA_PAIRS * F.normalize(image_bc, dim=1) @ F.normalize(text.sentence_bc, dim=1).T


def word_scores(places_bcl: Tensor, text: Read) -> Tensor:
    """scores_ij: how well each word finds its place, over the words of a caption; 0 for an empty caption."""
    there_jt = text.there_bt
    score_ijlt = torch.einsum("icl,jct->ijlt", places_bcl, text.words_bct)
    share_ijlt = score_ijlt.masked_fill(~there_jt[None, :, None], -1e9).softmax(3)  # of the words at each place
    place_ijlt = (GAMMA_PLACES * share_ijlt).softmax(2)
    seen_ijct = torch.einsum("icl,ijlt->ijct", places_bcl, place_ijlt)
    cosine_ijt = F.cosine_similarity(seen_ijct, text.words_bct.unsqueeze(0), dim=2, eps=1e-8)
    weight_ijt = (GAMMA_WORDS * cosine_ijt).exp() * there_jt
    return GAMMA_PAIRS * torch.where(there_jt.any(1), weight_ijt.sum(2), 1.0).log()


def _both_ways(score_ij: Tensor, left_out_ij: Tensor, told_b: Tensor) -> Tensor:
    score_ij = score_ij.masked_fill(left_out_ij, -1e9)
    right = torch.arange(len(score_ij), device=score_ij.device)
    both = F.cross_entropy(score_ij, right, reduction="none") + F.cross_entropy(score_ij.T, right, reduction="none")
    return (both * told_b).sum() / told_b.sum().clamp(min=1)


def recalls(image_nc: Tensor, sentence_nc: Tensor, tokens_nt: Tensor, batch: int = 256) -> dict[str, float]:
    """Share of images whose caption is among the best 1, 5 and 10 (`text_r1`, ...), and of captions (`image_r1`, ...).

    By the cosine, among all different captions of the split, and among all its images; an image with an equal caption
    is right too. batch: so many are compared at once with all others.
    """
    _, which_n = torch.unique(tokens_nt, dim=0, return_inverse=True)
    first_m = which_n.argsort(stable=True)[which_n.bincount().cumsum(0) - which_n.bincount()]
    image_nc, sentence_nc = F.normalize(image_nc.float(), dim=1), F.normalize(sentence_nc.float(), dim=1)
    numbers_m = torch.arange(len(first_m), device=which_n.device)
    ways: Mapping[str, tuple[Tensor, Tensor, Tensor, Tensor]] = {
        "text": (image_nc, which_n, sentence_nc[first_m], numbers_m),
        "image": (sentence_nc, which_n, image_nc, which_n),
    }
    found: dict[str, float] = {}
    for way, (asked, right, among, are) in ways.items():
        hits = []
        for some, wanted in zip(torch.split(asked, batch), torch.split(right, batch), strict=True):
            best = (some @ among.T).topk(min(max(RECALLS), len(among)), 1).indices
            hits.append(are[best] == wanted.unsqueeze(1))
        found |= {f"{way}_r{k}": torch.cat(hits)[:, :k].any(1).double().mean().item() for k in RECALLS}
    return found
