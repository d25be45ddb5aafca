"""What all sections of a sweep file share: no unknown keys, and the forms of names and keys."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from sweeps.spec.arms.arm_names import usable

Name = Annotated[str, Field(min_length=1, max_length=120), AfterValidator(usable)]
Key = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)*$")]
Seed = Annotated[str, Field(pattern=r"^\d+$")]
"""A seed as a key: keys of YAML are read as text."""


class StrictSpec(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
