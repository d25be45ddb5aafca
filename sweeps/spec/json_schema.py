"""The JSON schema (draft 7) of sweep files, for editors and validators.

It is the schema of `sweeps.spec.schema` joined with that of each task's configuration. It refuses most of what `sweeps
check` refuses, but not what keys require of each other. `set`, `grid` and `points` may have any dotted key; values of
known keys are checked. References to trials of other sweeps are accepted wherever a trial is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sweeps import sizes
from sweeps.results import columns
from sweeps.spec.references import Best, TrialsOf
from sweeps.spec.schema import COMMAND, OWN_CODE, TASKS, SweepSpec
from sweeps.spec.sections.claims import CLAIM_FORMS, CLAIM_FREE, ClaimSpec

Schema = dict[str, Any]
_ARMS = ("arms", "pairs", "leave_one_out")


def build(
    tasks: Mapping[str, Schema],
    terms: Mapping[str, Mapping[str, str]],
    samplers: Sequence[str],
    installed: Mapping[str, Sequence[str]],
) -> Schema:
    """The schema of a sweep file.

    tasks: the schema of `base` by task. terms: meaning of each loss term by task.
    samplers: the allowed values of `search.sampler`. installed: entry points of users' packages by kind: task, loss
    and metric.
    """
    own_metric = _own_metric(installed["metric"])
    schema = _inlined(SweepSpec.model_json_schema())
    properties = schema["properties"]
    properties["task"] = {**properties["task"], **_any_of({"enum": [*tasks, *installed["task"]]}, _text(OWN_CODE))}
    properties["seeds"]["anyOf"][1].update(minItems=1, uniqueItems=True)
    for block in sizes.BLOCKS:
        properties[block]["properties"] = {"set": {"type": "object"}}
    entries = properties["report"]["properties"]["extra"]
    entries["items"] = _any_of({"enum": [*columns.EXTRA, *columns.DETECTION_EXTRA]}, own_metric)
    _restrict_search(_not_null(properties["search"])["properties"], samplers)
    _restrict_claims(properties["claims"]["items"])
    baseline = properties["baseline"]["anyOf"][1]
    for mapping in (*(properties[key]["items"]["properties"]["set"] for key in _ARMS), properties["grid"], baseline):
        mapping["additionalProperties"] = False  # the keys of these have a pattern
    definitions: Schema = {}
    branches = []
    for task, given in tasks.items():
        base = _with_references(_inlined(given))
        base["properties"].pop("protocol", None)  # filled in from that of the sweep
        others = dict.fromkeys(installed["loss"], "of an installed package")
        _restrict_terms(base["properties"].get("loss", {}), {**others, **terms.get(task, {})})
        known = {key: _value_of(values) for key, values in _dotted_keys(base, f"#/$defs/{task}-base").items()}
        levels = {key: _levels({"$ref": f"#/$defs/{task}-set/properties/{key}"}) for key in known}
        definitions |= {f"{task}-base": base, f"{task}-set": {"properties": known}}
        definitions[f"{task}-grid"] = {"properties": levels}
        condition = {"properties": {"task": {"const": task}}, "required": ["task"]}
        branches.append({"if": condition, "then": {"properties": _of_task(task)}})
    branches.append({"if": _declares_columns(own_metric), "else": {"properties": _known_columns()}})
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "sweep file of inpaint-sweeps",
        **{key: value for key, value in schema.items() if key != "title"},
        "allOf": branches,
        "$defs": definitions,
    }


def _of_task(task: str) -> Schema:
    """The keys of a sweep file that contain configurations of a task."""
    changes = {"$ref": f"#/$defs/{task}-set"}
    return {
        "base": {"$ref": f"#/$defs/{task}-base"},
        **{key: {"items": {"properties": {"set": changes}}} for key in _ARMS},
        "grid": {"$ref": f"#/$defs/{task}-grid"},
        **{block: {"properties": {"set": changes}} for block in sizes.BLOCKS},
        "search": {"properties": {"points": {"items": changes}}},
    }


# --- sections of a sweep file -----------------------------------------------------------------------------------------


def _own_metric(installed: Sequence[str]) -> Schema:
    """An entry of `report.extra` with code of a user's own."""
    named = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    return _any_of(_text(OWN_CODE), *([{"enum": list(installed)}] if installed else []), named)


def _declares_columns(own_metric: Schema) -> Schema:
    """A sweep whose columns are not all ours: those of a program, a user's task or a user's metric have any names."""
    own = {"extra": {"contains": own_metric}}
    return _any_of(
        {"properties": {"task": {"not": {"enum": [task for task in TASKS if task != COMMAND]}}}, "required": ["task"]},
        {"properties": {"report": {"properties": own, "required": ["extra"]}}, "required": ["report"]},
    )


def _known_columns() -> Schema:
    """The keys of a sweep file that name columns, of a sweep that has only ours."""
    validation = columns.column_pattern(("val",))
    metric, column = _text(f"^parameters$|{validation}"), _any_of(_column(), {"type": "null"})
    return {
        "report": {
            "properties": {
                "at": _text(rf"^(last|best\({validation.strip('^$')}\))$"),
                "metrics": {"items": _column()},
                "pareto": {"properties": {"quality": _text(columns.column_pattern(("test",)))}},
            }
        },
        "search": {"properties": {"metric": _one_or_several(metric)}},
        "claims": {
            "items": {"properties": {"metric": column, "like": column, "above": _any_of(column, {"type": "number"})}}
        },
    }


