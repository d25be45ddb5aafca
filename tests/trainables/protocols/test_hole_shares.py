"""How much of an image the masks of protocols cover, as a distribution, against that of the authors' generators.

`authors_hole_shares.csv` has the quantiles of the shares of holes that the authors' code has drawn, which is not part
of this repository: for np.random.seed(100000) to seed(101499) on square images, by advimman/lama at 786f593,
fenglinglwb/MAT at d273d89 and JiahuiYu/generative_inpainting at 3a53243. LaMa's code draws no mask for some seeds. The
line random-regions-128 is of pathak22/context-encoder at 68abd11 (train_random.lua): its generator was written again in
NumPy with other random numbers, since Torch for Lua cannot be run here. Unlike checksums, this check does not depend on
how a version of Pillow or OpenCV draws a line.
"""

from __future__ import annotations

import csv
import importlib
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from sweeps.api.protocols.named import find_protocol
from sweeps.protocols import files
from trainables.protocols.protocol import Protocol

DRAWS, FIRST_SEED = 300, 2000
LEAST_P = 1e-3
OTHERWISE = ("random-regions-128",)
"""Protocols of our own making whose shares are known to be distributed otherwise; their `evidence` says so."""


@cache
def authors() -> dict[str, tuple[int, np.ndarray]]:
    """By protocol: the number of masks that the authors' code drew, and the quantiles of their shares."""
    with (Path(__file__).parent / "authors_hole_shares.csv").open(newline="") as opened:
        _, *rows = csv.reader(opened)
    return {name: (int(draws), np.array(shares, float)) for name, draws, *shares in rows}


@cache
def shares(name: str) -> np.ndarray:
    """The shares of the holes of a protocol on square images."""
    content = find_protocol(name).content
    assert isinstance(content, Protocol)
    draw = importlib.import_module(f"trainables.protocols.generators.{content.masks['name']}").draw
    side = content.images.size
    found = []
    for seed in range(FIRST_SEED, FIRST_SEED + DRAWS):
        hole_hw, square = draw(content.mask_options(), side, side, np.random.RandomState(seed))
        found.append(hole_hw[square].mean())
    return np.array(found)


def p_of_one_distribution(ours: np.ndarray, name: str) -> float:
    """The p-value of the two-sample Kolmogorov-Smirnov test that these shares and those of the authors are alike."""
    draws, quantiles = authors()[name]
    levels = np.linspace(0, 1, len(quantiles))
    ordered = np.sort(ours)
    cdf = np.interp(ordered, quantiles, levels, left=0, right=1)
    steps = np.arange(1, len(ordered) + 1) / len(ordered)
    distance = max((steps - cdf).max(), (cdf - steps + 1 / len(ordered)).max())
    size = len(ordered) * draws / (len(ordered) + draws)
    return float(stats.kstwobign.sf(distance * np.sqrt(size)))


@pytest.mark.parametrize("name", sorted(set(authors()) - set(OTHERWISE)))
def test_shares_of_holes_are_distributed_as_those_of_the_authors(name: str) -> None:
    assert p_of_one_distribution(shares(name), name) > LEAST_P


def test_the_check_tells_generators_apart() -> None:
    """Of another generator they are not accepted, unless its holes are as large, as LaMa's thin and thick ones are."""
    for one, other in (
        ("lama-thin-256", "lama-medium-256"),
        ("mat-large-256", "mat-small-256"),
        ("deepfill-freeform", "mat-small-256"),
    ):
        assert p_of_one_distribution(shares(one), other) < LEAST_P / 1000


def test_known_differences_are_told() -> None:
    for name in OTHERWISE:
        assert p_of_one_distribution(shares(name), name) < LEAST_P
        content = find_protocol(name).content
        assert content.equality == "own"
        assert "Kolmogorov-Smirnov" in content.evidence


def test_every_protocol_with_random_masks_is_compared_or_says_why_not() -> None:
    """Nothing is random in `exact`; `files` are the authors'; others of our own have no published generator."""
    found = {name: find_protocol(name).content.equality for name in files.names()}
    assert {name for name, equality in found.items() if equality == "bits"} == set(authors()) - set(OTHERWISE)
    own = {name for name, equality in found.items() if equality == "own"} - set(OTHERWISE)
    assert own == {"lines-32", "random-blocks-128"}
    for name in own:
        assert "no generator was published" in find_protocol(name).content.evidence
