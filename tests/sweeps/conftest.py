"""A small sweep as text, for tests that change one thing in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.spec import loader
from sweeps.spec.expand import expand as expand_sweep
from sweeps.spec.plan import Plan
from trainables import schema

SMALL = """\
# Is a wider autoencoder better?
name: small
task: inpaint
base:
  data: {name: cifar10, train: 256, val: 64, test: 64}
  mask: {name: lines}
  model: {name: vanilla_autoencoder, width: 8}
  optimiser: {name: adam, lr: 1.0e-3}
  batch: 64
  epochs: 4
seeds: 2
arms:
  - {name: wide, set: {model.width: 16}}
  - {name: mean fill, set: {model: {name: mean_fill}}}
report:
  metrics: [test/psnr_db]
claims:
  - {text: wider is better, metric: test/psnr_db, better: wide, than: base}
"""

Expand = Callable[..., Plan]


@pytest.fixture
def expand(tmp_path: Path) -> Expand:
    """Expand the small sweep with replaced texts: `expand(("epochs: 4", "epochs: 5"), changes=("seeds=3",))`."""

    def run(*replaced: tuple[str, str], size: str = "full", changes: tuple[str, ...] = ()) -> Plan:
        text = SMALL
        for old, new in replaced:
            assert old in text
            text = text.replace(old, new)
        file = tmp_path / "small.yaml"
        file.write_text(text)
        return expand_sweep(loader.load(file, size, changes), schema)

    return run
