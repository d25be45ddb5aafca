"""The section `report` of a sweep file."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field

from sweeps.spec.sections.strict import StrictSpec

Correction = Literal["holm", "benjamini-hochberg"]
CORRECTIONS: tuple[str, ...] = get_args(Correction)
BEST = re.compile(r"best\((?P<column>[a-z0-9_/]+)\)$")


class PublishedSpec(StrictSpec):
    study: str = Field(description="name of a file in analysis/claims/published")
    table: str = Field(description="name of a table in it")
    columns: dict[str, str] = Field({}, description="{our column: the document's metric} where the names differ")


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
