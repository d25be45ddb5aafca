"""The fields of a sweep file: names, types, bounds and descriptions.

Configurations (`base` and its changes) are checked elsewhere, by the `Schema` that is passed to `sweeps.spec.plan`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    model_validator,
)

from sweeps import durations
from sweeps.spec.arms.arm_names import usable

Name = Annotated[str, Field(min_length=1, max_length=120), AfterValidator(usable)]
Key = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)*$")]
Seed = Annotated[str, Field(pattern=r"^\d+$")]
"""A seed as a key: keys of YAML are read as text."""
Correction = Literal["holm", "benjamini-hochberg"]
CORRECTIONS: tuple[str, ...] = get_args(Correction)
BEST = re.compile(r"best\((?P<column>[a-z0-9_/]+)\)$")


class StrictSpec(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class ArmSpec(StrictSpec):
    name: Name = Field(description="name of the arm: its row in the table")
    set: dict[Key, Any] = Field({}, description="changes to the base: {dotted key: value}")
    outputs: str | Annotated[dict[Seed, str], Field(min_length=1)] | None = Field(
        None,
        description="folder of images that another program has filled (sweeps export-test), or one for each seed, as "
        "{0: FOLDER, 1: FOLDER}: scored, not trained",
    )
    published: str | None = Field(None, description="variant of this arm in the published figures")


class Elastic(StrictSpec):
    min: Annotated[int, Field(ge=1)] = Field(description="fewest processes with which a trial continues")
    max: Annotated[int, Field(ge=1)] = Field(description="most processes that a trial uses if there is room")


class Resources(StrictSpec):
    workers: Annotated[int, Field(ge=1)] | Elastic = Field(
        1, description="processes per trial, which share each batch; {min: 1, max: 4}: as many as there is room for"
    )
    cpus: Annotated[int, Field(ge=1)] = Field(1, description="CPU threads per process")
    gpus: Annotated[float, Field(ge=0)] | Literal["auto"] = Field(
        "auto", description="GPUs per process, fractions allowed; auto: one if the cluster has any"
    )
    group: Literal["shared", "fresh"] = Field(
        "shared",
        description="shared: the same processes train one trial after the other; fresh: new processes for each trial, "
        "which takes half a minute longer",
    )
    train: bool = Field(False, description="true: use Ray Train even with one process per trial")

    @property
    def least_and_most(self) -> tuple[int, int]:
        """The fewest and the most processes per trial."""
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


class PublishedSpec(StrictSpec):
    study: str = Field(description="name of a file in analysis/claims/published")
    table: str = Field(description="name of a table in it")
    columns: dict[str, str] = Field({}, description="{our column: the document's metric} where the names differ")


OWN_CODE = r"^(.*\.py(:.+)?|[A-Za-z_][\w.]*:\w+)$"
"""Names of a user's own code: `FILE.py`, `FILE.py:NAME` and `package.module:NAME`."""
TASKS = ("inpaint", "detect", "match", "stack", "command")
"""The tasks of this package; any other one is a user's, whose file declares its columns."""
COMMAND = "command"
"""The task whose columns are declared in the sweep file, as `base.metrics`."""


def declared_metrics(sweep: Mapping[str, Any]) -> dict[str, str]:
    """The columns that the program of a sweep reports, each with its direction: those of `test`, if there are any.

    sweep: a sweep file as read, valid or not.
    """
    base = sweep.get("base")
    metrics = base.get("metrics") if sweep.get("task") == COMMAND and isinstance(base, dict) else None
    if not isinstance(metrics, dict):
        return {}
    tests = {column: better for column, better in metrics.items() if str(column).startswith("test/")}
    return tests or metrics


METRICS = {"detect": ["test/f1", "test/auc", "test/mean_iou"]}
"""Default of `report.metrics` for tasks other than `inpaint`."""


class ParetoSpec(StrictSpec):
    quality: str = Field(description="the test column that measures quality")
    cost: list[Literal["parameters", "sys/time_s", "sys/peak_memory_mb"]] = Field(
        ["parameters", "sys/time_s"],
        min_length=1,
        max_length=3,
        description="cost measures, each in a panel of its own",
    )


def _named(entry: str | dict[str, Any]) -> str | dict[str, Any]:
    if isinstance(entry, dict) and not isinstance(entry.get("name"), str):
        raise ValueError("it has no `name`: write {name: ./FILE.py, options}")
    return entry


