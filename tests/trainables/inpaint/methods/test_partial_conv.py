"""The partial convolution against its formula, window by window, and against an ordinary convolution."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F

from trainables.inpaint.blocks.partial_convolution import PartialConv2d


def by_definition(layer, x, valid):
    """Output and new mask, a double loop over windows in float64."""
    weight, bias = layer.conv.weight.detach(), layer.conv.bias.detach()
    (k, _), (s, _), p = layer.conv.kernel_size, layer.conv.stride, layer.padding
    each = torch.cat([v.expand(count, -1, -1) for count, v in zip(layer.counts, valid[0].split(1), strict=True)])
    image, mask = F.pad(x[0], [p] * 4), F.pad(each, [p] * 4)  # padding counts as missing
    height, width = ((side - k) // s + 1 for side in image.shape[1:])
    output = torch.zeros(len(weight), height, width, dtype=torch.float64)
    new = torch.zeros(1, height, width, dtype=torch.float64)
    for i, j in itertools.product(range(height), range(width)):
        window = (slice(None), slice(i * s, i * s + k), slice(j * s, j * s + k))
        m = mask[window]
        if m.sum() > 0:
            total = (weight * (image[window] * m)).sum((1, 2, 3))
            output[:, i, j] = total * m.numel() / m.sum() + bias
            new[0, i, j] = 1
    return output[None], new[None]


COUNTS = [(6,), (4, 2), (1, 2, 3), (1,) * 6]


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, 1), (3, 2, 1), (3, 1, 0), (1, 1, 0), (5, 2, 3)])
def test_by_definition(counts, kernel, stride, padding):
    torch.manual_seed(0)
    layer = PartialConv2d(counts, 4, kernel, stride, padding).double()
    for share in (0.02, 0.3, 0.9):
        x = torch.randn(1, 6, 9, 8, dtype=torch.float64)
        valid = (torch.rand(1, len(counts), 9, 8) < share).double()
        valid[:, :, :5, :5] = 0  # windows without a valid element
        output, new = layer(x, valid)
        expected, expected_new = by_definition(layer, x, valid)
        assert (expected_new == 0).any() or kernel == 5
        assert torch.equal(new, expected_new)
        torch.testing.assert_close(output, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 0), (1, 1), (2, 1)])
def test_with_a_full_mask_it_is_a_convolution(counts, stride, padding):
    layer = PartialConv2d(counts, 4, 3, stride, padding).double()
    x = torch.randn(2, 6, 9, 9, dtype=torch.float64)
    output, new = layer(x, torch.ones(2, len(counts), 9, 9, dtype=torch.float64))
    plain = F.conv2d(x, layer.conv.weight, layer.conv.bias, stride, padding)
    inside = (slice(None), slice(None), slice(padding, -padding or None), slice(padding, -padding or None))
    torch.testing.assert_close(output[inside], plain[inside])
    assert (new == 1).all()
    if padding:  # a corner has 4 of 9 elements: what is there is scaled up
        bias = layer.conv.bias.view(-1, 1, 1)[:, 0]
        torch.testing.assert_close(output[:, :, 0, 0] - bias.T, (plain[:, :, 0, 0] - bias.T) * 9 / 4)


def test_nothing_valid_gives_zero_and_stays_missing():
    layer = PartialConv2d((3,), 2, 3, 1, 1)
    output, new = layer(torch.rand(1, 3, 4, 4), torch.zeros(1, 1, 4, 4))
    assert (output == 0).all()
    assert (new == 0).all()


def test_values_that_are_missing_do_not_matter():
    layer = PartialConv2d((4, 2), 3, 3, 2, 1)
    x, valid = torch.rand(1, 6, 8, 8), (torch.rand(1, 2, 8, 8) < 0.5).float()
    each = valid.repeat_interleave(torch.tensor([4, 2]), dim=1)
    other = torch.where(each > 0, x, torch.full_like(x, 1e6))
    assert torch.equal(layer(x, valid)[0], layer(other, valid)[0])


def test_gradients():
    torch.manual_seed(0)
    layer = PartialConv2d((2, 1), 2, 3, 2, 1).double()
    x = torch.randn(2, 3, 5, 5, dtype=torch.float64, requires_grad=True)
    valid = (torch.rand(2, 2, 5, 5) < 0.4).double()

    def output(x, weight, bias):
        parameters = {"conv.weight": weight, "conv.bias": bias}
        return torch.func.functional_call(layer, parameters, (x, valid))[0]

    assert torch.autograd.gradcheck(output, (x, layer.conv.weight, layer.conv.bias))
    assert not layer(x, valid)[1].requires_grad


def test_the_mask_is_no_part_of_the_weights():
    assert set(PartialConv2d((2, 1), 2).state_dict()) == {"conv.weight", "conv.bias"}
