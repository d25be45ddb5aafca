"""The fields of a sweep file, as it is written: names, types, bounds, and one line of meaning each.

What the configurations in it may hold is not decided here but by the schema that the command hands to
`sweeps.spec.plan`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Name = Annotated[str, Field(min_length=1, max_length=120)]
Key = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)*$")]
BEST = re.compile(r"best\((?P<column>[a-z0-9_/]+)\)$")


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class ArmSpec(Strict):
    name: Name = Field(description="what the table's row is called")
    set: dict[Key, Any] = Field({}, description="what differs from the base: {dotted key: value}")
    outputs: str | None = Field(
        None, description="folder of images that another system has filled (sweeps export-test): scored, not trained"
    )
    published: str | None = Field(None, description="the row's variant in the published figures")


class Elastic(Strict):
    min: Annotated[int, Field(ge=1)] = Field(description="fewest processes that a trial goes on with")
    max: Annotated[int, Field(ge=1)] = Field(description="most processes that it takes where there is room")


class Resources(Strict):
    workers: Annotated[int, Field(ge=1)] | Elastic = Field(
        1, description="processes a trial, which share each batch; or {min: 1, max: 4} for as many as there is room for"
    )
    cpus: Annotated[int, Field(ge=1)] = Field(1, description="CPU threads a process")
    gpus: Annotated[float, Field(ge=0)] | Literal["auto"] = Field(
        "auto", description="GPUs a process, a part of one allowed; auto: one if the cluster has any"
    )
    group: Literal["shared", "fresh"] = Field(
        "shared",
        description="shared: the processes train one trial after the other; fresh: other ones for each trial, which "
        "takes half a minute longer",
    )
    train: bool = Field(False, description="true: through Ray Train also with one process a trial")

    @property
    def least_and_most(self) -> tuple[int, int]:
        """Processes a trial."""
        if isinstance(self.workers, int):
            return self.workers, self.workers
        return self.workers.min, self.workers.max

    @property
    def grouped(self) -> bool:
        """Whether Ray Train runs the trials."""
        return self.train or self.workers != 1

    @model_validator(mode="after")
    def _least_is_least(self) -> Resources:
        least, most = self.least_and_most
        if least > most:
            raise ValueError(f"`min` ({least}) is above `max` ({most})")
        return self


class EarlyStoppingSpec(Strict):
    name: Literal["asha", "median", "none"] = Field(
        "none", description="the rule that ends hopeless trials of a search"
    )
    grace_epochs: Annotated[int, Field(ge=1)] = Field(1, description="epochs that every trial gets")
    reduction_factor: Annotated[float, Field(gt=1)] = Field(3.0, description="asha: one in so many goes on at a rung")


class SearchFileSpec(Strict):
    space: dict[str, Any] = Field(
        description="{dotted key: {float | int | choice | simplex | ratio: ...}}, see sweeps/space"
    )
    trials: Annotated[int, Field(ge=1)] = Field(description="suggestions an arm")
    sampler: str = Field("tpe", description="tpe, gp, cmaes, nsga2, random or qmc")
    metric: str | list[str] = Field(description="a validation column, or `parameters`; a list for several objectives")
    goal: str | list[str] = Field(description="max or min, one a metric")
    early_stopping: EarlyStoppingSpec = EarlyStoppingSpec()
    tune_seeds: list[Annotated[int, Field(ge=0, lt=2**31)]] = Field(
        [100], min_length=1, description="seeds that choose"
    )
    report_best: Annotated[int, Field(ge=0)] = Field(1, description="so many best configurations become arms")
    within_arms: bool = Field(False, description="true: each arm gets its own search with the same budget")
    points: list[dict[str, Any]] = Field([], description="known good points, asked first: {dotted key: value}")

    @property
    def metrics(self) -> tuple[str, ...]:
        return (self.metric,) if isinstance(self.metric, str) else tuple(self.metric)

    @property
    def goals(self) -> tuple[str, ...]:
        return (self.goal,) if isinstance(self.goal, str) else tuple(self.goal)


class PublishedSpec(Strict):
    study: str = Field(description="the document, as in analysis/claims/published")
    table: str = Field(description="its table")
    columns: dict[str, str] = Field({}, description="our column: the document's metric, where names differ")


METRICS = {"detect": ["test/f1", "test/auc", "test/mean_iou"]}
"""The report's columns of other tasks than `inpaint`, where none are given."""


class ParetoSpec(Strict):
    quality: str = Field(description="the test column by which arms are good")
    cost: list[Literal["parameters", "sys/time_s", "sys/peak_memory_mb"]] = Field(
        ["parameters", "sys/time_s"], min_length=1, max_length=3, description="what it is told against, a panel each"
    )


