"""Caption retrieval from fills: retrieved captions by hand, records of a trial with a judge, refused judges."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from trainables import schema
from trainables.errors import TrialError
from trainables.inpaint import task as inpaint
from trainables.match import caption_retrieval
from trainables.match.caption_retrieval import CaptionRetriever
from trainables.match.networks.text_image import network as text_image
from trainables.match.networks.text_image.config import Config
from trainables.match.text_encoder import Vocabulary
from trainables.training.loop import fit
from trainables.training.session import Goal, Machine, MemorySession, Networks

SAID = {"template": "a photo of a {class}"}
DATA = {"name": "cifar10", "train": 64, "val": 4, "test": 8, "captions": SAID}
MODEL = {"name": "text_image", "width": 4, "features": 16, "embedding": 8}
TAUGHT = {"name": "tdanet", "width": 2, "embedding": 8, "text_encoder": {"trial": "judge"}}
JUDGED = schema.resolve("match", {"data": DATA, "model": MODEL})


def matcher(words: tuple[str, ...], **model: Any) -> Any:
    torch.manual_seed(0)
    options = {key: value for key, value in {**MODEL, **model}.items() if key != "name"}
    network: Any = text_image.build(Config.model_validate(options), 32)
    network.set_vocabulary(Vocabulary(words))
    return network


@pytest.fixture(scope="module")
def networks(data_root: Path) -> Networks:
    """An untrained judge with the vocabulary of CIFAR-10's captions."""
    said = caption_retrieval.captions.load(JUDGED["data"], data_root)
    assert said is not None
    return {"judge": ({**JUDGED, "seed": 0}, matcher(said.vocabulary.words).state_dict())}


def config(**changes: Any) -> dict[str, Any]:
    base = {
        "data": DATA,
        "mask": {"name": "centre", "fraction": 0.25},
        "model": {"name": "tdanet", "width": 2, "embedding": 8},
        "loss": {"l1_scales": 20.0, "kl": 20.0},
        "batch": 32,
        "judge": {"trial": "judge"},
    }
    return {**schema.resolve("inpaint", {**base, **changes}), "seed": 0}


def ran(trial: dict[str, Any], machine: Machine) -> MemorySession:
    session = MemorySession(Goal(trial["epochs"]), machine)
    fit(inpaint, trial, session)
    return session


