"""The JSON document of `doctor`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from sweeps.cli.programs.json_document import JsonDocument, JsonOutput

if TYPE_CHECKING:
    from cluster.connection.doctor.check_result import CheckResult


class DoctorCheck(JsonOutput):
    state: Literal["ok", "warning", "failed"] = Field(description="result of the check")
    what: str = Field(description="what was found")
    do: str = Field(description="how to fix it; empty if ok")


class DoctorOutput(JsonDocument):
    ready: bool = Field(description="whether no check has failed")
    checks: list[DoctorCheck] = Field(description="one for each check")


def doctor(checks: Iterable[CheckResult]) -> DoctorOutput:
    lines = [DoctorCheck(state=one.state, what=one.what, do=one.do) for one in checks]
    return DoctorOutput(ready=all(line.state != "failed" for line in lines), checks=lines)
