"""The fields of a sweep file: names, types, bounds and descriptions.

Configurations (`base` and its changes) are checked elsewhere, by the `Schema` that is passed to `sweeps.spec.plan`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, StringConstraints, model_validator

from sweeps.spec.sections.claims import ClaimSpec
from sweeps.spec.sections.report import ReportSpec
from sweeps.spec.sections.resources import Resources
from sweeps.spec.sections.search import SearchFileSpec
from sweeps.spec.sections.seeds import SeedsUntil
from sweeps.spec.sections.strict import Key, Name, Seed, StrictSpec

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


class ArmSpec(StrictSpec):
    name: Name = Field(description="name of the arm: its row in the table")
    set: dict[Key, Any] = Field({}, description="changes to the base: {dotted key: value}")
    outputs: str | Annotated[dict[Seed, str], Field(min_length=1)] | None = Field(
        None,
        description="folder of images that another program has filled (sweeps export-test), or one for each seed, as "
        "{0: FOLDER, 1: FOLDER}: scored, not trained",
    )
    published: str | None = Field(None, description="variant of this arm in the published figures")


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
