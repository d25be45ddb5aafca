"""An entry of `claims` in a sweep file: a statement that the report judges."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sweeps.spec.sections.strict import Name, StrictSpec

CLAIM_FORMS = (
    {"metric", "better", "than"},
    {"metric", "not_worse", "than", "within"},
    {"metric", "equal", "within"},
    {"metric", "order"},
    {"metric", "improves", "after"},
    {"metric", "settles", "after", "within"},
    {"metric", "arm", "above"},
    {"metric", "arm", "above", "over"},
    {"metric", "arm", "like", "share"},
    {"fails"},
)
"""The sets of keys that make a claim, beside `CLAIM_FREE`."""
CLAIM_FREE = ("text", "source", "epoch", "by", "least_size")
"""Keys of a claim of any form; `by` belongs to `better` and `improves`."""


class ClaimSpec(StrictSpec):
    text: Name = Field(description="the claim in words")
    source: str | None = Field(None, description="where the document states it")
    metric: str | None = Field(None, description="the column by which it is judged")
    epoch: Annotated[int, Field(ge=1)] | None = Field(None, description="judge at this epoch instead of `report.at`")
    better: str | None = Field(None, description="the arm that should be better ...")
    than: str | None = Field(None, description="... than this one ...")
    not_worse: str | None = Field(
        None, description="the arm that should be at least as good as `than`, or worse by `within` at most"
    )
    by: Annotated[float, Field(ge=0)] = Field(0.0, description="... by at least this much, in the metric's unit")
    equal: list[str] | None = Field(None, min_length=2, max_length=2, description="two arms that should not differ ...")
    within: Annotated[float, Field(gt=0)] | None = Field(
        None, description="... by more than this, in the metric's unit"
    )
    order: list[str] | None = Field(None, min_length=2, description="arms from best to worst")
    improves: str | None = Field(None, description="the arm that should be better (by ...) at the end than ...")
    settles: str | None = Field(
        None, description="the arm that should gain no more than `within` from `after` to the end"
    )
    after: Annotated[int, Field(ge=1)] | None = Field(None, description="... at this epoch, one of report.test_epochs")
    arm: str | None = Field(None, description="the arm whose metric should be higher than ...")
    above: str | Annotated[float, Field(allow_inf_nan=False)] | None = Field(
        None, description="... this other column of the same arm, or than this number"
    )
    like: str | None = Field(None, description="... or should be about as high as this other column of the same arm")
    share: Annotated[float, Field(gt=0)] | None = Field(
        None, description="by how much the two may differ, as a share of the column `like`"
    )
    over: str | None = Field(
        None, description="both columns count as the share that `arm` gains of what this arm leaves to 1"
    )
    fails: str | None = Field(None, description="the arm whose training should diverge")
    least_size: Annotated[int, Field(ge=1)] | None = Field(
        None, description="side of the images in pixels below which the claim is not tested"
    )

    @property
    def can_be_judged(self) -> bool:
        """Whether its keys are exactly those of one form."""
        given = {key for key, value in self if value is not None and key not in CLAIM_FREE}
        columns = "over" not in given or isinstance(self.above, str)
        return given in CLAIM_FORMS and columns and (not self.by or "better" in given or "improves" in given)

    @property
    def arms(self) -> list[str]:
        """All arms that the claim names."""
        single = (self.better, self.not_worse, self.than, self.improves, self.settles, self.arm, self.over, self.fails)
        return [name for name in single if name] + (self.equal or []) + (self.order or [])
