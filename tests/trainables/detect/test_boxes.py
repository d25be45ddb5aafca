"""Boxes and the loss terms of detectors: by hand, against torchvision's operators, and for boxes without area."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import Tensor

from trainables import registry
from trainables.detect import boxes
from trainables.detect import losses as detection_losses

PAIR_1 = torch.tensor([[10.0, 10, 80, 80]]), torch.tensor([[15.0, 15, 85, 85]])
PAIR_2 = torch.tensor([[10.0, 10, 180, 180]]), torch.tensor([[15.0, 15, 200, 200]])
"""The example of 000_0d9f1f22a9376145: a true box and a predicted one, at two scales."""
OF_BOXES = [name for name, inputs in registry.parameters("detection_loss").items() if inputs[0] == "box_b4"]


def term(name: str, box_b4: Tensor, true_b4: Tensor, beta: float = 1.0) -> Tensor:
    extra = {"beta": beta} if "beta" in registry.parameters("detection_loss")[name] else {}
    value: Tensor = getattr(detection_losses, name)(box_b4, true_b4, **extra)
    return value


def drawn(n: int, seed: int = 0) -> Tensor:
    """Boxes with ordered corners, in [0, 100]."""
    return boxes.ordered(100 * torch.rand(n, 4, generator=torch.Generator().manual_seed(seed)))


# --- by hand ----------------------------------------------------------------------------------------------------------


def test_the_documents_example() -> None:
    assert [round(boxes.iou(*pair).item(), 3) for pair in (PAIR_1, PAIR_2)] == [0.758, 0.758]
    assert [term("mse", *pair).item() for pair in (PAIR_1, PAIR_2)] == [25.0, 212.5], "000 says 225"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("l1", 3.5),  # differences 3, -4, 0 and -7
        ("mse", 18.5),
        ("l2_distance", 74**0.5),
        ("smooth_l1", (2.5 + 3.5 + 0 + 6.5) / 4),
        ("smooth_l1_seed", (2.5 + 3.5 + 0 + 6.5) / 4),
    ],
)
def test_corner_terms(name: str, expected: float) -> None:
    found, true = torch.tensor([[13.0, 6, 50, 43]]), torch.tensor([[10.0, 10, 50, 50]])
    assert term(name, found, true).item() == pytest.approx(expected)


@pytest.mark.parametrize(("beta", "left", "right"), [(1 / 9, 0.0062, 0.105), (2.0, 2.0, 0.0), (10.0, 50.0, -40.0)])
def test_the_documents_smooth_l1_jumps(beta: float, left: float, right: float) -> None:
    def at(distance: float, name: str) -> float:
        return 4 * term(name, torch.tensor([[distance, 0, 0, 0]]), torch.zeros(1, 4), beta).item()

    assert at(beta * (1 - 1e-6), "smooth_l1_seed") == pytest.approx(left, abs=1e-3)
    assert at(beta * (1 + 1e-6), "smooth_l1_seed") == pytest.approx(right, abs=1e-3)
    assert at(beta * (1 - 1e-6), "smooth_l1") == pytest.approx(at(beta * (1 + 1e-6), "smooth_l1"), rel=1e-4)


def test_overlaps_by_hand() -> None:
    a, apart = torch.tensor([[0.0, 0, 2, 2]]), torch.tensor([[3.0, 0, 5, 2]])
    assert boxes.giou(a, apart).item() == pytest.approx(-(10 - 8) / 10)
    assert boxes.diou(a, apart).item() == pytest.approx(-9 / 29)
    inside = torch.tensor([[0.5, 0.5, 1.5, 1.5]])
    assert boxes.giou(a, inside) == boxes.iou(a, inside) == pytest.approx(0.25)


def test_only_the_plain_iou_has_no_gradient_where_boxes_do_not_meet() -> None:
    gradients = {}
    for name in ("iou", "giou", "diou", "ciou"):
        found = torch.tensor([[0.0, 0, 2, 2]], requires_grad=True)
        term(name, found, torch.tensor([[3.0, 0, 5, 3]])).sum().backward()
        assert found.grad is not None
        gradients[name] = found.grad.abs().sum().item()
    assert gradients["iou"] == 0
    assert all(gradients[name] > 0.01 for name in ("giou", "diou", "ciou"))


def test_masks_to_boxes_and_back() -> None:
    box = torch.tensor([[0.25, 0.5, 0.75, 0.625], [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    mask = boxes.boxes_to_masks(box, 32)
    assert mask.sum((1, 2, 3)).tolist() == [16 * 4, 32 * 32, 0]
    assert mask[0, 0, 16:20, 8:24].all()
    assert torch.equal(boxes.masks_to_boxes(mask), box)


# --- against torchvision ----------------------------------------------------------------------------------------------


def test_overlaps_are_torchvisions() -> None:
    from torchvision import ops

    found, true = drawn(200), drawn(200, seed=1)
    theirs = {
        "iou": 1 - ops.box_iou(found, true).diagonal(),
        "giou": ops.generalized_box_iou_loss(found, true),
        "diou": ops.distance_box_iou_loss(found, true),
        "ciou": ops.complete_box_iou_loss(found, true),
    }
    for name, expected in theirs.items():
        torch.testing.assert_close(term(name, found, true), expected, atol=1e-5, rtol=1e-4)


def test_gradients_are_torchvisions() -> None:
    from torchvision import ops

    for name, theirs in (("giou", ops.generalized_box_iou_loss), ("ciou", ops.complete_box_iou_loss)):
        grads = []
        for loss in (lambda a, b, name=name: term(name, a, b), theirs):
            found = drawn(50).requires_grad_()
            loss(found, drawn(50, seed=1)).sum().backward()
            grads.append(found.grad)
        torch.testing.assert_close(*grads, atol=1e-5, rtol=1e-3)


# --- boxes without area -----------------------------------------------------------------------------------------------

DEGENERATE = torch.tensor(
    [
        [0.5, 0.5, 0.5, 0.5],
        [0.0, 0.0, 0.0, 0.0],
        [0.8, 0.2, 0.2, 0.8],
        [0.2, 0.8, 0.8, 0.2],
        [0.9, 0.9, 0.1, 0.1],
        [-3.0, -3.0, -3.0, 5.0],
        [1e-9, 0.0, 2e-9, 1.0],
    ]
)


@pytest.mark.parametrize("unit", [1.0, 256.0])
@pytest.mark.parametrize("name", OF_BOXES)
def test_boxes_without_area_give_numbers(name: str, unit: float) -> None:
    for true in (torch.zeros(7, 4), torch.tensor([0.25, 0.25, 0.75, 0.75]).expand(7, 4), DEGENERATE):
        found = (DEGENERATE * unit).requires_grad_()
        value = term(name, found, true * unit)
        value.sum().backward()
        assert value.shape == (7,)
        assert value.isfinite().all()
        assert found.grad is not None
        assert found.grad.isfinite().all()


def test_swapped_corners_are_the_box_between_them() -> None:
    swapped, true = torch.tensor([[0.8, 0.8, 0.2, 0.2]]), torch.tensor([[0.2, 0.2, 0.8, 0.8]])
    for name in ("iou", "giou", "diou", "ciou"):
        assert term(name, swapped, true).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", OF_BOXES)
def test_boxes_in_half_precision_are_compared_in_float32(name: str, dtype: torch.dtype) -> None:
    found, true = (drawn(200, seed=seed).to(dtype) for seed in (0, 1))
    with torch.autocast("cpu", torch.bfloat16):
        values = [term(name, found, true), term(name, found, true.float())]
    for value in values:
        assert value.dtype == torch.float32
        assert torch.equal(value, term(name, found.float(), true.float()))
    assert term(name, found.double(), true.double()).dtype == torch.float64


def test_a_mask_of_a_box_in_half_precision_is_that_of_its_float32_value() -> None:
    box = (drawn(200) / 100).bfloat16()
    assert torch.equal(boxes.boxes_to_masks(box, 300), boxes.boxes_to_masks(box.float(), 300))


# --- labels and masks -------------------------------------------------------------------------------------------------


def test_label_and_mask_terms_by_hand() -> None:
    logit, label = torch.tensor([0.0, 2.0]), torch.tensor([1.0, 0.0])
    expected = torch.tensor([2.0, 1 + torch.e**2]).log()
    torch.testing.assert_close(detection_losses.bce(logit, label), expected)
    mask = torch.zeros(2, 1, 4, 4)
    mask[0, 0, :2] = 1
    assert detection_losses.mask_bce(torch.zeros(2, 1, 4, 4), mask).tolist() == pytest.approx(
        [0.6931, 0.6931], abs=1e-3
    )
    perfect = 200 * (mask - 0.5)
    assert detection_losses.mask_dice(perfect, mask).tolist() == pytest.approx([0, 0])
    assert detection_losses.mask_dice(-perfect, mask).tolist() == pytest.approx([1 - 1 / 17, 1 - 1 / 17])


def test_terms_are_the_public_functions() -> None:
    public = {name for name, _ in inspect.getmembers(detection_losses, inspect.isfunction) if not name.startswith("_")}
    assert set(registry.parameters("detection_loss")) == public
