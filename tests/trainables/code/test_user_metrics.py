"""Users' metrics: they may take documented inputs, and give one finite number for each image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from trainables import schema
from trainables.detect import task as detect
from trainables.errors import TrialError
from trainables.inpaint import task as inpaint
from trainables.inpaint.evaluation.metrics import per_image
from trainables.training.distributed import Workers
from trainables.training.user_metrics import UserMeter, of_config

Write = Callable[[dict[str, str]], Path]
BASE: dict[str, Any] = {
    "data": {"name": "cifar10", "size": 8},
    "mask": {"name": "lines"},
    "model": {"name": "mean_fill"},
}


def resolved(folder: Path, text: str, name: str = "./m.py", **options: Any) -> dict[str, Any]:
    (folder / "m.py").write_text(text)
    return schema.resolve("inpaint", {**BASE, "metrics": {"mine": {"name": name, **options}}}, folder)


def test_the_values_are_those_of_the_function_over_all_batches(write: Write) -> None:
    text = (
        "better = 'min'\ndef m(mask, prediction, target): return ((prediction - target) * mask).abs().mean((1, 2, 3))"
    )
    meter = UserMeter(of_config("metric", resolved(write({"x.py": ""}), text)))
    output, image = torch.rand(2, 10, 3, 8, 8)
    mask = (torch.rand(10, 1, 8, 8) > 0.5).float()
    for part in torch.arange(10).split(4):
        meter.update(*inpaint.user_metric_inputs(output[part], image[part], mask[part]))
    ours = per_image(output, image, mask)["l1"].mean().item()
    assert meter.compute(Workers(), torch.device("cpu")) == {"mine": pytest.approx(ours, abs=1e-6)}


def test_an_option_beside_the_name_reaches_the_function(write: Write) -> None:
    text = "def m(target, level: float = 1.0): return 0 * target.mean((1, 2, 3)) + level\nm.better = 'max'"
    config = resolved(write({"x.py": ""}), text, level=0.25)
    assert {key: config["metrics"]["mine"][key] for key in ("better", "level")} == {"better": "max", "level": 0.25}
    meter = UserMeter(of_config("metric", config))
    meter.update({"target": torch.rand(5, 3, 8, 8)}, torch.ones(5, dtype=torch.bool))
    assert meter.compute(Workers(), torch.device("cpu")) == {"mine": 0.25}


def test_random_draws_of_a_metric_change_nothing_else(write: Write) -> None:
    text = "import torch\nbetter = 'max'\ndef m(target): return torch.rand(len(target))"
    meter = UserMeter(of_config("metric", resolved(write({"x.py": ""}), text)))
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    meter.update({"target": torch.rand(3, 1, generator=torch.Generator())}, torch.ones(3, dtype=torch.bool))
    assert torch.equal(torch.rand(3), expected)


def test_a_prediction_that_is_not_finite_is_not_blamed_on_the_metric(write: Write) -> None:
    text = "better = 'max'\ndef m(prediction): return prediction.mean((1, 2, 3))"
    meter = UserMeter(of_config("metric", resolved(write({"x.py": ""}), text)))
    output = torch.full((2, 3, 8, 8), torch.nan)
    meter.update(*inpaint.user_metric_inputs(output, torch.rand(2, 3, 8, 8), torch.ones(2, 1, 8, 8)))
    assert torch.tensor(meter.compute(Workers(), torch.device("cpu"))["mine"]).isnan()


WRONG_WHEN_CHECKED = {
    "def m(predicton, target): ...": "m has a parameter 'predicton', which is no input of a metric",
    "def m(prediction, target): ...": "neither the metric's file nor the sweep file says which values are better",
    "better = 'up'\ndef m(prediction): ...": "`better` is 'up'",
    "better = 'max'": "it defines no function",
    "better = 'max'\ndef a(mask): ...\ndef b(mask): ...": "it defines a, b, and the name does not say which is meant",
    "better = 'max'\ndef m(mask): ...\n1 / 0": "importing it raised ZeroDivisionError",
    "better = 'max'\ndef m(mask, name=1): ...": "an option cannot be called 'name'",
    "better = 'max'\ndef m(mask, better=1): ...": "m has a parameter 'better', which is the direction of a metric",
}


@pytest.mark.parametrize(("text", "says"), WRONG_WHEN_CHECKED.items())
def test_what_is_wrong_is_said_when_a_sweep_is_checked(write: Write, text: str, says: str) -> None:
    with pytest.raises(TrialError) as error:
        resolved(write({"x.py": ""}), text)
    assert says in error.value.why
    assert error.value.given.startswith("metrics.mine")
    assert error.value.allowed
    assert error.value.fix


WRONG_AT_THE_START = {
    "return 1.0": "it returned float",
    "return prediction.mean()": "it returned a tensor () for 2 images",
    "return prediction": "it returned a tensor (2, 3, 8, 8) for 2 images",
    "return prediction.mean((1, 2, 3)) / 0": "it returned NaN or infinity for 2 of 2 images",
    "return nothing": "it raised NameError: name 'nothing' is not defined (m.py:3)",
    "prediction *= 2\n    return prediction.mean((1, 2, 3))": "it changes its arguments in place",
}


@pytest.mark.parametrize(("body", "says"), WRONG_AT_THE_START.items())
def test_what_it_returns_is_checked_before_a_trial_starts(write: Write, body: str, says: str) -> None:
    config = resolved(write({"x.py": ""}), f"better = 'max'\ndef m(prediction):\n    {body}\n")
    check, part = next(one for one in inpaint.checks(config) if one[0] is inpaint.check_user_metrics)
    with pytest.raises(TrialError) as error:
        check(part, None)
    assert says in error.value.why
    assert error.value.given == "metric mine: m (m.py:2)"


def test_a_detector_is_scored_with_probabilities_labels_and_boxes(write: Write) -> None:
    folder = write(
        {
            "m.py": """
            better = "min"
            def brier(probability, label): return (probability - label) ** 2
            def width(box): return box[:, 2] - box[:, 0]
            def wrong(prediction): ...
            def scalar(label): return label.sum()
            """
        }
    )
    given: dict[str, Any] = {
        "data": {"set": {"layout": "casia", "path": "x", "size": 64}},
        "model": {"name": "majority"},
    }

    def config(*names: str) -> dict[str, Any]:
        metrics = {name: {"name": f"./m.py:{name}"} for name in names}
        return schema.resolve("detect", {**given, "metrics": metrics}, folder)

    for check, part in detect.checks(config("brier", "width")):
        check(part, None)
    with pytest.raises(TrialError, match="no input of a metric"):
        config("wrong")
    with pytest.raises(TrialError, match=r"returned a tensor \(\) for 4 images"):
        detect.checks(config("scalar"))[0][0](config("scalar"), None)
    inputs = {"probability": torch.tensor([0.5, 1.0]), "label": torch.tensor([1.0, 1.0])}
    metrics = of_config("detection_metric", config("brier", "width"))
    assert detect._user_values(metrics, inputs) == {"brier": 0.125}, "a detector without boxes has no metric of boxes"