def test_hits_by_a_plain_loop() -> None:
    network = matcher(("a", "cat", "dog", "grey", "ship")).eval()
    texts = ["a cat", "grey", "a dog", "", "a cat", "a grey ship", "dog"]
    judge = CaptionRetriever(network, {"test": network.tokens(texts)})
    image_b3hw = torch.rand(7, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    found = judge.hits("test", torch.arange(7), image_b3hw)
    with torch.inference_mode():
        for image_3hw, text, hit in zip(image_b3hw, texts, found, strict=True):
            whole_c = network.reader(image_3hw[None] * 2 - 1)[1][0]
            cosine = {t: F.cosine_similarity(whole_c, network.text(network.tokens([t]))[1][0], 0) for t in texts if t}
            expected = float(max(cosine, key=lambda t: cosine[t]) == text) if text else torch.nan
            assert hit.item() == pytest.approx(expected, nan_ok=True)
    assert 0 < found.nansum() < 6, "some are found, some are not"
    some = torch.tensor([5, 0])
    torch.testing.assert_close(judge.hits("test", some, image_b3hw[some]), found[some], equal_nan=True)


@pytest.mark.parametrize("text", ["right", "shuffled", "none"])
def test_what_a_trial_with_a_judge_records(text: str, networks: Networks, data_root: Path) -> None:
    trial = config(data={**DATA, "captions": {**SAID, "text": text}})
    session = ran(trial, Machine(data_root=data_root, networks=networks))
    row = session.rows[-1]
    assert {"val/caption_hits", "test/caption_hits_wrong_text"} <= row.keys()
    alone = ran(config(model={"name": "mean_fill"}), Machine(data_root=data_root, networks=networks)).rows[-1]
    assert "test/caption_hits" in alone
    assert row["test/caption_hits_real"] == alone["test/caption_hits_real"], (
        "right captions, whatever the model is told"
    )
    with np.load(io.BytesIO(session.images[1]["per_image.npz"])) as kept:
        assert kept["caption_hits"].mean() == pytest.approx(row["test/caption_hits"])
    same = ran({**trial, "judge": None}, Machine(data_root=data_root)).rows[-1]
    assert {k: v for k, v in row.items() if "caption" not in k and "sys/" not in k} == {
        k: v for k, v in same.items() if "sys/" not in k
    }


@pytest.mark.parametrize("frozen", [True, False])
def test_a_text_encoder_that_was_trained_before(frozen: bool, networks: Networks, data_root: Path) -> None:
    options = {"model": {**TAUGHT, "text_encoder": {"trial": "judge", "frozen": frozen}}, "judge": None}
    trial = config(loss={"l1_scales": 20.0, "kl": 20.0, "matching": 1.0}, **options)
    machine = Machine(data_root=data_root, networks=networks)
    data = inpaint.load(trial, machine)
    learner = inpaint.build(trial, data, machine)
    first = {name: tensor.clone() for name, tensor in networks["judge"][1].items()}
    assert data.captions is not None
    network = learner.method.network  # type: ignore[attr-defined]
    assert data.captions.vocabulary.words == network.text.vocabulary.words
    list(inpaint.train(learner, trial, data, 1))
    assert network.text.training is not frozen, "no dropout in what does not learn"
    state = network.state_dict()
    same = {name: torch.equal(state[name], tensor) for name, tensor in first.items()}
    assert all(same.values()) if frozen else not any(v for name, v in same.items() if name.endswith("weight"))


def test_identity_without_a_judge_is_as_before() -> None:
    for model in ({"name": "tdanet"}, {"name": "mean_fill"}):
        with_one, without = (
            schema.identity("inpaint", config(model=model, judge=j), 0) for j in ({"trial": "a"}, None)
        )
        assert "judge" not in without
        assert with_one == {**without, "judge": {"trial": "a"}}


@pytest.mark.parametrize(
    ("changes", "judged", "words"),
    [
        ({"data": {"name": "cifar10"}}, {}, "no captions"),
        ({"model": TAUGHT}, {}, "share weights"),
        ({"model": {**TAUGHT, "width": 4}, "judge": None}, {}, "features is 16"),
        ({"model": TAUGHT, "judge": None}, {"data": {**JUDGED["data"], "size": 64}}, "64 px"),
        ({"model": TAUGHT, "judge": None, "data": {**DATA, "captions": {"template": "some {class}"}}}, {}, "'some'"),
        ({"model": {**TAUGHT, "text_encoder": {"trial": "judge", "held": True}}}, {}, "held"),
        ({"judge": {"trial": 3}}, {}, "judge.trial"),
        ({}, {"model": {"name": "vanilla_autoencoder"}}, "task inpaint"),
        ({}, {"data": {**JUDGED["data"], "size": 64}}, "64 px"),
        ({"data": {**DATA, "captions": {"template": "some {class}"}}}, {}, "'some'"),
        ({"judge": {"trial": "another"}}, {}, "not been downloaded"),
    ],
)
def test_what_is_refused(
    changes: dict[str, Any], judged: dict[str, Any], words: str, networks: Networks, data_root: Path
) -> None:
    given, weights = networks["judge"]
    machine = Machine(data_root=data_root, networks={"judge": ({**given, **judged}, weights)})
    with pytest.raises(TrialError, match=words) as caught:
        _started(changes, machine)
    assert all((caught.value.given, caught.value.why, caught.value.allowed, caught.value.fix))


def _started(changes: dict[str, Any], machine: Machine) -> inpaint.InpaintLearner:
    trial = {**config(**changes), "seed": 0}
    return inpaint.build(trial, inpaint.load(trial, machine), machine)