def _restrict_search(search: Schema, samplers: Sequence[str]) -> None:
    search["sampler"].update(enum=list(samplers))
    search["goal"].update(_one_or_several({"enum": ["max", "min"]}))


def _one_or_several(one: Schema) -> Schema:
    return _any_of(one, {"type": "array", "items": one, "minItems": 1})


def _restrict_claims(claim: Schema) -> None:
    """A claim has the keys of exactly one form; `ClaimSpec.can_be_judged` checks the same."""
    keys = set(ClaimSpec.model_fields) - set(CLAIM_FREE)
    claim["anyOf"] = []
    for form in CLAIM_FORMS:
        given: Schema = {key: {"type": "null"} for key in sorted(keys - form)}
        given |= {key: {"not": {"type": "null"}} for key in sorted(form)}
        if "over" in form:
            given["above"] = {"type": "string"}
        if not form & {"better", "improves"}:
            given["by"] = {"const": 0}
        claim["anyOf"].append({"required": sorted(form), "properties": given})


def _column() -> Schema:
    """A column that trials report; editors suggest those without a suffix."""
    plain = [name if "/" in name else f"test/{name}" for name in columns.metrics()]
    return _any_of({"enum": plain}, _text(columns.column_pattern()))


# --- configurations ---------------------------------------------------------------------------------------------------


def _restrict_terms(loss: Schema, terms: Mapping[str, str]) -> None:
    """The loss terms by name, in a mapping of any names to weights."""
    for section in (loss, *loss.get("anyOf", [])):
        weight = section.get("additionalProperties")
        if isinstance(weight, dict):
            section["properties"] = {name: {**weight, "description": text} for name, text in terms.items()}
            section["patternProperties"] = {OWN_CODE: weight}
            section["additionalProperties"] = False


def _with_references(schema: Any) -> Any:
    """A schema of configurations in which a reference is allowed wherever a trial id, or ids by seed, are."""
    if isinstance(schema, list):
        return [_with_references(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: _with_references(value) for key, value in schema.items()}
    properties = schema.get("properties", {})
    if "pattern" in properties.get("trial", {}):
        schema["properties"] = {**properties, "best": _inlined(Best.model_json_schema())}
        schema["required"] = [key for key in schema.get("required", []) if key != "trial"]
        schema["oneOf"] = [{"required": ["trial"]}, {"required": ["best"]}]
    by_seed = schema.get("additionalProperties")
    if isinstance(by_seed, dict) and "pattern" in by_seed:
        reference = {"trials_of": _inlined(TrialsOf.model_json_schema())}
        return _any_of(
            {"type": "object", "properties": reference, "required": ["trials_of"], "additionalProperties": False},
            schema,
        )
    return schema


def _dotted_keys(schema: Schema, pointer: str, prefix: str = "") -> dict[str, dict[str, Schema]]:
    """The keys of a configuration, and of its sections under dotted keys: the different schemas of each, by pointer.

    pointer: that of `schema` in the document.
    """
    found: dict[str, dict[str, Schema]] = {}
    for place, branch in _branches(schema, pointer):
        for name, value in branch.get("properties", {}).items():
            here = f"{place}/properties/{name}"
            for key, values in {prefix + name: {here: value}, **_dotted_keys(value, here, f"{prefix}{name}.")}.items():
                known = found.setdefault(key, {})
                known |= {where: one for where, one in values.items() if one not in known.values()}
    return found


def _value_of(schemas: Mapping[str, Schema]) -> Schema:
    """One schema for a key that has these, by pointer; the names of a section are one list."""
    constants = [one["const"] for one in schemas.values() if "const" in one]
    others = [{"$ref": pointer} for pointer, one in schemas.items() if "const" not in one]
    return _any_of(*([{"enum": constants}] if constants else []), *others)


def _branches(schema: Schema, pointer: str) -> Iterator[tuple[str, Schema]]:
    """A schema and its alternatives, with their pointers."""
    yield pointer, schema
    for key in ("anyOf", "oneOf"):
        for index, inner in enumerate(schema.get(key, [])):
            yield from _branches(inner, f"{pointer}/{key}/{index}")


def _levels(value: Schema) -> Schema:
    """The levels of a grid: a list of values, or values by label."""
    return _any_of({"type": "array", "items": value}, {"type": "object", "additionalProperties": value})


# --- parts ------------------------------------------------------------------------------------------------------------


def _any_of(*schemas: Schema) -> Schema:
    return schemas[0] if len(schemas) == 1 else {"anyOf": list(schemas)}


def _text(pattern: str) -> Schema:
    return {"type": "string", "pattern": pattern}


def _not_null(schema: Schema) -> Schema:
    """The part of an optional section that is not null."""
    section: Schema = next(one for one in schema["anyOf"] if one.get("type") != "null")
    return section


def _inlined(schema: Schema) -> Schema:
    """A schema with its definitions in the places that refer to them."""
    definitions = schema.get("$defs", {})

    def walk(value: Any) -> Any:
        if isinstance(value, list):
            return [walk(item) for item in value]
        if not isinstance(value, dict):
            return value
        rest = {key: walk(item) for key, item in value.items() if key not in ("$ref", "$defs")}
        return {**walk(definitions[value["$ref"].rpartition("/")[2]]), **rest} if "$ref" in value else rest

    result: Schema = walk(schema)
    return result