class ReportSpec(Strict):
    at: str = Field("last", description="last, or best(val/psnr_db): the epoch whose test metrics count")
    test_epochs: list[Annotated[int, Field(ge=1)]] = Field([], description="further epochs with test metrics")
    metrics: list[str] = Field(
        ["test/psnr_db", "test/l2", "test/ssim"], min_length=1, description="columns of the table"
    )
    extra: list[str] = Field(
        [], description="scores by trained networks after the last epoch: lpips_alex, kid_squeezenet, ..."
    )
    statistic: Literal["mean", "interquartile mean"] = Field(
        "mean", description="what of the seeds is told; differences are means of pairs in either case"
    )
    correction: Literal["holm", "benjamini-hochberg"] = Field(
        "holm", description="for the tests of a metric's differences: of any false star, or of their share among stars"
    )
    published: PublishedSpec | None = Field(None, description="whose figures stand beside ours")
    pareto: ParetoSpec | None = Field(None, description="a table and picture of quality against cost")


class ClaimSpec(Strict):
    text: Name = Field(description="what the document says")
    source: str | None = Field(None, description="where it says so")
    metric: str | None = Field(None, description="the column it is judged by")
    epoch: Annotated[int, Field(ge=1)] | None = Field(None, description="at this epoch instead of the report's")
    better: str | None = Field(None, description="the arm that shall be better ...")
    than: str | None = Field(None, description="... than this one")
    by: Annotated[float, Field(ge=0)] = Field(0.0, description="... by at least this much, in the metric's unit")
    equal: list[str] | None = Field(None, min_length=2, max_length=2, description="two arms that shall not differ ...")
    within: Annotated[float, Field(gt=0)] | None = Field(
        None, description="... by more than this, in the metric's unit"
    )
    order: list[str] | None = Field(None, min_length=2, description="arms from best to worst")
    improves: str | None = Field(None, description="the arm that shall be better (by ...) at the end than `after` ...")
    settles: str | None = Field(
        None, description="the arm that shall gain no more than `within` from `after` to the end"
    )
    after: Annotated[int, Field(ge=1)] | None = Field(None, description="... this epoch, one of report.test_epochs")
    arm: str | None = Field(None, description="the arm whose metric shall be higher than ...")
    above: str | None = Field(None, description="... this other column of the same arm")
    fails: str | None = Field(None, description="the arm that shall fail")

    @property
    def can_be_judged(self) -> bool:
        """Whether it has exactly one form, with what that form needs and nothing else."""
        given = {key for key, value in self if value is not None and key not in ("text", "source", "epoch", "by")}
        forms = (
            {"metric", "better", "than"},
            {"metric", "equal", "within"},
            {"metric", "order"},
            {"metric", "improves", "after"},
            {"metric", "settles", "after", "within"},
            {"metric", "arm", "above"},
            {"fails"},
        )
        return given in forms and (not self.by or "better" in given or "improves" in given)

    @property
    def arms(self) -> list[str]:
        """All arms that the claim speaks of."""
        single = [name for name in (self.better, self.than, self.improves, self.settles, self.arm, self.fails) if name]
        return single + (self.equal or []) + (self.order or [])


class SweepSpec(Strict):
    """The file as it is written; field for field what DESIGN's example shows."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,79}$")] = Field(description="letters, digits, - and _")
    task: str = Field(description="how a trial learns")
    base: dict[str, Any] = Field(description="one complete configuration")
    base_name: Name = Field("base", description="what the base is called as an arm")
    seeds: Annotated[int, Field(ge=1, le=10_000)] | list[Annotated[int, Field(ge=0, lt=2**31)]] = Field(
        1, description="how many repetitions (0, 1, ...), or a list of seeds"
    )
    baseline: Name | None = Field(None, description="the arm that others are compared with; the base if not given")
    published: str | None = Field(None, description="the base's variant in the published figures, or 'TABLE: VARIANT'")
    arms: list[ArmSpec] = Field([], description="each is the base with only this changed")
    grid: dict[Key, list[Any] | dict[str, Any]] = Field(
        {}, description="full factorial: {dotted key: [values]} or {dotted key: {label: value}}"
    )
    pairs: list[ArmSpec] = Field([], description="named changes; every two of them together become an arm")
    leave_one_out: list[ArmSpec] = Field([], description="parts of the full method; each `set` takes one away")
    search: SearchFileSpec | None = Field(None, description="Optuna searches for good values")
    resources: Resources = Resources()
    report: ReportSpec = ReportSpec()
    claims: list[ClaimSpec] = []
    tiny: dict[str, Any] = Field({}, description="changes that make it run in seconds: {set: {...}, seeds: 2}")

    @model_validator(mode="before")
    @classmethod
    def _report_has_the_tasks_metrics(cls, value: Any) -> Any:
        task = value.get("task") if isinstance(value, dict) else None
        report = value.get("report", {}) if isinstance(value, dict) else None
        if task not in METRICS or not isinstance(report, dict) or "metrics" in report:
            return value
        return {**value, "report": {**report, "metrics": METRICS[task]}}

    @property
    def seed_list(self) -> list[int]:
        return list(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds
