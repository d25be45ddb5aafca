"""Sections of configurations that name a data set, ours or a user's; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import Annotated, Any, TypeVar

from pydantic import Field, SerializeAsAny, create_model

from trainables import registry
from trainables.code import references
from trainables.config.sections import DataConfig, PartConfig, PhotographsConfig, SourceConfig
from trainables.config.variant import Extensible

Section = TypeVar("Section", bound=SourceConfig)


def read(base: type[Section], section: Mapping[str, Any]) -> Section:
    """A resolved section as an instance of its class: the base, or for a user's data set one with its options too."""
    found: Section = _class_of(base, section["name"]).model_validate(section)
    return found


@cache
def _class_of(base: type[Section], name: str) -> type[Section]:
    if not references.parse(name):
        return base
    options = registry.find("dataset", name).config
    fields: dict[str, Any] = {key: (field.annotation, field) for key, field in options.model_fields.items()}
    made: type[Section] = create_model(base.__name__, __base__=base, **fields, name=(str, ...))
    return made


def _users(base: type[SourceConfig]) -> Extensible:
    """The annotation of a section of this class that may name a user's data set."""

    def config_of(section: Mapping[str, Any], context: Mapping[str, Any]) -> Any:
        name = registry.resolve_name("dataset", section["name"], context)
        return (_class_of(base, name), {**section, "name": name}) if references.parse(name) else None

    return Extensible(config_of, partial(registry.user_names, "dataset"))


class DataSection(DataConfig):
    """A `data` section whose parts may be users' data sets."""

    train_on: list[Annotated[SerializeAsAny[PartConfig], _users(PartConfig)]] | None = Field(
        None, min_length=1, description=DataConfig.model_fields["train_on"].description
    )


Data = Annotated[SerializeAsAny[DataSection], _users(DataSection)]
"""A `data` section."""
Photographs = Annotated[SerializeAsAny[PhotographsConfig], _users(PhotographsConfig)]
"""The section `images` of a forge block."""
