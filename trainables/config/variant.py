"""Sections of a configuration that name a variant and give its options: {name: ..., options}."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema


class Variant:
    """Annotation of a field: a section whose `name` chooses the class of its other keys.

    It is a discriminated union whose members are looked up, not listed: a class is imported when it is named. The value
    is plain data with every default filled in, the name first.
    """

    def __init__(self, choices: Mapping[str, type[BaseModel]]) -> None:
        self.choices = choices

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.resolve)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"oneOf": [_json_schema(name, config) for name, config in self.choices.items()]}

    def resolve(self, section: Any) -> dict[str, Any]:
        """The section with its defaults. Raises ValidationError, or PydanticCustomError for the name itself."""
        if not isinstance(section, dict) or not isinstance(section.get("name"), str):
            raise PydanticCustomError("no_name", "it has no `name`")
        name = section["name"]
        if name not in self.choices:
            context = {"name": name, "allowed": list(self.choices)}
            raise PydanticCustomError("unknown_name", "there is no such name", context)
        return {"name": name, **options(self.choices[name], section).model_dump()}


def _json_schema(name: str, config: type[BaseModel]) -> JsonSchemaValue:
    schema = config.model_json_schema()
    properties = {"name": {"const": name}, **schema.get("properties", {})}
    return {**schema, "title": name, "properties": properties, "required": ["name", *schema.get("required", [])]}


def options(config: type[BaseModel], section: Mapping[str, Any]) -> Any:
    """The keys of a section beside its name as an instance of their class."""
    return config.model_validate({key: item for key, item in section.items() if key != "name"})