class ReportSpec(StrictSpec):
    at: str = Field("last", description="the epoch whose test metrics are reported: last, or best(val/psnr_db)")
    test_epochs: list[Annotated[int, Field(ge=1)]] = Field([], description="additional epochs with test metrics")
    metrics: list[str] = Field(
        ["test/psnr_db", "test/l2", "test/ssim"], min_length=1, description="columns of the main table"
    )
    extra: list[Annotated[str | dict[str, Any], AfterValidator(_named)]] = Field(
        [],
        description="metrics that need trained networks, after the last epoch: lpips_alex, kid_squeezenet, ...; of "
        "detectors: pixel_auc, ...; and metrics of your own: ./FILE.py, or {name: ./FILE.py, options}",
    )
    statistic: Literal["mean", "interquartile mean"] = Field(
        "mean", description="how tables summarise the seeds; differences are means of pairs in either case"
    )
    correction: Correction = Field(
        "holm",
        description="correction of the tests of a metric's differences: holm bounds the chance of any false star, "
        "benjamini-hochberg the share of false stars",
    )
    published: PublishedSpec | None = Field(None, description="published figures to show next to ours")
    pareto: ParetoSpec | None = Field(None, description="adds a table and a figure of quality against cost")


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


class ProtocolSpec(StrictSpec):
    """A named evaluation, and the folders that it is used on."""

    name: str = Field(min_length=1, description="name of a protocol, or ./FILE.yaml")
    images: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="folder of photographs below the data root; null: the test images of the sweep, which then must "
        "have the size of the protocol's squares",
    )
    masks: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="folder of the mask files below the data root, if the protocol has some"
    )
    hash: str | None = Field(
        None, description="its hash, as `sweeps protocols` prints it: a protocol with another one is refused"
    )


class SweepSpec(StrictSpec):
    """The top level of a sweep file."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,79}$")] = Field(description="letters, digits, - and _")
    task: str = Field(
        description="the kind of training: inpaint, detect, match, stack or command; or a file of your own, ./FILE.py"
    )
    base: dict[str, Any] = Field(description="one complete configuration")
    base_name: Name = Field("base", description="name of the base as an arm")
    protocol: Annotated[str, Field(min_length=1)] | ProtocolSpec | None = Field(
        None,
        description="what rates the fills of every arm after the last epoch, as `sweeps score` does: the name of a "
        "protocol, ./FILE.yaml, or {name: ..., images: FOLDER}",
    )
    seeds: Annotated[int, Field(ge=1, le=10_000)] | list[Annotated[int, Field(ge=0, lt=2**31)]] | SeedsUntil = Field(
        1,
        description="how many repetitions (0, 1, ...), a list, or {first: 4, step: 4, most: 32, until: decided}",
    )
    baseline: Name | Annotated[dict[Key, Any], Field(min_length=1)] | None = Field(
        None,
        description="the arm with which the others are compared, by default the base; in a grid without arms the "
        "levels of a cell, as {optimiser.lr: 1.0e-3}, by default the first cell",
    )
    published: str | None = Field(None, description="variant of the base in the published figures, or 'TABLE: VARIANT'")
    arms: list[ArmSpec] = Field([], description="named arms, each the base with only these changes")
    grid: dict[Key, list[Any] | dict[str, Any]] = Field(
        {}, description="full factorial: {dotted key: [values]} or {dotted key: {label: value}}"
    )
    pairs: list[ArmSpec] = Field([], description="named changes; every two of them combined become an arm")
    leave_one_out: list[ArmSpec] = Field([], description="parts of the full method; each `set` removes one")
    search: SearchFileSpec | None = Field(None, description="a search for good values with Optuna")
    resources: Resources = Field(Resources(), description="what a trial runs on: {workers: 1, cpus: 1, gpus: auto}")
    report: ReportSpec = Field(ReportSpec(), description="what the report shows: {metrics: [test/psnr_db, ...], ...}")
    claims: list[ClaimSpec] = Field([], description="claims that the report judges, each {text: ..., metric: ..., ...}")
    small: dict[str, Any] = Field(
        {}, description="changes for a run within an hour on two cores, for --size small: {set: {...}, seeds: 8}"
    )
    no_small: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)] | None = Field(
        None,
        description="in place of `small`: why there is no such form, such as: it needs weights that are downloaded",
    )
    tiny: dict[str, Any] = Field({}, description="changes for a run of seconds, for --tiny: {set: {...}, seeds: 2}")

    @model_validator(mode="before")
    @classmethod
    def _report_has_the_tasks_metrics(cls, value: Any) -> Any:
        task = value.get("task") if isinstance(value, dict) else None
        report = value.get("report", {}) if isinstance(value, dict) else None
        if not isinstance(report, dict) or "metrics" in report:
            return value
        metrics = METRICS.get(str(task)) or declared_metrics(value)
        return {**value, "report": {**report, "metrics": list(metrics)}} if metrics else value

    @property
    def seed_list(self) -> list[int]:
        """The seeds of every arm; with looks, those before the first one."""
        if isinstance(self.seeds, SeedsUntil):
            return list(range(self.seeds.first))
        return list(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds
