"""Sections of a configuration whose name decides which other keys they have: {name: ..., options}."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from trainables.code import files

NameResolver = Callable[[str, Mapping[str, Any]], str]
NameSchema = Callable[[], JsonSchemaValue]


class Variant:
    """Annotation of a field: a section whose `name` chooses the class of its other keys.

    It is a discriminated union whose members are looked up, not listed: a class is imported when it is named. The value
    is plain data with every default filled in, the name first.
    """

    def __init__(
        self,
        choices: Mapping[str, type[BaseModel]],
        resolve_name: NameResolver | None = None,
        others: NameSchema | None = None,
    ) -> None:
        """resolve_name: turns a name that is not among the choices as it is written into one that is.

        others: the JSON schema of the names that it turns.
        """
        self.choices, self._resolve_name, self._others = choices, resolve_name, others

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(lambda section, info: self.resolve(section, info.context))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        choices = [_json_schema(name, config, handler) for name, config in self.choices.items()]
        if self._others:
            choices.append({"type": "object", "properties": {"name": self._others()}, "required": ["name"]})
        return {"oneOf": choices}

    def resolve(self, section: Any, context: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The section with its defaults. Raises ValidationError, or PydanticCustomError for the name itself.

        context: of the validation, for the resolver of names.
        """
        if not isinstance(section, dict) or not isinstance(section.get("name"), str):
            raise PydanticCustomError("no_name", "it has no `name`")
        name = self._name(section, context)
        if name not in self.choices:
            context = {"name": name, "allowed": list(self.choices)}
            raise PydanticCustomError("unknown_name", "there is no such name", context)
        config = self.choices[name]
        pinned = files.pin_options(config, section, context or {})
        return {"name": name, **options(config, {**section, **pinned}).model_dump(), **pinned}

    def config(self, section: Mapping[str, Any], context: Mapping[str, Any] | None) -> type[BaseModel]:
        """The class of a section's other keys."""
        return self.choices[self._name(section, context)]

    def _name(self, section: Mapping[str, Any], context: Mapping[str, Any] | None) -> str:
        name: str = section["name"]
        return name if self._resolve_name is None else self._resolve_name(name, context or {})


class Extensible:
    """Annotation of a field: a section whose `name` may be that of a user's code, which brings further keys.

    The value is an instance of the field's class, or of another class with these keys; annotate the field with
    `SerializeAsAny` too.
    """

    def __init__(
        self, config_of: Callable[[Mapping[str, Any], Mapping[str, Any]], Any], others: NameSchema, key: str = "name"
    ) -> None:
        """config_of: (class, section with its resolved name) of a section and the context of the validation, or None
        if its name is not that of a user's code.

        others: the JSON schema of the names of users' code. key: another key with which a section has other keys.
        """
        self._config_of, self._others, self._key = config_of, others, key

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_wrap_validator_function(self._validate, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        own = {"type": "object", "properties": {"name": self._others()}, "required": ["name"]}
        return {"anyOf": [handler(schema), own]}

    def _validate(self, section: Any, usual: Callable[[Any], Any], info: ValidationInfo) -> Any:
        found = self._found(section, info.context)
        return usual(section) if found is None else found[0].model_validate(found[1], context=info.context)

    def config(self, section: Any, context: Mapping[str, Any] | None, usual: type[BaseModel]) -> type[BaseModel]:
        """The class of a section, the usual one unless it names a user's code."""
        found = self._found(section, context)
        return usual if found is None else found[0]

    def _found(self, section: Any, context: Mapping[str, Any] | None) -> Any:
        if not isinstance(section, dict) or not isinstance(section.get("name", ""), str):
            return None  # not a name, which the usual class says
        if "name" not in section and self._key not in section:
            return None
        return self._config_of(section, context or {})


def _json_schema(name: str, config: type[BaseModel], handler: GetJsonSchemaHandler) -> JsonSchemaValue:
    schema = handler.resolve_ref_schema(handler(config.__pydantic_core_schema__))
    properties = {"name": {"const": name}, **schema.get("properties", {})}
    return {**schema, "title": name, "properties": properties, "required": ["name", *schema.get("required", [])]}


def options(config: type[BaseModel], section: Mapping[str, Any]) -> Any:
    """The keys of a section beside its name as an instance of their class; files are the checked copies."""
    given = {key: item for key, item in section.items() if key != "name"}
    for key in files.file_options(config):
        if isinstance(given.get(key), str):
            given[key] = files.path_of(given[key])
    return config.model_validate(given)
