"""TDANet: fills holes guided by a caption, with attention to the words that the known region does not explain.

Source: Zhang et al. 2020, "Text-Guided Neural Image Inpainting", and its code; MODELS.md sections 2.1 and 10 for the
smaller forms. At 256 px the encoder with the blocks after it, the attention to words and the two distributions has
23,155,648 parameters, and the decoder 10,257,696, as in the published code. A discriminator has 1.1 M, plus 0.5 M in
the published code in a block that is never called.

Unusual: the encoder has two paths. The known region gives a prior over the content of the hole. The hole itself, which
is only available in training, gives a posterior. A latent code is drawn from each distribution, and the decoder makes
an image from each code: `rec` from the posterior and `gen` from the prior; the trained network uses the prior. For
both images the decoder also takes the features of the known region, as they leave the six blocks before the prior
(`infer`). The words for the prior are those least similar to the known region, the words for the posterior those most
similar to the hole. The published code swaps them: it trains `rec` with the words of the known region and `gen` with
the words of the hole, which are not available at test time. `compat: true` reproduces that. Scores are computed for the
image of the prior's mean; with a generator, the code is drawn from the prior.

Text: `forward` and `learn` take captions as tokens_bt from `network.tokens(["a photo of a cat"])`, in the vocabulary
that is stored with the weights. Without tokens, captions are empty. Here the text encoder and the image reader learn
from the term `matching` on real images, together with the rest of the network. In the published code both are
pre-trained (Inception, and a text encoder for captions of birds) and frozen. `text_encoder: {trial: ID}` loads both
from a trial of task `match`.

The published loss is {l1_scales: 20, kl: 20, adversarial: 1, adversarial_features: 1, matching: 0.1}, in [-1, 1]. All
terms are sums over `rec` and `gen`; l1_scales is also summed over the output sizes, and kl is multiplied by their
number, as in the published code. Both discriminators learn from `rec`. With several workers, noise and matching are
computed for the whole batch. Two bugs of the published code are fixed: it only used the first caption of
each image, and the padding mask of one caption was applied to another.

Three things are done better on purpose. The targets of l1_scales and the mask in the decoder's attention are scaled by
area means, not by bilinear interpolation, which skips pixels when it makes an image much smaller. The maximum over a
region's places is taken over these places alone; in the published code all others compete with the value 0. A place
belongs to a region if any of its pixels does; in the published code, to none if its interpolated mask is between 0 and
1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from trainables.config.model_sections import ModelConfig, TrainedTextConfig
from trainables.errors import TrialError
from trainables.inpaint.adversarial import LEAST_SQUARES, Discriminators, Objective, ScoreMatching, frozen
from trainables.inpaint.method import GAN, Batch, Method, Setup, TrainingOutput
from trainables.inpaint.methods.tdanet.residual_blocks import (
    DecoderBlock,
    ImageOutput,
    PlaceAttention,
    ResBlock,
    WordAttention,
    conv,
)
from trainables.inpaint.predicted_region import PredictedRegion
from trainables.match import matching_losses
from trainables.match.image_reader import ImageReader
from trainables.match.matching_losses import EncodedCaptions
from trainables.match.text_encoder import PADDING, TextEncoder, Vocabulary
from trainables.training.distributed import BatchPart, Workers
from trainables.training.precision import as_given, full

CODE = 8
"""Side of the latent code, which is also the side of the encoder's last map."""
LEAST_SIGMA = 1e-3
"""Lower limit of the standard deviations."""


class Config(ModelConfig):
    """Options of the network; the discriminators scale with `width`."""

    adversarial: ClassVar[tuple[str, ...]] = ("adversarial", "adversarial_features")
    terms: ClassVar[tuple[str, ...]] = ("l1_scales", "kl", "matching")
    takes_text: ClassVar[bool] = True
    samples: ClassVar[bool] = True

    width: int = Field(
        32, ge=2, description="channels of the first layer; the widest layers and the word features have 8 times this"
    )
    attention: Literal["dual", "single"] = Field(
        "dual", description="words for the known region; dual: the least similar words; single: the most similar"
    )
    recurrent: Literal["lstm", "gru"] = Field("lstm", description="type of the bidirectional text encoder")
    embedding: int = Field(300, ge=1, description="size of the word embeddings")
    text_encoder: TrainedTextConfig | None = Field(
        None, description="{trial: ID, frozen: true}: pre-trained by a trial of task match; null: trained jointly"
    )
    compat: bool = Field(
        False, description="true: swap the words of prior and posterior in training, as in the published code"
    )

    def check(self, mask: Mapping[str, Any], size: int) -> None:
        """Check that the side of the images is a power of two, at least 32; every mask can be filled."""
        if size < 32 or size & (size - 1):
            raise TrialError(
                f"data.size: {size}",
                "tdanet halves the image at least twice, down to 8x8",
                "a power of two: 32, 64, 128, ...",
                f"size: {max(32, 1 << (size.bit_length() - 1))}",
                "data.size",
            )

    def reads_as(self) -> Mapping[str, Any]:
        """The encoder sizes that a matching network must have; its features are as wide as the widest layers here."""
        sizes = {"width": 2 * self.width, "features": 8 * self.width, "embedding": self.embedding}
        return {**sizes, "recurrent": self.recurrent}


