"""The configuration of changed test images, `test_changes` of task `detect`; imports no torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field, SerializeAsAny, create_model, model_validator

from trainables import registry
from trainables.code import references
from trainables.config.messages import unknown_name_error
from trainables.config.sections import StrictConfig
from trainables.config.variant import Extensible
from trainables.errors import TrialError


class PerturbationConfig(StrictConfig):
    """One perturbation of the test images before they are scored."""

    jpeg: int | None = Field(None, ge=1, le=100, description="JPEG compression at this quality")
    webp: int | None = Field(None, ge=1, le=100, description="WebP compression at this quality")
    blur: float | None = Field(None, ge=0.3, le=64, description="Gaussian blur, standard deviation in px")
    noise_sd: float | None = Field(
        None, ge=0.5, le=255, description="Gaussian noise, standard deviation in grey levels, of which there are 255"
    )
    resize: float | None = Field(None, ge=0.1, le=4, description="resize by this factor, and back to the original size")
    noise: float | None = Field(None, ge=0.5, le=255, description="older name of `noise_sd`")

    @model_validator(mode="after")
    def _is_one(self) -> PerturbationConfig:
        if sum(value is not None for value in self.model_dump().values()) != 1:
            raise ValueError("exactly one of jpeg, webp, blur, noise_sd and resize is required")
        return self


def _own_change(section: Mapping[str, Any], context: Mapping[str, Any]) -> Any:
    """The class of a section that names a user's function, and the section with its resolved name; else None."""
    name = registry.resolve_name("change", section["name"], context)
    if not references.parse(name):
        return None
    fields: dict[str, Any] = {"name": (str, ...)}
    return create_model("Config", __base__=registry.find("change", name).config, **fields), {**section, "name": name}


Step = Annotated[SerializeAsAny[PerturbationConfig], Extensible(_own_change, partial(registry.user_names, "change"))]


class StepsConfig(StrictConfig):
    """Several perturbations one after the other, or perturbations of other test sets."""

    steps: list[Step] = Field(min_length=1, max_length=8, description="[{resize: 0.5}, {jpeg: 75}]: in this order")
    on: Literal["all"] | list[str] | None = Field(
        None, min_length=1, description="labels of `test_sets`, `own` for the test images of data; all; null: own"
    )


def _change(section: Mapping[str, Any], context: Mapping[str, Any]) -> Any:
    """The class of a section with `steps`, or that names a user's function, and the section; else None."""
    if "steps" in section:
        return StepsConfig, section
    return _own_change(section, context) if isinstance(section.get("name"), str) else None


Change = Annotated[
    SerializeAsAny[PerturbationConfig], Extensible(_change, partial(registry.user_names, "change"), "steps")
]


def extend_schema(schema: dict[str, Any]) -> None:
    """Allow levels and steps in the JSON schema of a configuration with `test_changes`."""
    for one in schema["$defs"]["PerturbationConfig"]["properties"].values():
        one["anyOf"].append({"type": "array", "items": one["anyOf"][0], "minItems": 1})
    several = {key: value for key, value in StepsConfig.model_json_schema().items() if key != "$defs"}
    for one in schema["properties"]["test_changes"]["anyOf"]:
        if one.get("type") == "object":
            several["properties"]["steps"]["items"] = one["additionalProperties"]
            one["additionalProperties"] = {"anyOf": [one["additionalProperties"], several]}


# --- levels and steps -------------------------------------------------------------------------------------------------


def by_level(changes: Mapping[str, Any]) -> dict[str, Any]:
    """A change with a list of levels becomes one change a level, whose label ends with the level: jpeg90, blur0p8."""
    found: dict[str, Any] = {}
    for label, change in changes.items():
        levels = _levels(change)
        for level in levels or [None]:
            name = label if level is None else f"{label}{level}".replace(".", "p").replace("-", "m")
            if name in found or (level is not None and name in changes):
                raise TrialError(
                    f"test_changes.{label}: {levels or change}",
                    f"two changes would have the label {name!r}",
                    "labels that stay different when a level is added to them",
                    f"rename `test_changes.{label}`",
                    f"test_changes.{label}",
                )
            found[name] = change if level is None else _at_level(change, level)
    return found


def _levels(change: Any) -> list[Any]:
    """The levels of a change, of which at most one key has some."""
    several = change.get("steps") if isinstance(change, dict) else None
    steps = several if isinstance(several, list) else [change]
    lists = [
        value
        for step in steps
        if isinstance(step, dict) and "name" not in step
        for key, value in step.items()
        if key in PerturbationConfig.model_fields and isinstance(value, list)
    ]
    if len(lists) > 1:
        raise TrialError(
            f"test_changes: {change}",
            f"{len(lists)} of its keys have levels, and a curve is drawn over one",
            "one list of levels in a change",
            "keep one list, and write one change for each level of the other",
            "test_changes",
        )
    return lists[0] if lists else []


def _at_level(change: Any, level: Any) -> Any:
    if isinstance(change.get("steps"), list):
        return {
            **change,
            "steps": [_at_level(step, level) if isinstance(step, dict) else step for step in change["steps"]],
        }
    return {key: level if isinstance(value, list) and key != "on" else value for key, value in change.items()}


def complete_changes(changes: dict[str, Any] | None, sets: Collection[str]) -> dict[str, Any] | None:
    """The changes in their shortest form: a single step on the own test images is written without `steps`.

    Options that are off are as in older configurations, so that the same changes make the same trial. sets: labels of
    `test_sets`.
    """
    if changes is None:
        return None
    for label, change in changes.items():
        for step in steps_of(change):
            if step.get("noise_sd", 0) is None:
                del step["noise_sd"]
        if "steps" not in change:
            continue
        on = ["own", *sets] if change["on"] == "all" else list(dict.fromkeys(change["on"] or ["own"]))
        unknown = next((name for name in on if name not in ("own", *sets)), None)
        if unknown is not None:
            raise unknown_name_error(
                f"test_changes.{label}.on", unknown, ("own", *sets, "all"), f"test_changes.{label}.on"
            )
        if on == ["own"] and len(change["steps"]) == 1:
            changes[label] = change["steps"][0]
        else:
            changes[label] = {"steps": change["steps"], "on": None if on == ["own"] else sorted(on)}
    return changes


def steps_of(change: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The perturbations of a resolved change, in their order."""
    steps: list[dict[str, Any]] = change.get("steps", [change])
    return steps


def changed_sets(change: Mapping[str, Any]) -> list[str]:
    """The test sets that a resolved change applies to: labels of `test_sets`, and `own`."""
    return list(change["on"] or ["own"]) if "steps" in change else ["own"]


def check_resizing(changes: Mapping[str, Any], size: int) -> None:
    """Check that every `resize` of images of `size` px gives another size; `check_change` tries other changes."""
    for label, change in changes.items():
        factors = [step["resize"] for step in steps_of(change) if step.get("resize") is not None]
        for factor in (factor for factor in factors if round(factor * size) == size):
            raise TrialError(
                f"test_changes.{label}: {{resize: {factor:g}}}",
                f"images of {size} px keep their size, so no pixel changes",
                "a factor that gives another number of px, such as 0.5",
                f"change `test_changes.{label}.resize`",
                f"test_changes.{label}.resize",
            )
