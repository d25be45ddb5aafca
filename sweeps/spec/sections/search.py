"""The section `search` of a sweep file."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from sweeps.spec.sections.strict import StrictSpec


class EarlyStoppingSpec(StrictSpec):
    name: Literal["asha", "median", "none"] = Field(
        "none", description="rule that stops unpromising trials of a search"
    )
    grace_epochs: Annotated[int, Field(ge=1)] = Field(1, description="epochs before a trial may be stopped")
    reduction_factor: Annotated[float, Field(gt=1)] = Field(
        3.0, description="asha: one trial in this many continues past a rung"
    )


class LimitSpec(StrictSpec):
    most: float | None = Field(None, description="the value may not be higher")
    least: float | None = Field(None, description="the value may not be lower")

    @model_validator(mode="after")
    def _limits(self) -> LimitSpec:
        if self.most is None and self.least is None:
            raise ValueError("it has neither `most` nor `least`")
        if self.most is not None and self.least is not None and self.least > self.most:
            raise ValueError(f"`least` ({self.least:g}) is above `most` ({self.most:g})")
        return self


class SearchFileSpec(StrictSpec):
    space: dict[str, Any] = Field(
        description="{dotted key: {float | int | choice | simplex | ratio: ...}}, see docs/sweep-files.md"
    )
    trials: Annotated[int, Field(ge=1)] = Field(description="number of suggestions per search")
    sampler: str = Field("tpe", description="tpe, gp, cmaes, nsga2, random or qmc")
    metric: str | list[str] = Field(description="a validation column, or `parameters`; a list for several objectives")
    goal: str | list[str] = Field(description="max or min; a list with one per metric")
    constraints: dict[str, LimitSpec] = Field(
        {},
        description="limits that a configuration must keep to become an arm: {parameters: {most: 5.0e6}}; a validation "
        "column, `parameters`, or a column of the machine (sys/time_s)",
    )
    early_stopping: EarlyStoppingSpec = Field(
        EarlyStoppingSpec(), description="{name: asha | median | none, grace_epochs: N, reduction_factor: N}"
    )
    tune_seeds: list[Annotated[int, Field(ge=0, lt=2**31)]] = Field(
        [100], min_length=1, description="seeds on which every suggestion is trained"
    )
    report_best: Annotated[int, Field(ge=0)] = Field(1, description="number of best configurations that become arms")
    within_arms: bool = Field(False, description="true: each arm gets its own search with the same budget")
    points: list[dict[str, Any]] = Field([], description="known good points, tried first: {dotted key: value}")

    @property
    def limits(self) -> dict[str, dict[str, float]]:
        """`constraints` as plain data: {column: {most: number, least: number}}."""
        return {column: limit.model_dump(exclude_none=True) for column, limit in self.constraints.items()}

    @property
    def metrics(self) -> tuple[str, ...]:
        return (self.metric,) if isinstance(self.metric, str) else tuple(self.metric)

    @property
    def goals(self) -> tuple[str, ...]:
        return (self.goal,) if isinstance(self.goal, str) else tuple(self.goal)
