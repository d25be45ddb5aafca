"""Transfer learning transfers: SqueezeNet trained on ImageNet against the same network from scratch, eight seeds."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from tests.trainables.forgery.forged_small import InMemory, configured, small
from trainables.training.loop import fit
from trainables.training.session import Goal, Machine, MemorySession

WEIGHTS = "squeezenet1_0/squeezenet1_0_torchvision_layout.npz"
EPOCHS = 4
SEEDS = 8
STUDENT_T = 2.365
"""0.975 quantile with SEEDS - 1 degrees of freedom."""


def accuracy(root: Path, weights: str, seed: int) -> float:
    """On 400 test images after equal epochs on 500, enlarged to 64 px."""
    model = {"name": "detector", "backbone": "squeezenet1_0", "head": "label", "weights": weights}
    optimiser = {"name": "adam", "lr": 1e-4}
    config = configured(seed, model=model, data={"input_size": 64}, optimiser=optimiser, epochs=EPOCHS)
    session = MemorySession(Goal(EPOCHS), Machine(data_root=root))
    fit(InMemory(small(root, 250, 40, 200)), config, session)  # type: ignore[arg-type]
    return float(session.rows[-1]["test/accuracy"])


@pytest.mark.slow
def test_pretrained_weights_help_at_equal_epochs(data_root: Path) -> None:
    gaps = [accuracy(data_root, WEIGHTS, seed) - accuracy(data_root, "none", seed) for seed in range(SEEDS)]
    half = STUDENT_T * float(np.std(gaps, ddof=1)) / math.sqrt(SEEDS)
    print(f"accuracy with ImageNet's weights less without: {np.mean(gaps):+.3f} ± {half:.3f} (n = {SEEDS})")
    assert np.mean(gaps) - half > 0.05
