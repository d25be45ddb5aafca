"""The catalogue: meanings from docstrings, and options in words."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from trainables import catalogue
from trainables.config.messages import validated
from trainables.config.sections import OPTIMISERS, StrictConfig
from trainables.config.variant import Variant
from trainables.errors import TrialError


class Inner(StrictConfig):
    size: int = Field(3, ge=1, description="px")


class Outer(StrictConfig):
    inner: Inner = Field(Inner(), description="a section")
    again: list[Inner] = Field([], description="sections")
    name: Literal["a", "b"] = Field(description="which")
    share: Annotated[float, Field(gt=0, lt=1)] | None = Field(None, description="a share")
    range: list[Annotated[int, Field(ge=1)]] = Field([1, 2], min_length=2, max_length=2, description="two numbers")
    optimiser: Annotated[dict[str, Any], Variant(OPTIMISERS)] | None = Field(None, description="an optimiser")


def test_options_have_type_bounds_default_and_meaning() -> None:
    options = {option.key: option for option in catalogue.options(Outer)}
    assert {key: option.type for key, option in options.items()} == {
        "inner": "a section",
        "inner.size": "a whole number of at least 1",
        "again": "a list (a section), with the keys of `inner`",
        "name": "'a' or 'b'",
        "share": "a number above 0, below 1 or null",
        "range": "a list of length 2 (a whole number of at least 1)",
        "optimiser": "one of adam, sgd or null",
    }
    assert [key for key, option in options.items() if option.required] == ["name"]
    assert options["inner"].default == {"size": 3}
    assert options["inner.size"].meaning == "px"
    assert "name" not in {option.key for option in catalogue.options(Outer, skip=("name",))}


def test_an_error_says_the_bounds_of_list_items() -> None:
    with pytest.raises(TrialError) as refused:
        validated("", Outer, {"name": "a", "range": [1, 2, 3]})
    assert refused.value.allowed == "a list of length 2 (a whole number of at least 1) (default [1, 2]): two numbers"


@pytest.mark.parametrize(
    ("docstring", "first", "rest"),
    [
        ("One sentence.", "One sentence.", ""),
        ("One\nsentence. Another\none.", "One sentence.", "Another one."),
        ("By M. Bertalmio et al. 2001, say. Next.", "By M. Bertalmio et al. 2001, say.", "Next."),
        ("First.\n\nSecond\nline.\n\n- item\n- item", "First.", "Second line.\n\n- item\n- item"),
    ],
)
def test_the_first_sentence_of_a_docstring(docstring: str, first: str, rest: str) -> None:
    assert catalogue.text_parts(docstring) == (first, rest)


@pytest.mark.parametrize("kind", catalogue.KINDS)
def test_meanings_are_whole_sentences(kind: str) -> None:
    for entry in catalogue.entries(kind):
        assert entry.meaning[0].isupper() or not entry.meaning[0].isalpha(), entry.name
        assert entry.meaning.endswith("."), entry.name
        assert entry.meaning.count("(") == entry.meaning.count(")"), entry.name


def test_every_loss_term_of_a_model_has_a_meaning() -> None:
    losses = {entry.name for entry in catalogue.entries("losses")}
    for entry in catalogue.entries("methods"):
        own = dict(entry.facts).get("own loss terms", "")
        assert {term for term in own.split(", ") if term} <= losses