class TDANetEncoder(nn.Module):
    """Halves the side down to 8x8, with 1, 4, 8, 8, ... times `width` channels."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        halvings = (size // CODE).bit_length() - 1
        sizes = [width, 4 * width, *[8 * width] * (halvings - 2)]
        hidden = [width, width, 4 * width, *[8 * width] * halvings]
        blocks = [ResBlock(3, width, down=True, first=True)]
        blocks += [ResBlock(sizes[i - 1], sizes[i], hidden[i], down=True) for i in range(1, halvings)]
        self.blocks = nn.ModuleList(blocks)
        self.last = ResBlock(sizes[-1], 8 * width, 4 * width) if halvings == 2 else None
        self.channels = sizes

    def forward(self, image_b3hw: Tensor) -> list[Tensor]:
        """The features after each halving; the last map has 8 times `width` channels."""
        features = []
        for block in self.blocks:
            image_b3hw = block(image_b3hw)
            features.append(image_b3hw)
        return [*features[:-1], features[-1] if self.last is None else self.last(features[-1])]


class TDANetDecoder(nn.Module):
    """Makes images of several sizes from a code and the features of the known region, with attention at one size."""

    def __init__(self, width: int, size: int, encoded: Sequence[int]) -> None:
        super().__init__()
        wide = 8 * width
        attended = 32 if size >= 128 else 16  # side of the map with attention, and of the smallest image
        self.level = (size // attended).bit_length() - 2  # index of the encoder's features with that side
        self.code, self.given = ResBlock(wide, wide), ResBlock(3 * wide, wide)
        sides = [CODE] if attended == 16 else []
        sides += [CODE << k for k in range(1, (size // CODE).bit_length())]
        blocks, outputs, channels, before = [], [], wide, CODE
        for side in sides:
            after = wide if side <= attended else max(width, channels // 2)
            blocks.append(DecoderBlock(channels + 3 * (before >= attended), after, up=side > before))
            outputs.append(ImageOutput(after) if side >= attended else None)
            channels, before = after, side
        self.blocks = nn.ModuleList(blocks)
        self.outputs = nn.ModuleList(output for output in outputs if output is not None)
        self.attention = PlaceAttention(wide, encoded[self.level])

    def forward(
        self, code_bchw: Tensor, given_bchw: Tensor, encoded: Sequence[Tensor], mask_b1hw: Tensor
    ) -> list[Tensor]:
        """Images in [-1, 1], smallest first.

        given_bchw: inferred features of the known region, the sentence and the words, concatenated.
        """
        x_bchw = self.code(code_bchw) + self.given(given_bchw)
        early = len(self.blocks) - len(self.outputs)
        for block in self.blocks[: early + 1]:
            x_bchw = block(x_bchw)
        hole_b1hw = F.adaptive_avg_pool2d(mask_b1hw, x_bchw.shape[-1])
        x_bchw = self.attention(x_bchw, encoded[self.level], hole_b1hw)
        images = [self.outputs[0](x_bchw)]
        for block, output in zip(self.blocks[early + 1 :], self.outputs[1:], strict=True):
            x_bchw = block(torch.cat([x_bchw, images[-1]], 1))
            images.append(output(x_bchw))
        return images


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
        text = self._read(tokens_bt, len(damaged_b3hw))
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


Gaussian = tuple[Tensor, Tensor]
"""Mean and standard deviation of each element of a code."""


def _distribution(block: nn.Module, x_bchw: Tensor, sentence_bc: Tensor, words_bc: Tensor) -> Gaussian:
    mu, sigma = full(block(_with_vectors(x_bchw, sentence_bc, words_bc))).chunk(2, 1)
    return mu, F.softplus(sigma).clamp(min=LEAST_SIGMA)


def _noise(mu: Tensor, part: BatchPart) -> Tensor:
    """Standard normal noise; each of several workers draws the noise of the whole batch and takes its part."""
    return part.of(torch.randn(part.whole, *mu.shape[1:], dtype=mu.dtype, device=mu.device))


def _with_vectors(x_bchw: Tensor, *vectors: Tensor) -> Tensor:
    """Concatenate vectors to the channels of a map, at every position."""
    return torch.cat([full(x_bchw), *(v[:, :, None, None].expand(-1, -1, *x_bchw.shape[2:]) for v in vectors)], 1)


def l1_scales(images: Sequence[Tensor], truth_b3hw: Tensor) -> Tensor:
    """Mean absolute errors, summed over the sizes of the images and over the two batches of each size."""
    total = truth_b3hw.new_zeros(())
    for image_2b3hw in images:
        scaled_b3hw = F.adaptive_avg_pool2d(truth_b3hw, image_2b3hw.shape[-1])
        for made_b3hw in image_2b3hw.chunk(2):
            total = total + (made_b3hw - scaled_b3hw).abs().mean()
    return total


def kl_terms(prior: Gaussian, posterior: Gaussian) -> Tensor:
    """KL divergence between standard normal and posterior, plus that between the detached posterior and the prior."""
    with as_given(prior[0].device):
        mu, sigma = posterior
        standard = torch.zeros_like(mu), torch.ones_like(sigma)
        return kl(standard, posterior) + kl((mu.detach(), sigma.detach()), prior)


def kl(first: Gaussian, second: Gaussian) -> Tensor:
    """KL(first || second), averaged over all elements of the code."""
    (mu, sigma), (other_mu, other_sigma) = first, second
    spread = (sigma.square() + (mu - other_mu).square()) / (2 * other_sigma.square())
    return ((other_sigma / sigma).log() + spread - 0.5).mean()


class TDANetDiscriminator(nn.Module):
    """Residual blocks down to 8x8 with one self-attention layer, and a map of 6x6 scores."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        halvings = (size // CODE).bit_length() - 1
        channels = [width * min(2**level, 4) for level in range(halvings)]
        blocks: list[nn.Module] = [ResBlock(3, width, down=True, first=True)]
        for level in range(1, halvings):
            blocks.append(ResBlock(channels[level - 1], channels[level], channels[level - 1], down=True))
            if level == min(2, halvings - 1):
                blocks.append(PlaceAttention(channels[level]))
        self.blocks = nn.Sequential(*blocks, ResBlock(channels[-1], 4 * width, channels[-1]))
        self.last = conv(4 * width, 1, padding=0)

    def forward(self, image_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
        """Scores (b, 1, 6, 6) of images in [0, 1]."""
        scores: Tensor = self.last(F.leaky_relu(self.blocks(image_b3hw * 2 - 1), 0.1))
        return scores


def build(config: Config, size: int) -> nn.Module:
    """Build the network for images of size x size px, with an empty vocabulary.

    Raises TrialError like `Config.check`.
    """
    config.check({}, size)
    return TDANet(config, size)


def build_discriminator(config: Config, size: int, term: str) -> nn.Module:  # noqa: ARG001 - both are alike
    """Build the discriminator of a term; each term has its own."""
    return TDANetDiscriminator(config.width, size)


class TDANetTraining(nn.Module):
    """Calls `learn` and returns the terms with a weight: DistributedDataParallel waits for gradients of all outputs."""

    def __init__(self, network: TDANet, terms: tuple[str, ...]) -> None:
        super().__init__()
        self.network, self.terms = network, terms

    def forward(self, *inputs: Any) -> tuple[Tensor, dict[str, Tensor]]:
        image_2b3hw, terms = self.network.learn(*inputs)
        return image_2b3hw, {name: terms[name] for name in self.terms}


@dataclass(frozen=True)
class TwoPaths(TrainingOutput):
    """`gen` and `rec`; only the image of the prior's mean if no term of the network itself has a weight."""

    paths: tuple[Tensor, ...] = ()


class TDANetGAN(GAN):
    """The network with two discriminators, which learn from `rec`; it has to deceive them with both paths."""

    def compared_region(self) -> PredictedRegion:
        return PredictedRegion(value_range=(-1.0, 1.0))

    def own_terms(self) -> tuple[str, ...]:
        """The terms with a weight that the network computes."""
        return tuple(name for name in self.weights if name in self.options.terms)

    def training_module(self) -> nn.Module:
        return TDANetTraining(self.network, self.own_terms()) if self.own_terms() else super().training_module()

    def predict(self, batch: Batch) -> TwoPaths:
        if not self.own_terms():
            image_b3hw = super().predict(batch).image_b3hw
            return TwoPaths(image_b3hw, paths=(image_b3hw,))
        torch.manual_seed(batch.noise_seed)  # for dropout and codes: every worker draws those of the whole batch
        with self.precision.cast():
            images = batch.damaged_b3hw, batch.mask_b1hw, batch.image_b3hw
            made_2b3hw, terms = self.trained(*images, batch.tokens_wt, batch.part)
        gen_b3hw, rec_b3hw = full(made_2b3hw).tensor_split(2)
        return TwoPaths(gen_b3hw, {name: full(term) for name, term in terms.items()}, (gen_b3hw, rec_b3hw))

    def build_discriminator(self, term: str) -> nn.Module:
        return build_discriminator(self.options, self.setup.size, term)

    def objective(self, term: str) -> Objective:
        return ScoreMatching(LEAST_SQUARES) if term == "adversarial_features" else Objective(LEAST_SQUARES)

    def discriminator_input(self, prediction: TrainingOutput, batch: Batch) -> Tensor:
        assert isinstance(prediction, TwoPaths)
        return prediction.paths[-1]

    def adversarial_terms(
        self,
        discriminators: Discriminators,
        seen_b3hw: Tensor,
        prediction: TrainingOutput,
        batch: Batch,
    ) -> dict[str, Tensor]:
        assert isinstance(prediction, TwoPaths)
        terms = [discriminators.terms(image_b3hw, batch) for image_b3hw in prediction.paths]
        return {name: sum((path[name] for path in terms[1:]), terms[0][name]) for name in terms[0]}


def method(setup: Setup) -> Method:
    return TDANetGAN(setup)
