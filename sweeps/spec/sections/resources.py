"""The section `resources` of a sweep file: what a trial runs on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sweeps.spec.sections.strict import StrictSpec


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
