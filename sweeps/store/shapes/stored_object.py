"""The base of all shapes: strict types, and other fields allowed."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

Json = dict[str, Any]


class StoredObject(BaseModel):
    """The fields that readers rely on; others are allowed, so that older and newer objects are read."""

    model_config = ConfigDict(strict=True, extra="ignore")
