"""MkDocs hook that fills reference tables into the pages, from the code itself, so that they cannot go stale.

A page asks for one with a comment on a line of its own:

    <!-- keys: SweepSpec -->       the fields of a pydantic model: key, type, default, meaning
    <!-- masks -->                 the mask families with their options
    <!-- models: method -->        the models of a kind, see trainables/registry.py, with their options
    <!-- functions: l1_valid -->   the public functions of the module that defines this one, a line each
    <!-- columns: _METRICS -->     metric names with unit, direction and meaning
    <!-- audited -->               what the published figures can decide, see analysis/audit/published_figures.py
    <!-- protocols -->             the protocols with hash, publication, images and what is known of their masks
    <!-- api: Study values -->     a class or function, by mkdocstrings; of a class, these members

Everything is looked up by the name of its definition, not by its module, so files may move. A name that is defined
nowhere, or twice, fails the build.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("sweeps", "trainables", "cluster", "analysis")
_INT32 = 2**31
_MARKER = re.compile(r"^<!-- (?P<kind>[a-z]+)(?:: (?P<name>\w[\w ]*))? -->$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by MkDocs for each page: its Markdown with every marker replaced."""
    return fill(markdown)


def fill(markdown: str) -> str:
    """The Markdown of a page with every marker replaced by its table."""
    return _MARKER.sub(lambda match: _TABLES[match["kind"]](match["name"] or ""), markdown)


# --- finding definitions ----------------------------------------------------------------------------------------------


@cache
def _definitions() -> Mapping[str, tuple[Path, ...]]:
    """The files that define each top-level class, function or assigned name of the four packages."""
    found: dict[str, tuple[Path, ...]] = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for name in _defined(ast.parse(path.read_text(encoding="utf-8"))):
                found[name] = (*found.get(name, ()), path)
    return found


