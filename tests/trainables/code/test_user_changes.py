"""Users' changes of the test images of a detector."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from trainables import schema
from trainables.detect import task as detect
from trainables.detect.perturbations import perturb
from trainables.errors import TrialError

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
Write = Callable[[dict[str, str]], Path]


def resolved(folder: Path, name: str = "./c.py", **options: Any) -> dict[str, Any]:
    given = {
        "data": {"set": {"layout": "casia", "path": "x", "size": 64}},
        "model": {"name": "majority"},
        "test_changes": {"mine": {"name": name, **options}, "jpeg": {"jpeg": 50}},
    }
    return schema.resolve("detect", given, folder)


def test_a_change_is_applied_to_every_image(write: Write) -> None:
    config = resolved(write({"c.py": "def darker(image, *, by: float): return image * (1 - by)"}), by=0.5)
    images = torch.randint(0, 256, (5, 3, 16, 16), dtype=torch.uint8)
    changed = perturb(images, config["test_changes"]["mine"])
    assert torch.equal(changed, (images.float() / 2).round().to(torch.uint8))
    assert (
        config["test_changes"]["jpeg"]
        == schema.resolve(
            "detect", {"data": config["data"], "model": config["model"], "test_changes": {"jpeg": {"jpeg": 50}}}
        )["test_changes"]["jpeg"]
    )


def test_the_example_draws_for_each_image_by_its_index() -> None:
    change = resolved(EXAMPLES, "./my_change.py", levels=4)["test_changes"]["mine"]
    images = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8).repeat(3, 1, 1, 1)
    changed = perturb(images, change)
    assert torch.equal(changed, perturb(images, change))
    assert torch.equal(changed[:2], perturb(images[:2], change))
    assert not torch.equal(changed[0], changed[1])
    assert (changed[:, 0] == changed[:, 1]).all()


def test_code_and_options_are_part_of_the_identity_and_comments_are_not(write: Write) -> None:
    def identity(text: str, **options: Any) -> Any:
        return schema.identity("detect", resolved(write({"c.py": text}), **options), 0)

    text = "def darker(image, *, by: float = 0.5): return image * by"
    assert identity("# mine\n" + text) == identity(text)
    assert identity(text, by=0.25) != identity(text)
    assert identity(text.replace("image * by", "image / by")) != identity(text)


@pytest.mark.parametrize(
    ("text", "options", "says"),
    [
        ("def c(picture): ...", {}, "c takes (picture)"),
        ("def c(image, *, by: float): ...", {}, "it is required"),
        ("def c(image, *, by: float = 1.0): ...", {"yb": 1.0}, "there is no such name"),
        ("def c(image, *, by: float = 1.0): ...", {"by": "much"}, "should be a valid number"),
        ("x = 1", {}, "it defines no function"),
    ],
)
def test_what_is_wrong_is_said_when_a_sweep_is_checked(
    write: Write, text: str, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(TrialError) as error:
        resolved(write({"c.py": text}), **options)
    assert says in error.value.why
    assert error.value.given.startswith("test_changes.mine")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("return 1", "it returned int"),
        ("return image[:, 1:]", "it returned a tensor (3, 63, 64) for (3, 64, 64)"),
        ("return image / 0", "it returned NaN or infinity"),
        ("return (image * 255).long()", "it returned a tensor of torch.int64"),
        ("return lost", "it raised NameError: name 'lost' is not defined (c.py:2)"),
    ],
)
def test_what_it_returns_is_checked_before_a_trial_starts(write: Write, body: str, says: str) -> None:
    config = resolved(write({"c.py": f"def c(image):\n    {body}\n"}))
    [(check, part)] = [(check, part) for check, part in detect.checks(config) if part["label"] == "mine"]
    with pytest.raises(TrialError) as error:
        check(part, None)
    assert says in error.value.why
    assert error.value.given == "test_changes: c (c.py:1)"
