"""TDANet: sizes, both paths and their words, each loss term against a plain formula, draws, and learning."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables import schema
from trainables.errors import TrialError
from trainables.inpaint import task as inpaint
from trainables.inpaint.adversarial import LEAST_SQUARES, Discriminators, Objective, ScoreMatching
from trainables.inpaint.batch import Batch
from trainables.inpaint.blocks.spectral_normalisation import SpectralConv2d
from trainables.inpaint.evaluation import diversity
from trainables.inpaint.methods.tdanet import losses
from trainables.inpaint.methods.tdanet import network as tdanet
from trainables.inpaint.methods.tdanet import residual_blocks as blocks
from trainables.inpaint.methods.tdanet.attention import WordAttention
from trainables.inpaint.methods.tdanet.config import Config
from trainables.inpaint.methods.tdanet.discriminator import TDANetDiscriminator
from trainables.inpaint.methods.tdanet.generator import TDANet
from trainables.match import matching_losses
from trainables.match.text_encoder import Vocabulary
from trainables.training import checkpoint
from trainables.training.loop import fit, generator
from trainables.training.session import Goal, Machine, MemorySession, Restored

CAPTIONS = ["a photo of a cat", "dog", "", "a bird of unseen words"]
LOSS = {"l1_scales": 20.0, "kl": 20.0, "adversarial": 1.0, "adversarial_features": 1.0, "matching": 0.1}


def build(size: int = 32, width: int = 2, **options: Any) -> TDANet:
    torch.manual_seed(0)
    network = tdanet.build(Config(width=width, embedding=8, **options), size)
    assert isinstance(network, TDANet)
    network.set_vocabulary(Vocabulary(["a", "photo", "of", "cat", "dog", "bird"]))
    return network


def given(size: int = 32, n: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    """damaged_b3hw, mask_b1hw and image_b3hw; each image has a different hole."""
    image = torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(n, 1, size, size)
    for i in range(n):
        mask[i, :, 4 : 20 + i, 6:24] = 1
    return image * (1 - mask), mask, image


def count(*modules: nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def awake(network: TDANet) -> TDANet:
    """Scales up weights that are initialised close to 0, so that words have an effect."""
    with torch.no_grad():
        network.words.project.weight.mul_(100)
        network.text.embedding.weight.mul_(10)
        network.decoder.attention.gamma.fill_(0.5)
        network.decoder.attention.alpha.fill_(0.5)
    return network


# --- sizes ------------------------------------------------------------------------------------------------------------


def test_parameters_at_the_published_size() -> None:
    with torch.device("meta"):
        network = TDANet(Config(), 256)
        discriminator = TDANetDiscriminator(32, 256)
        idle = blocks.ResBlock(256, 128, 128)  # built by the released code, never called
    encoder = count(network.encoder, network.infer, network.words, network.prior, network.posterior)
    assert encoder == 23_155_648
    assert count(network.decoder) == 10_257_696
    assert round(count(discriminator) / 1e6, 1) == 1.1
    assert round(count(discriminator, idle) / 1e6, 1) == 1.6


@pytest.mark.parametrize(
    ("size", "features", "decoded", "outputs"),
    [
        (32, [(1, 16), (8, 8)], [(8, 8), (8, 16), (4, 32)], [16, 32]),
        (64, [(1, 32), (4, 16), (8, 8)], [(8, 8), (8, 16), (4, 32), (2, 64)], [16, 32, 64]),
        (
            256,
            [(1, 128), (4, 64), (8, 32), (8, 16), (8, 8)],
            [(8, 16), (8, 32), (4, 64), (2, 128), (1, 256)],
            [32, 64, 128, 256],
        ),
    ],
)
def test_shapes_at_every_stage(
    size: int, features: list[tuple[int, int]], decoded: list[tuple[int, int]], outputs: list[int]
) -> None:
    """(channels by the first layer's, side)."""
    network = build(size)
    seen: list[tuple[int, int]] = []
    for block in network.decoder.blocks:
        block.register_forward_hook(lambda _m, _i, out: seen.append((out.shape[1] // 2, out.shape[2])))
    damaged, mask, _ = given(size, 1)
    found = network.encoder(damaged)
    assert [(level.shape[1] // 2, level.shape[2]) for level in found] == features
    wide = found[-1].shape[1]
    images = network.decoder(found[-1], torch.cat([found[-1]] * 3, 1), found, mask)
    assert seen == decoded
    assert [tuple(image.shape[1:]) for image in images] == [(3, side, side) for side in outputs]
    assert wide == 16
    assert TDANetDiscriminator(2, size)(damaged, mask).shape == (1, 1, 6, 6)


@pytest.mark.parametrize("size", [8, 16, 48])
def test_a_size_that_it_cannot_take(size: int) -> None:
    with pytest.raises(TrialError) as caught:
        build(size)
    assert "32, 64" in caught.value.allowed


# --- blocks, as in the published code ---------------------------------------------------------------------------------


def test_layers_with_spectral_normalisation_keep_pytorchs_initialisation_and_the_others_are_orthogonal() -> None:
    network = build(width=16)
    spectral, plain = [], []
    for layer in [*network.modules(), *TDANetDiscriminator(16, 32).modules()]:
        if isinstance(layer, SpectralConv2d):
            spectral.append(layer)
        elif isinstance(layer, nn.Conv2d):
            plain.append(layer)
    for layer in spectral:
        fan_in = layer.weight[0].numel()
        assert layer.bias is not None
        assert layer.bias.abs().max().item() <= fan_in**-0.5
        assert layer.weight.abs().max().item() <= fan_in**-0.5
        if layer.weight.numel() > 5000:
            assert layer.weight.std().item() * (3 * fan_in) ** 0.5 == pytest.approx(1, abs=0.05)
    queries = [layer for layer in plain if layer not in list(network.reader.modules())]
    assert len(queries) == 3, "the attention to words and that of the decoder and of the discriminator"
    for layer in queries:
        matrix = layer.weight.flatten(1) / blocks.GAIN
        torch.testing.assert_close(matrix @ matrix.T, torch.eye(len(matrix)), rtol=0, atol=1e-4)
    assert network.words.project.bias is None
    assert network.decoder.attention.query.bias is not None
    assert network.decoder.attention.query.bias.abs().sum() == 0


def test_a_transposed_convolution_against_torchs_with_rows_of_inputs() -> None:
    torch.manual_seed(0)
    mine = blocks.UpsamplingConv(6, 4).double().eval()
    other = nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=1).double()
    assert [tuple(p.shape) for p in mine.parameters()] == [tuple(p.shape) for p in other.parameters()]
    assert mine.bias is not None
    for _ in range(200):
        mine.train().normalised()  # until the estimate of the norm has converged
    norm = torch.linalg.matrix_norm(mine.weight.flatten(1), 2)
    with torch.no_grad():
        other.weight.copy_(mine.weight / norm)
        other.bias.copy_(mine.bias)  # type: ignore[union-attr]
    x = torch.randn(2, 6, 5, 5).double()
    torch.testing.assert_close(mine.eval()(x), other(x))


def test_a_decoder_block_scales_and_shifts_and_the_attentions_block_has_a_small_slope() -> None:
    decoder = build().decoder.eval()
    block = decoder.blocks[1]
    assert isinstance(block, blocks.DecoderBlock)
    x = torch.randn(2, block.one.in_channels, 8, 8)
    with torch.no_grad():
        for norm in (block.before, block.between):
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.uniform_(-1, 1)

    def normalised(x: Tensor, norm: nn.InstanceNorm2d) -> Tensor:
        even = (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), unbiased=False, keepdim=True) + 1e-5).sqrt()
        return even * norm.weight[:, None, None] + norm.bias[:, None, None]

    hidden = block.one(F.leaky_relu(normalised(x, block.before), 0.1))
    expected = block.two(F.leaky_relu(normalised(hidden, block.between), 0.1)) + block.beside(x)
    torch.testing.assert_close(block(x), expected)
    joined = decoder.attention.joined
    x = torch.randn(2, joined.one.in_channels, 8, 8)
    hidden = joined.one(F.leaky_relu(x, 0.01))
    torch.testing.assert_close(joined(x), joined.two(F.leaky_relu(hidden, 0.01)) + joined.beside(x))


def test_the_decoder_takes_the_inferred_features_of_the_known_region() -> None:
    network = build()
    damaged, mask, image = given()
    inferred: list[Tensor] = []
    network.infer.register_forward_hook(lambda _m, _i, out: inferred.append(out))
    taken: list[Tensor] = []
    network.decoder.register_forward_pre_hook(lambda _m, inputs: taken.append(inputs[1][:, :16]))
    network.learn(damaged, mask, image, network.tokens(CAPTIONS))
    network.eval()(damaged, mask, network.tokens(CAPTIONS))
    both, one = inferred
    assert torch.equal(taken[0], both.repeat(2, 1, 1, 1)), "of `gen` and of `rec`"
    assert torch.equal(taken[1], one)


# --- words ------------------------------------------------------------------------------------------------------------


def test_padding_and_company_change_nothing() -> None:
    network = awake(build()).eval()
    damaged, mask, _ = given()
    tokens = network.tokens(CAPTIONS)
    with torch.inference_mode():
        image = network(damaged, mask, tokens)
        padded = network(damaged, mask, F.pad(tokens, (0, 7)))
        turned = network(damaged.flip(0), mask.flip(0), tokens.flip(0)).flip(0)
        alone = network(damaged[1:2], mask[1:2], network.tokens(CAPTIONS[1:2]))
        wrong = network(damaged, mask, tokens.roll(1, 0))
    torch.testing.assert_close(padded, image, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(turned, image, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(alone, image[1:2], rtol=1e-4, atol=1e-5)
    assert (wrong - image).abs().max() > 1e-3, "captions matter"


def test_no_caption_is_an_empty_one_and_a_hole_may_be_all_or_nothing() -> None:
    network = awake(build())
    damaged, mask, image = given(n=2)
    network.eval()
    assert torch.equal(network(damaged, mask), network(damaged, mask, network.tokens(["", ""])))
    mask = torch.stack([torch.ones(1, 32, 32), torch.zeros(1, 32, 32)])
    made, terms = network.train().learn(image * (1 - mask), mask, image, network.tokens(["cat", ""]))
    assert made.isfinite().all()
    assert all(term.isfinite() for term in terms.values())
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


def test_word_attention_by_a_plain_loop() -> None:
    torch.manual_seed(0)
    attention = WordAttention(5, 4).double()
    x, words = torch.randn(2, 5, 8, 8).double(), torch.randn(2, 4, 3).double()
    nn.init.normal_(attention.project.weight)
    there = torch.tensor([[True, True, False], [True, False, False]])
    region = torch.zeros(2, 1, 8, 8)
    region[:, :, 2:4, 1:7] = 1
    for inverse, sign in ((False, 1), (True, -1)):
        found = attention(x, words, there, region, inverse)
        projected = attention.project(x)
        for i, n in ((0, 2), (1, 1)):
            told = []
            for row in range(2, 4):
                for column in range(1, 7):
                    scores = torch.stack([sign * projected[i, :, row, column] @ words[i, :, t] for t in range(n)])
                    told.append(words[i, :, :n] @ scores.softmax(0))
            torch.testing.assert_close(found[i], torch.stack(told).amax(0))
    nothing = attention(x, words, there, torch.zeros_like(region), True)
    assert nothing.abs().sum() == 0


@pytest.mark.parametrize("compat", [False, True])
def test_which_words_go_with_which_code(compat: bool) -> None:
    """The image of the prior gets the words of the known region, as at test time; `compat` swaps the words."""
    network = awake(build(compat=compat))
    damaged, mask, image = given()
    told: list[Tensor] = []
    network.words.register_forward_hook(lambda _m, _i, out: told.append(out))
    given_: list[Tensor] = []
    network.decoder.register_forward_pre_hook(lambda _m, inputs: given_.append(inputs[1]))
    network.learn(damaged, mask, image, network.tokens(CAPTIONS))
    of_known, of_hole = told
    gen, rec = given_[0][:, -of_known.shape[1] :, 0, 0].chunk(2)
    assert not torch.equal(of_known, of_hole)
    assert torch.equal(gen, of_hole if compat else of_known)
    assert torch.equal(rec, of_known if compat else of_hole)


def test_single_attention_is_another_one() -> None:
    dual, single = awake(build()).eval(), awake(build(attention="single")).eval()
    damaged, mask, _ = given()
    tokens = dual.tokens(CAPTIONS)
    assert not torch.equal(dual(damaged, mask, tokens)[0], single(damaged, mask, tokens)[0])
    assert torch.equal(dual(damaged, mask, tokens)[2], single(damaged, mask, tokens)[2]), "no word, no difference"


def test_weights_bring_their_words_to_a_network_that_knows_none() -> None:
    network = awake(build()).eval()
    other = tdanet.build(Config(width=2, embedding=8), 32)
    other.load_state_dict(network.state_dict())
    damaged, mask, _ = given()
    assert isinstance(other, TDANet)
    assert torch.equal(
        other.eval()(damaged, mask, other.tokens(CAPTIONS)), network(damaged, mask, network.tokens(CAPTIONS))
    )


# --- draws ------------------------------------------------------------------------------------------------------------


def test_draws_differ_are_repeated_by_their_generator_and_leave_the_mean_alone() -> None:
    network = awake(build()).eval()
    damaged, mask, _ = given()
    tokens = network.tokens(CAPTIONS)
    with torch.inference_mode():
        mean = network(damaged, mask, tokens)
        one, two, again = (network(damaged, mask, tokens, generator("draw", k)) for k in (1, 2, 1))
        assert torch.equal(network(damaged, mask, tokens), mean)
    assert torch.equal(one, again)
    assert not torch.equal(one, two)
    assert not torch.equal(one, mean)


def test_spread_and_best_of_draws_by_hand() -> None:
    image, mask = torch.zeros(2, 3, 2, 2), torch.zeros(2, 1, 2, 2)
    mask[0, :, 0] = 1  # the second image has no hole
    draws = torch.stack([torch.full((2, 3, 2, 2), value) for value in (0.1, 0.4, 0.2)])
    found = diversity.image_diversity(draws, image, mask)
    assert found["spread"].tolist() == pytest.approx([(0.3 + 0.1 + 0.2) / 3])
    assert found["psnr_db_hole_best_draw"].tolist() == pytest.approx([20.0])
    assert found["psnr_db_hole_mean_draw"].item() == pytest.approx(-20 / 3 * math.log10(0.1 * 0.4 * 0.2), rel=1e-5)


def test_draws_are_counted_for_models_that_draw_alone(data_root: Path) -> None:
    last = rows(config(epochs=1, draws=2), data_root)[-1]
    assert last["test/spread"] > 0
    assert last["test/psnr_db_hole_best_draw"] >= last["test/psnr_db_hole_mean_draw"]
    assert config(draws=4, model={"name": "mean_fill"})["draws"] is None
    assert "draws" not in schema.identity("inpaint", config(), 0)


def test_matching_wants_captions() -> None:
    with pytest.raises(TrialError, match="captions"):
        config(data={"name": "cifar10"})


# --- loss terms -------------------------------------------------------------------------------------------------------


def test_kl_against_torchs_distributions() -> None:
    torch.manual_seed(0)
    prior, posterior = ((torch.randn(2, 3), torch.rand(2, 3) + 0.1) for _ in range(2))
    p, q = (torch.distributions.Normal(*pair) for pair in (posterior, prior))
    standard = torch.distributions.Normal(0.0, 1.0)
    divergence = torch.distributions.kl_divergence
    expected = divergence(standard, p).mean() + divergence(p, q).mean()
    torch.testing.assert_close(losses.kl_terms(prior, posterior), expected)
    mu = posterior[0].requires_grad_()
    losses.kl((mu.detach(), posterior[1]), prior)
    (gradient,) = torch.autograd.grad(losses.kl_terms(prior, (mu, posterior[1])), mu)
    torch.testing.assert_close(gradient, mu.detach() / posterior[1].square() / 6), "of the standard normal's part alone"


def test_l1_scales_by_hand() -> None:
    truth = torch.zeros(1, 3, 4, 4)
    truth[..., 2:] = 1.0
    small = torch.stack([torch.zeros(3, 2, 2), torch.ones(3, 2, 2)])
    large = torch.full((2, 3, 4, 4), 0.5)
    assert losses.l1_scales([small, large], truth).item() == pytest.approx(0.5 + 0.5 + 0.5 + 0.5)
    assert losses.l1_scales([F.adaptive_avg_pool2d(truth, 2).repeat(2, 1, 1, 1)], truth).item() == 0


def test_the_terms_are_of_the_images_that_learn_gives() -> None:
    network = build()
    damaged, mask, image = given()
    torch.manual_seed(1)
    made, terms = network.learn(damaged, mask, image, network.tokens(CAPTIONS))
    assert made.shape == (8, 3, 32, 32)
    last = sum((part - image).abs().mean().item() * 2 for part in made.detach().chunk(2))
    small = terms["l1_scales"].item() - last
    assert 0.5 * last < small < 1.5 * last, "the error at half the side, of two images"


def plain_matching(places: Tensor, whole: Tensor, words: Tensor, sentence: Tensor, lengths: list[int]) -> list[float]:
    """Sentence and word loss by loops over pairs, for captions that all differ."""
    b = len(places)
    score = torch.zeros(2, b, b, dtype=torch.float64)
    for i in range(b):
        for j in range(b):
            score[0, i, j] = 10 * F.cosine_similarity(whole[i], sentence[j], dim=0)
            own = words[j, :, : lengths[j]]
            share = (places[i].T @ own).softmax(1)  # of the words at each place
            total = 0.0
            for t in range(lengths[j]):
                seen = places[i] @ (5 * share[:, t]).softmax(0)
                total += math.exp(5 * F.cosine_similarity(seen, own[:, t], dim=0).item())
            score[1, i, j] = 10 * math.log(total)
    right = torch.arange(b)
    return [(F.cross_entropy(s, right) + F.cross_entropy(s.T, right)).item() for s in score]


def read(captions: list[str]) -> tuple[matching_losses.EncodedCaptions, list[int]]:
    torch.manual_seed(0)
    tokens = Vocabulary(["a", "photo", "of", "cat", "dog", "bird"]).tokens(captions)
    there = tokens > 0
    words = torch.randn(len(captions), 6, tokens.shape[1]) * there.unsqueeze(1)
    return matching_losses.EncodedCaptions(tokens, words, torch.randn(len(captions), 6), there), there.sum(1).tolist()


def test_matching_losses_against_loops() -> None:
    text, lengths = read(["a photo of cat", "dog", "a bird"])
    places, whole = torch.randn(3, 6, 5), torch.randn(3, 6)
    found = matching_losses.losses(places, whole, text)
    expected = plain_matching(
        places.double(), whole.double(), text.words_bct.double(), text.sentence_bc.double(), lengths
    )
    assert [found["sentence"].item(), found["word"].item()] == pytest.approx(expected, rel=1e-5)


def test_equal_and_empty_captions_are_left_out_of_matching() -> None:
    text, _ = read(["dog", "a photo of cat", "", "dog"])
    places, whole = torch.randn(4, 6, 5), torch.randn(4, 6)
    found = matching_losses.losses(places, whole, text)
    moved = text.sentence_bc.clone()
    moved[2] = 9.0
    same = matching_losses.losses(
        places, whole, matching_losses.EncodedCaptions(text.tokens_bt, text.words_bct, moved, text.there_bt)
    )
    assert found["sentence"].item() == same["sentence"].item()
    score = matching_losses.sentence_scores(whole, text)
    rows = [(0, [0, 1]), (1, [0, 1, 3]), (3, [1, 3])]
    both = [score[i, i].item() - torch.logsumexp(score[i, some], 0).item() for i, some in rows] + [
        score[i, i].item() - torch.logsumexp(score[[*some, 2] if i != 2 else some, i], 0).item() for i, some in rows
    ]
    assert found["sentence"].item() == pytest.approx(-sum(both) / 3, rel=1e-5)
    nothing, _ = read(["", ""])
    assert [x.item() for x in matching_losses.losses(places[:2], whole[:2], nothing).values()] == [0, 0]


def test_reader_and_text_learn_matching_from_real_images_alone() -> None:
    network = awake(build())
    damaged, mask, image = given()
    tokens = network.tokens(CAPTIONS)
    network.text.dropout.p = 0.0
    weights = [*network.reader.parameters(), network.text.embedding.weight]
    _, terms = network.learn(damaged, mask, image, tokens)
    real = sum(
        matching_losses.losses(*network.reader(image * 2 - 1), network._read(tokens, 4)).values(), torch.zeros(())
    )
    found = torch.autograd.grad(terms["matching"], weights[:-1], retain_graph=True)
    for one, two in zip(found, torch.autograd.grad(real, weights[:-1]), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-5)
    decoder = torch.autograd.grad(terms["matching"], list(network.decoder.parameters()), allow_unused=True)
    assert any(gradient is not None and gradient.abs().sum() > 0 for gradient in decoder), "made images shall match"
    assert all(weight.requires_grad for weight in weights)


def test_recalls_by_hand() -> None:
    """Three images: two with caption A, one with caption B. The second and the third retrieve the wrong caption."""
    tokens = torch.tensor([[2], [3], [2]])
    sentence = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    image = torch.tensor([[0.9, 0.1], [0.8, 0.6], [0.2, 0.7]])
    for batch in (1, 2, 256):
        found = matching_losses.recalls(image, sentence, tokens, batch)
        assert found["text_r1"] == pytest.approx(1 / 3)
        assert found["text_r5"] == found["text_r10"] == found["image_r5"] == 1
        assert found["image_r1"] == pytest.approx(2 / 3)  # A finds the first image, B the third, which is of A


# --- discriminators ---------------------------------------------------------------------------------------------------


class Mean(nn.Module):
    """Scores an image by its mean, times a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, image_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
        return self.weight * image_b3hw.mean((1, 2, 3))


def test_least_squares_and_matched_terms_by_hand() -> None:
    judges = nn.ModuleDict({"adversarial": Mean(), "adversarial_features": Mean()})
    optimiser = torch.optim.SGD(judges.parameters(), 0.0)
    objectives = {"adversarial": Objective(LEAST_SQUARES), "adversarial_features": ScoreMatching(LEAST_SQUARES)}
    adversary = Discriminators(dict(judges.items()), optimiser, objectives)
    image, mask = torch.full((2, 3, 4, 4), 0.75), torch.zeros(2, 1, 4, 4)
    gen, rec = torch.full((2, 3, 4, 4), 0.25), torch.full((2, 3, 4, 4), 0.5)
    records = adversary.step(rec, Batch.of(image, mask))
    assert records["discriminator_loss"].item() == pytest.approx(0.25**2 / 2 + 0.5**2 / 2)
    assert records["discriminator_accuracy_real"].item() == 1
    assert records["discriminator_accuracy_fake"].item() == 0  # 0.5 is on the border
    paths = tdanet.TwoPaths(gen, paths=(gen, rec))
    terms = tdanet.TDANetGAN.adversarial_terms(None, adversary, rec, paths, Batch.of(image, mask))  # type: ignore[arg-type]
    assert terms["adversarial"].item() == pytest.approx(0.75**2 + 0.5**2)
    assert terms["adversarial_features"].item() == pytest.approx(0.5**2 + 0.25**2)


# --- learning ---------------------------------------------------------------------------------------------------------


def config(**changes: Any) -> dict[str, Any]:
    base = {
        "data": {"name": "cifar10", "train": 16, "val": 4, "test": 8, "captions": {"template": "a photo of a {class}"}},
        "mask": {"name": "centre", "fraction": 0.5},
        "model": {"name": "tdanet", "width": 2, "embedding": 8},
        "loss": LOSS,
        "batch": 8,
        "epochs": 2,
    }
    return {**schema.resolve("inpaint", {**base, **changes}), "seed": 3}


def rows(config: dict[str, Any], root: Path) -> list[dict[str, float]]:
    session = MemorySession(Goal(config["epochs"]), Machine(data_root=root))
    fit(inpaint, config, session)
    return [{k: v for k, v in row.items() if not k.startswith("sys/")} for row in session.rows]


def test_a_trial_is_repeated_to_the_last_bit_and_hears_its_captions(data_root: Path) -> None:
    first = rows(config(), data_root)
    assert rows(config(), data_root) == first
    assert {f"train/{term}" for term in LOSS} <= first[0].keys()
    assert "test/psnr_db_hole_wrong_text" in first[-1]
    shuffled = config(data={**config()["data"], "captions": {"template": "a photo of a {class}", "text": "shuffled"}})
    assert rows(shuffled, data_root) != first


def test_a_checkpoint_of_another_network_is_refused(data_root: Path) -> None:
    """Such as one from before the network became the published one; a trial's id contains no code."""
    whole = MemorySession(Goal(2), Machine(data_root=data_root))
    fit(inpaint, config(), whole)
    state, history, best = checkpoint.unpack(whole.saved[1])
    del state["network"]["decoder.blocks.0.before.weight"]
    state["network"]["words.project.bias"] = torch.zeros(16)
    old = MemorySession(Goal(2), Machine(data_root=data_root), Restored(1, checkpoint.pack(state, history, best)))
    with pytest.raises(TrialError) as caught:
        fit(inpaint, config(), old)
    assert caught.value.given == "the checkpoint after epoch 1"
    assert "decoder.blocks.0.before.weight" in caught.value.why
    assert "--fresh" in caught.value.fix


@pytest.mark.slow  # test_precision.py: other networks
def test_bfloat16_is_close(data_root: Path) -> None:
    exact, fast = (rows(config(epochs=1, **options), data_root)[0] for options in ({}, {"precision": "bf16"}))
    assert fast != exact
    assert fast["train/l1_scales"] == pytest.approx(exact["train/l1_scales"], rel=0.05)


@pytest.mark.slow
def test_it_learns_to_fill_with_the_colour_that_the_caption_names() -> None:
    torch.manual_seed(0)
    network = TDANet(Config(width=4, embedding=16), 32)
    network.set_vocabulary(Vocabulary(["the", "hole", "is", "red", "blue"]))
    captions, colours = ["the hole is red", "the hole is blue"], torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.1, 0.9]])
    optimiser = torch.optim.Adam(network.parameters(), 1e-3, betas=(0.0, 0.999))
    rng, mask = torch.Generator().manual_seed(1), torch.zeros(8, 1, 32, 32)
    mask[..., 4:28, 4:28] = 1
    for _ in range(120):
        which = torch.randint(0, 2, (8,), generator=rng)
        around = torch.rand(8, 3, 1, 1, generator=rng) * (1 - mask)
        image = around + colours[which][:, :, None, None] * mask
        _, terms = network.learn(around, mask, image, network.tokens([captions[i] for i in which]))
        optimiser.zero_grad()
        (20 * terms["l1_scales"] + 20 * terms["kl"] + 0.1 * terms["matching"]).backward()
        optimiser.step()
    network.eval()
    with torch.inference_mode():
        for caption, colour in zip(captions, colours, strict=True):
            error = (network(around, mask, network.tokens([caption] * 8)) - colour[None, :, None, None]) * mask
            assert (error.abs().sum() / mask.sum() / 3).item() < 0.15, "the other colour is 0.53 away"


@pytest.mark.slow
def test_overfits_sixteen_images(data_root: Path) -> None:
    """Without the divergences, which keep its codes noisy on purpose. 28.1 dB when this was written."""
    options = {
        "model": {"name": "tdanet", "width": 4, "embedding": 32},
        "optimiser": {"name": "adam", "lr": 2e-3, "betas": [0.0, 0.999]},
        "loss": {"l1_scales": 20.0},
        "batch": 16,
        "epochs": 600,
    }
    machine = Machine(data_root=data_root)
    trial = config(**options)
    data = inpaint.load(trial, machine)
    learner = inpaint.build(trial, data, machine)
    for epoch in range(1, trial["epochs"] + 1):
        for _ in inpaint.train(learner, trial, data, epoch):
            pass
    image, mask = data.batch("train", torch.arange(16), inpaint.epoch_masks(trial, data, 1))
    error = (learner.method.fill(image, mask, data.text("train", torch.arange(16))) - image) * mask
    psnr = -10 * (error.square().sum() / mask.sum() / 3).log10().item()
    print(f"PSNR of the holes of 16 training images: {psnr:.1f} dB")
    assert psnr > 22
