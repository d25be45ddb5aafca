"""The base of the JSON documents that verbs print with `--json`, and what several of them have.

A later version may add keys. It raises `schema` where it removes one or changes what one means.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class JsonOutput(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class JsonDocument(JsonOutput):
    schema_: int = Field(1, alias="schema", description="version of this document")


class ErrorParts(JsonOutput):
    given: str = Field(description="what was given, with its place")
    why: str = Field(description="why it cannot be used")
    allowed: str = Field(description="what is allowed")
    fix: str = Field(description="what to type")


class ErrorOutput(JsonDocument):
    """Printed instead of a verb's document, with exit code 2."""

    error: ErrorParts = Field(description="the four parts of the error")


class ProtocolName(JsonOutput):
    name: str = Field(description="name of the protocol")
    hash: str = Field(description="its hash; it changes with whatever decides the numbers")


def write(document: BaseModel) -> None:
    """Print a document. Numbers that JSON does not have, such as infinities, are null."""
    print(document.model_dump_json(indent=2, by_alias=True))


def error(parts: Any) -> ErrorOutput:
    """A `SweepError` or `TrialError`."""
    return ErrorOutput(
        error=ErrorParts(given=str(parts.given), why=str(parts.why), allowed=str(parts.allowed), fix=parts.fix)
    )


def protocol_name(section: Mapping[str, Any] | None) -> ProtocolName | None:
    return None if section is None else ProtocolName(name=section["name"], hash=section["hash"])
