"""The generator of TDANet: encoder, prior and posterior, decoder, text encoder and image reader."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.inpaint.adversarial import frozen
from trainables.inpaint.methods.tdanet.attention import WordAttention
from trainables.inpaint.methods.tdanet.config import Config
from trainables.inpaint.methods.tdanet.decoder import TDANetDecoder
from trainables.inpaint.methods.tdanet.encoder import CODE, TDANetEncoder
from trainables.inpaint.methods.tdanet.losses import Gaussian, kl_terms, l1_scales
from trainables.inpaint.methods.tdanet.residual_blocks import ResBlock
from trainables.match import matching_losses
from trainables.match.image_reader import ImageReader
from trainables.match.matching_losses import EncodedCaptions
from trainables.match.text_encoder import PADDING, TextEncoder, Vocabulary
from trainables.training.distributed import BatchPart, Workers
from trainables.training.precision import full

LEAST_SIGMA = 1e-3
"""Lower limit of the standard deviations."""


class TDANet(nn.Module):
    """Encoder, prior and posterior distribution of codes, decoder, text encoder and image reader."""

    def __init__(self, config: Config, size: int) -> None:
        super().__init__()
        width, wide = config.width, 8 * config.width
        self.compat, self.inverse = config.compat, config.attention == "dual"
        self.text = TextEncoder(wide, config.embedding, config.recurrent)
        self.reader = ImageReader(size, wide, 2 * width)
        self.fixed = config.text_encoder is not None and config.text_encoder.frozen
        if self.fixed:
            self.text.requires_grad_(False)
            self.reader.requires_grad_(False)
        self.encoder = TDANetEncoder(width, size)
        self.infer = nn.Sequential(*(ResBlock(wide, wide) for _ in range(6)))
        self.words = WordAttention(wide, wide)
        self.prior, self.posterior = (ResBlock(3 * wide, 2 * wide) for _ in range(2))
        self.decoder = TDANetDecoder(width, size, self.encoder.channels)

    def set_vocabulary(self, vocabulary: Vocabulary) -> None:
        """Replace the vocabulary; the embeddings of the new words are untrained."""
        self.text.set_vocabulary(vocabulary)

    def train(self, mode: bool = True) -> TDANet:
        """Keep a frozen text encoder in eval mode so that dropout stays off."""
        super().train(mode)
        self.text.train(mode and not self.fixed)
        return self

    def tokens(self, captions: Sequence[str]) -> Tensor:
        """Encode captions as tokens_bt in the vocabulary of the network."""
        return self.text.vocabulary.tokens(captions).to(self.text.packed.device)

    def forward(
        self,
        damaged_b3hw: Tensor,
        mask_b1hw: Tensor,
        tokens_bt: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """image_b3hw in [0, 1], from the mean of the prior, or with a generator from a sample of the prior.

        generator: a CPU generator, whatever the device of the network.
        """
        text = self._read(tokens_bt, damaged_b3hw.shape[0])  # `len` would fix the batch size of an exported program
        features = self.encoder((damaged_b3hw * 2 - 1) * (1 - mask_b1hw))
        words_bc = self._attended_words(features[-1], text, 1 - mask_b1hw, self.inverse)
        inferred_bchw = self.infer(features[-1])
        mu, sigma = _distribution(self.prior, inferred_bchw, text.sentence_bc, words_bc)
        if generator is not None:
            mu = mu + sigma * torch.randn(mu.shape, generator=generator).to(mu)
        given_bchw = _with_vectors(inferred_bchw, text.sentence_bc, words_bc)
        image_b3hw: Tensor = self.decoder(mu, given_bchw, features, mask_b1hw)[-1]
        return image_b3hw * 0.5 + 0.5

    def learn(
        self,
        damaged_b3hw: Tensor,
        mask_b1hw: Tensor,
        image_b3hw: Tensor,
        tokens_wt: Tensor | None = None,
        part: BatchPart | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return images (2 b, 3, h, w) in [0, 1], `gen` before `rec`, and the loss terms, computed in [-1, 1].

        Codes are drawn from torch's global generator, which must have the same state on all workers.

        tokens_wt: the captions of the whole batch.
        part: the place of the images in the whole batch; None if they are the whole batch.
        """
        b, truth_b3hw = len(image_b3hw), image_b3hw * 2 - 1
        part = part or Workers().place(b)
        whole = self._read(tokens_wt, part.whole)
        text = whole.of(part)
        known_b3hw = (damaged_b3hw * 2 - 1) * (1 - mask_b1hw)
        both = self.encoder(torch.cat([known_b3hw, truth_b3hw * mask_b1hw]))
        features, hidden_bchw = [level[:b] for level in both], both[-1][b:]
        prior_words_bc = self._attended_words(features[-1], text, 1 - mask_b1hw, self.inverse)
        hole_words_bc = self._attended_words(hidden_bchw, text, mask_b1hw, inverse=False)
        inferred_bchw = self.infer(features[-1])
        prior = _distribution(self.prior, inferred_bchw, text.sentence_bc, prior_words_bc)
        posterior = _distribution(self.posterior, hidden_bchw, text.sentence_bc, hole_words_bc)
        words = (hole_words_bc, prior_words_bc) if self.compat else (prior_words_bc, hole_words_bc)
        images = self.decoder(
            torch.cat([mu + sigma * _noise(mu, part) for mu, sigma in (prior, posterior)]),
            _with_vectors(inferred_bchw.repeat(2, 1, 1, 1), text.sentence_bc.repeat(2, 1), torch.cat(words)),
            [level.repeat(2, 1, 1, 1) for level in features],
            mask_b1hw.repeat(2, 1, 1, 1),
        )
        terms = {
            "l1_scales": l1_scales(images, truth_b3hw),
            "kl": len(images) * kl_terms(prior, posterior),
            "matching": self._matching(truth_b3hw, images[-1], whole, part),
        }
        return images[-1] * 0.5 + 0.5, terms

    def _read(self, tokens_bt: Tensor | None, b: int) -> EncodedCaptions:
        if tokens_bt is None:
            tokens_bt = torch.full(
                (b, 1), PADDING, device=self.text.packed.device
            )  # written so that `torch.export` can trace it
        return EncodedCaptions(tokens_bt, *self.text(tokens_bt))

    def _attended_words(self, x_bchw: Tensor, text: EncodedCaptions, region_b1hw: Tensor, inverse: bool) -> Tensor:
        """Word features for a region; a position of the map belongs to it if any of its pixels does."""
        positions_b1hw = F.adaptive_max_pool2d(region_b1hw, CODE)
        words_bc: Tensor = self.words(x_bchw, text.words_bct, text.there_bt, positions_b1hw, inverse)
        return words_bc

    def _matching(self, truth_b3hw: Tensor, made_b3hw: Tensor, text: EncodedCaptions, part: BatchPart) -> Tensor:
        """Matching losses of real images, which train the reader and the text encoder, and of generated images.

        The losses of generated images train the rest of the network.
        """
        places_bcl, whole_bc = self.reader(truth_b3hw)
        terms = [*matching_losses.losses(places_bcl, whole_bc, text, part).values()]
        with frozen(self.reader):
            for part_b3hw in made_b3hw.chunk(2):
                places_bcl, whole_bc = self.reader(part_b3hw)
                terms += matching_losses.losses(places_bcl, whole_bc, text.detached(), part).values()
        return part.shared(torch.stack(terms).sum())


def _distribution(block: nn.Module, x_bchw: Tensor, sentence_bc: Tensor, words_bc: Tensor) -> Gaussian:
    mu, sigma = full(block(_with_vectors(x_bchw, sentence_bc, words_bc))).chunk(2, 1)
    return mu, F.softplus(sigma).clamp(min=LEAST_SIGMA)


def _noise(mu: Tensor, part: BatchPart) -> Tensor:
    """Standard normal noise; each of several workers draws the noise of the whole batch and takes its part."""
    return part.of(torch.randn(part.whole, *mu.shape[1:], dtype=mu.dtype, device=mu.device))


def _with_vectors(x_bchw: Tensor, *vectors: Tensor) -> Tensor:
    """Concatenate vectors to the channels of a map, at every position."""
    return torch.cat([full(x_bchw), *(v[:, :, None, None].expand(-1, -1, *x_bchw.shape[2:]) for v in vectors)], 1)