def _defined(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            yield node.name
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id


def file_of(name: str) -> Path:
    """The one file that defines a name. LookupError where none does, or several do."""
    paths = _definitions().get(name, ())
    if len(paths) != 1:
        where = ", ".join(path.relative_to(ROOT).as_posix() for path in paths) or "no file"
        raise LookupError(f"docs: `{name}` is defined in {where}; a page needs exactly one definition")
    return paths[0]


def module_of(name: str) -> str:
    """The dotted module that defines a name."""
    return ".".join(file_of(name).relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def load(name: str) -> Any:
    """The object of this name."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    return getattr(importlib.import_module(module_of(name)), name)


# --- tables -----------------------------------------------------------------------------------------------------------


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def keys(name: str) -> str:
    """The fields of a pydantic model."""
    return table(["key", "type", "default", "meaning"], list(_rows(load(name))))


def _rows(model: Any, skip: tuple[str, ...] = ()) -> Iterator[list[str]]:
    schema = model.model_json_schema()
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    for key, field in schema["properties"].items():
        if key not in skip and "const" not in field:
            required = key in schema.get("required", ())
            default = "required" if required else _default(field.get("default"), fields[key])
            yield [f"`{key}`", _type(field, schema.get("$defs", {})), default, _meaning(field)]


def _default(value: Any, field: Any) -> str:
    if hasattr(type(field.default), "model_fields"):
        return "its own defaults"
    return "`null`" if value is None else f"`{json.dumps(value, ensure_ascii=False)}`"


def _meaning(field: Mapping[str, Any]) -> str:
    nested = "$ref" in field or "$ref" in field.get("items", {})
    return str(field.get("description", "see its own table" if nested else ""))


def _type(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """A JSON schema in words: `integer, at least 1`, `list of text`."""
    if "$ref" in field:
        return f"mapping ({field['$ref'].rpartition('/')[2]})"
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_type(one, definitions) for one in field["anyOf"] if one != {"type": "null"}))
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{one}`" for one in field["enum"])
    kind = field.get("type")
    if kind == "array":
        item = _type(field.get("items", {}), definitions)
        least, most = field.get("minItems"), field.get("maxItems")
        return f"list of {least} ({item})" if least and least == most else f"list ({item})"
    if kind == "object":
        return "mapping"
    words = {"string": "text", "number": "number", "integer": "integer", "boolean": "true or false", None: "any value"}
    return _bounded(words[kind], field)


def _bounded(word: str, field: Mapping[str, Any]) -> str:
    """`0 < number ≤ 1`; a bound that only keeps a number within 32 bits is left out."""
    for key, sign in (("minimum", "≤"), ("exclusiveMinimum", "<")):
        if key in field:
            word = f"{field[key]} {sign} {word}"
    for key, sign in (("maximum", "≤"), ("exclusiveMaximum", "<")):
        if field.get(key, _INT32) < _INT32:
            word = f"{word} {sign} {field[key]}"
    return word


def masks(_: str) -> str:
    """Every mask family: its docstring's first sentence and its options."""
    parts = []
    summaries = _summaries(file_of("random_blocks"))
    for name, model in load("Options")("mask").items():
        rows = list(_rows(model, skip=("name",)))
        parts += [f"**`{name}`**: {summaries[name]}", "", table(["key", "type", "default", "meaning"], rows), ""]
    return "\n".join(parts)


def models(kind: str) -> str:
    """Every model of a kind: the first sentence of its package and its options."""
    rows = []
    for name in load("Options")(kind):
        path = ROOT / "trainables" / load("FOLDERS")[kind] / name / "__init__.py"
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        fields = load("Options")(kind)[name].model_json_schema()["properties"]
        options = ", ".join(f"`{key}`" for key in fields) or "none"
        rows.append([f"`{name}`", _sentence(docstring), options])
    return table(["model.name", "what it is", "options"], rows)


def functions(name: str) -> str:
    """The public functions of the module that defines `name`."""
    rows = [[f"`{one}`", sentence] for one, sentence in _summaries(file_of(name)).items()]
    return table(["name", "meaning"], rows)


def columns(name: str) -> str:
    """A mapping of metric names to (unit, better direction, meaning)."""
    better = {"max": "higher", "min": "lower", "": ""}
    rows = [[f"`{one}`", unit, better[way], text] for one, (unit, way, text) in load(name).items()]
    return table(["metric", "unit", "better", "meaning"], rows)


def _summaries(path: Path) -> dict[str, str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = [node for node in tree.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]
    return {node.name: _sentence(ast.get_docstring(node) or "") for node in nodes}


def _sentence(docstring: str) -> str:
    return re.split(r"(?<=[a-z0-9)`]\.)\s", docstring.partition("\n\n")[0].replace("\n", " "))[0]


def api(names: str) -> str:
    """The identifier for mkdocstrings, and which members of a class to show."""
    name, *members = names.split()
    return f"::: {module_of(name)}.{name}\n    options: {{members: [{', '.join(members)}]}}"


def audited(_: str) -> str:
    """A row for each comparison of the published figures."""
    rows = []
    for found in load("published_comparisons")():
        gap = "-" if found.gap is None else f"{found.gap:.3g}"
        limit = "nothing is compared" if found.largest_sd is None else f"below {found.largest_sd:.2g}"
        rows.append(f"| {found.document} | {found.table} | {found.metric} | {found.figures} | 1 | {gap} | {limit} |")
    head = "| document | table | metric | figures | runs each | gap of the first two | standard deviation needed |"
    return "\n".join([head, "| --- " * 7 + "|", *rows])


def _pixels(content: Any) -> str:
    """The side of the images of a protocol; those of detections have any size."""
    return str(content.images.size) if hasattr(content, "images") else "any"


def protocols(_: str) -> str:
    from sweeps import api

    rows = []
    for one in api.list_protocols():
        content = one.content
        paper = content.paper.partition(",")[0]
        lacks = ", ".join(content.lacks) or "nothing"
        cells = (f"`{one.name}`", f"`{one.hash}`", paper, _pixels(content), content.equality, lacks)
        rows.append(" | ".join(cells))
    head = "| protocol | hash | publication | px | masks | lacks |\n| --- | --- | --- | --- | --- | --- |\n"
    return head + "\n".join(f"| {row} |" for row in rows)


_TABLES = {
    "audited": audited,
    "protocols": protocols,
    "keys": keys,
    "masks": masks,
    "models": models,
    "functions": functions,
    "columns": columns,
    "api": api,
}
