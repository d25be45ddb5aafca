"""Which plans may replace a stored plan of the same name."""

from __future__ import annotations

import pytest

from sweeps.errors import SweepError
from sweeps.results.check_unchanged import refuse_other_values
from tests.sweeps.conftest import Expand


@pytest.mark.parametrize(
    ("before", "now", "why"),
    [
        ((), ("data.train=32",), "data.train of arm 'base' is 256 there, and 32 in the new plan"),
        (("data.train=32",), (), "data.train of arm 'base' is 32 there"),
        ((), ("seeds=1",), "arm 'base' has the seed 1, and not in the new plan"),
        ((), ("epochs=2",), "arm 'base' is trained for 4 epochs, and for 2 in the new plan"),
        (
            (),
            ("arms=[{name: mean fill, set: {model: {name: mean_fill}}}]", "claims=[]"),
            "it has an arm 'wide', the new plan has none",
        ),
    ],
)
def test_values_that_take_something_are_refused(
    expand: Expand, before: tuple[str, ...], now: tuple[str, ...], why: str
) -> None:
    stored = expand(changes=before).to_json([])
    with pytest.raises(SweepError) as caught:
        refuse_other_values(stored, expand(changes=now))
    assert why in caught.value.why
    assert caught.value.given.endswith(" ".join(f"--set {change}" for change in now) or "without --set")
    assert all(word in caught.value.fix for word in ("`name:`", "--store", "--replace", "sweeps resume small"))


@pytest.mark.parametrize("now", [("seeds=4",), ("epochs=9",), ("resources.cpus=2",), ("report.metrics=[test/l2]",)])
def test_a_plan_may_grow(expand: Expand, now: tuple[str, ...]) -> None:
    stored = expand().to_json([])
    refuse_other_values(stored, expand(changes=now))
    refuse_other_values(None, expand(changes=("data.train=32",)))


def test_an_edited_file_is_not_refused(expand: Expand) -> None:
    """The report says what was changed in a file."""
    refuse_other_values(expand().to_json([]), expand(("seeds: 2", "seeds: 1")))
