"""`seeds` of a sweep file, where looks add seeds: until claims are decided, to a precision, or within a budget."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from sweeps import durations
from sweeps.spec.sections.strict import StrictSpec


def _time(text: str) -> str:
    durations.seconds(text)
    return text


class HalfWidth(StrictSpec):
    """Seeds are added to an arm until its difference to the baseline is known this precisely."""

    half_width: Annotated[float, Field(gt=0)] = Field(
        description="largest half-width of the interval of an arm's paired difference to its baseline, above 0"
    )
    metric: str = Field(description="the column of the difference, such as test/psnr_db")


class Budget(StrictSpec):
    """Looks go on while the next one fits into a budget of training time."""

    budget: Annotated[str, AfterValidator(_time)] = Field(
        description="training time of all trials together, such as 90m, 8h or 2d"
    )

    @property
    def seconds(self) -> float:
        return durations.seconds(self.budget)


def _rule(value: Any) -> str:
    """Which form of `until` a value has, so that errors are about the keys of that form."""
    if isinstance(value, HalfWidth | Budget):
        return "a budget" if isinstance(value, Budget) else "a half-width"
    return "decided" if not isinstance(value, dict) else "a budget" if "budget" in value else "a half-width"


class SeedsUntil(StrictSpec):
    """Seeds that are added at planned looks, to the arms that need them."""

    first: Annotated[int, Field(ge=2)] = Field(description="seeds of every arm before the first look, at least 2")
    step: Annotated[int, Field(ge=1)] = Field(description="seeds that a look adds to the arms that need them")
    most: Annotated[int, Field(ge=2, le=10_000)] = Field(description="seeds of an arm at most; not less than `first`")
    until: Annotated[
        Annotated[Literal["decided"], Tag("decided")]
        | Annotated[HalfWidth, Tag("a half-width")]
        | Annotated[Budget, Tag("a budget")],
        Discriminator(_rule),
    ] = Field(
        "decided",
        description="decided: until every claim is decided; {half_width: 0.05, metric: test/psnr_db}: until every "
        "difference to the baseline is that precise; {budget: 8h}: as decided, while the training time allows it",
    )

    @property
    def looks(self) -> tuple[int, ...]:
        """The number of seeds at each look."""
        return (*range(self.first, self.most, self.step), self.most)

    @model_validator(mode="after")
    def _first_is_not_above_most(self) -> SeedsUntil:
        if self.first > self.most:
            raise ValueError(f"`first` ({self.first}) is above `most` ({self.most})")
        return self
