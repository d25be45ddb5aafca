"""The recipes of CONTRIBUTING.md: each is followed in a copy, then one study trains with all of them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PACKAGES = ("sweeps", "trainables", "cluster", "analysis")

OPTIONS = """

class StripeConfig(MaskConfig):
    family: ClassVar[str] = "stripe"

    share: float = Field(0.25, gt=0, lt=1, description="height, as a share of the image's side")
"""
MASK = '''

def stripe(
    n: int,
    canvas: Canvas,
    generator: torch.Generator,
    options: config.StripeConfig,
) -> MaskDraw:
    """One stripe across the image, uniform in place."""
    height = round(canvas.size * options.share)
    top = _integer(_uniform(n, 1, generator), 0, canvas.size - height)
    rest = torch.tensor([0, height, canvas.size]).expand(n, 3)
    return Rectangles(canvas.size, torch.cat([top, rest], dim=1))
'''
LOSS = '''

def l4(prediction_b3hw: Tensor, target_b3hw: Tensor) -> Tensor:
    """Mean fourth power of the error over the whole image."""
    return (prediction_b3hw - target_b3hw).pow(4).mean()
'''
STUDY = """
# Do the recipes work?
#
# Run: sweeps run sweeps/inpainting/recipes.yaml
# Time: seconds
# Found: not yet run
name: recipes
task: inpaint
base:
  data: {name: folder, path: photos, size: 8, train: 8, val: 2, test: 2}
  mask: {name: stripe, share: 0.5}
  model: {name: tiny_net}
  loss: {l2: 1.0, l4: 1.0}
  batch: 8
arms:
  - {name: wider, set: {model.width: 32}}
claims:
  - {text: "the wider network is better", metric: test/l2, better: wider, than: base}
tiny: {set: {epochs: 1}, seeds: 1}
"""


def recipe(name: str) -> str:
    """The text of a recipe."""
    match = re.search(rf"^- \*\*{name}\*\*: (.*?)(?=^- \*\*|^## )", CONTRIBUTING, re.MULTILINE | re.DOTALL)
    assert match, f"CONTRIBUTING.md has no recipe {name!r}"
    return match[1]


def place(name: str) -> str:
    """The first path that a recipe names: where the code goes."""
    return re.findall(r"`((?:sweeps|trainables)/[^`]*)`", recipe(name))[0]


def example() -> dict[str, str]:
    """The files of docs/your-own.md, to which the recipe points: path -> text."""
    page = (ROOT / "docs" / "your-own.md").read_text(encoding="utf-8")
    found = re.findall(r'^```python title="(tiny_net/\w+\.py)"\n(.*?)^```$', page, re.MULTILINE | re.DOTALL)
    assert len(found) == 3, "docs/your-own.md shows no complete tiny_net"
    return dict(found)


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages in which every recipe was followed, and a folder of small images."""
    copy = tmp_path_factory.mktemp("checkout")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / place("A model") / "tiny_net").mkdir()
    for path, text in example().items():
        (copy / place("A model") / path).write_text(text, encoding="utf-8")
    append(copy / place("A mask"), MASK)
    append((copy / place("A mask")).with_name("config.py"), OPTIONS)
    append(copy / place("A loss"), LOSS)
    study = place("A study").replace("<topic>", "inpainting").replace("<name>", "recipes")
    (copy / study).write_text(STUDY.lstrip(), encoding="utf-8")
    (copy / "data" / "photos").mkdir(parents=True)
    for number in range(40):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(copy / "data" / "photos" / f"{number:02}.png")
    return copy


@pytest.mark.parametrize("name", ["A model", "A mask", "A loss"])
def test_a_recipe_names_a_place_that_exists(name: str) -> None:
    assert (ROOT / place(name)).exists()


def test_the_recipes_train(checkout: Path) -> None:
    """One epoch of one step, of two arms, with the new model, mask and loss."""
    module, _, name = pyproject()["project"]["scripts"]["sweeps"].partition(":")
    program = f"import sys; from {module} import {name} as main; sys.exit(main(sys.argv[1:]))"
    study = str(checkout / "sweeps" / "inpainting" / "recipes.yaml")
    environment = {**os.environ, "PYTHONPATH": str(checkout), "SWEEPS_DATA": str(checkout / "data")}
    done = subprocess.run(
        [sys.executable, "-c", program, "run", study, "--tiny", "--store", str(checkout / "store"), "--quiet"],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    results = [json.loads(path.read_text()) for path in checkout.glob("store/trials/*/result/1.json")]
    assert len(results) == 2
    for result in results:
        assert {"train/l2", "train/l4", "test/l2"} <= result["history"].keys()
        assert result["history"]["test/hole_fraction"] == [0.5]


def test_contributing_stays_short() -> None:
    assert len(CONTRIBUTING.splitlines()) < 50
