"""What a configuration can name: every method, loss, mask, ... with its meaning and options; imports no torch.

Names come from `trainables.registry`, meanings from the docstrings of the code, which is parsed and not imported, and
options from the fields of the classes of options.
"""

from __future__ import annotations

import ast
import inspect
import re
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from trainables import registry
from trainables.config.messages import values_in_words, variant
from trainables.config.sections import OPTIMISERS, SCHEDULES

KINDS = (
    "tasks",
    "methods",
    "detectors",
    "ensembles",
    "matchers",
    "losses",
    "masks",
    "datasets",
    "optimisers",
    "schedules",
)
_MODELS = {"methods": "method", "detectors": "detector", "ensembles": "ensemble", "matchers": "matcher"}
_DATA_MODULES = {
    "cifar10": "cifar",
    "cifar100": "cifar",
    "places365_val": "places365",
    "cub200": "cub_and_pets",
    "oxford_pets": "cub_and_pets",
    "folder": "folders",
}
"""The module in `trainables/data/sources` that reads a data set."""
_TERMS = {
    "adversarial": "How well the fill deceives the discriminator of the model.",
    "adversarial_global": "How well the fill deceives the discriminator that sees the whole image.",
    "adversarial_local": "How well the fill deceives the discriminator that sees a window around the hole.",
    "adversarial_joint": "How well the fill deceives the discriminator that joins the global and the local one.",
    "adversarial_features": "How well the fill deceives the discriminator that sees feature maps.",
    "r1": "R1 penalty: the squared gradient of the discriminator's scores with respect to real images.",
    "feature_matching": "Distance between the discriminator's feature maps of the fill and of the original image.",
    "l1_coarse": "Mean absolute error of the first of the two networks.",
    "l1_scales": "Mean absolute error of the image at several sizes.",
    "kl": "Kullback-Leibler divergence between the distributions from which fills are drawn.",
    "matching": "How well the filled image matches its caption.",
    "velocity": "Squared error of the velocity of the flow, over the hole.",
}
"""Meanings of loss terms that a model computes itself, or by its discriminators."""


@dataclass(frozen=True)
class Option:
    """An option of something that a configuration names."""

    key: str
    """Dotted, below the section that it is an option of."""
    type: str
    """Type and bounds in words."""
    required: bool
    default: Any
    """None if it is required."""
    meaning: str


@dataclass(frozen=True)
class Entry:
    """Something that a sweep file can name."""

    kind: str
    """One of the kinds of `sweeps list`."""
    name: str
    meaning: str
    """One sentence."""
    text: str = ""
    """What else its documentation says."""
    task: str = ""
    """The task that it belongs to; empty if it belongs to several or to none."""
    use: str = ""
    """What to write in a sweep file, or to type."""
    options: tuple[Option, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    """Further properties: (name, value)."""


def entries(kind: str) -> list[Entry]:
    """Everything of a kind of `KINDS`."""
    return list(_LISTS[kind](kind))


def text_parts(docstring: str) -> tuple[str, str]:
    """The first sentence of a docstring, and the rest."""
    first = re.split(
        r"(?<=[\w)`%]\.)(?<![ (][A-Z]\.)\s(?=[A-Z`\"(])", docstring.partition("\n\n")[0].replace("\n", " ")
    )[0]
    rest = re.sub(r"(?<!\n)\n(?![\n\-* ])", " ", docstring)[len(first) :].strip()
    return first, rest


# --- kinds ------------------------------------------------------------------------------------------------------------


def _tasks(kind: str) -> Iterator[Entry]:
    for name in registry.names("task"):
        code = registry.find("task", name)
        docstring = _docstrings(_source(code.module))[""].removeprefix(f"Task `{name}`: ")
        first, rest = text_parts(docstring)
        yield Entry(kind, name, _capital(first), rest, use=f"task: {name}", options=options(code.config))


def _models(kind: str) -> Iterator[Entry]:
    for name in registry.names(_MODELS[kind]):
        code = registry.find(_MODELS[kind], name)
        first, rest = text_parts(_docstrings(_source(code.module).with_name("__init__.py"))[""])
        terms = (*_attribute(code, "adversarial"), *_attribute(code, "discriminator_terms"), *_attribute(code, "terms"))
        facts = [("trained", "yes" if code.config.trains else "no")]
        facts += [("own loss terms", ", ".join(terms))] if terms else []
        facts += [("takes captions", "yes")] if code.config.takes_text else []
        facts += [("draws several fills", "yes")] if code.config.samples else []
        usage = use("model", name, code.config)
        yield Entry(kind, name, first, rest, code.config.task, usage, options(code.config), tuple(facts))


def _attribute(code: registry.Code, name: str) -> tuple[str, ...]:
    return tuple(getattr(code.config, name, ()))


def _losses(kind: str) -> Iterator[Entry]:
    for code_kind, task in (("loss", "inpaint"), ("detection_loss", "detect")):
        docstrings = _docstrings(registry.HERE / f"{registry.FUNCTIONS[code_kind]}.py")
        for name in registry.names(code_kind):
            first, rest = text_parts(docstrings[name])
            yield Entry(kind, name, first, rest, task, f"loss: {{{name}: 1.0}}", weight())
    by_term: dict[str, list[str]] = {}
    for entry in _models("methods"):
        for term in next((value for key, value in entry.facts if key == "own loss terms"), "").split(", "):
            by_term.setdefault(term, []).append(entry.name)
    for name, models in by_term.items():
        if name:
            meaning = _TERMS.get(name, f"A term that {' and '.join(models)} compute.")
            facts = (("models with it", ", ".join(models)),)
            yield Entry(kind, name, meaning, "", "inpaint", f"loss: {{{name}: 0.1}}", weight(), facts)
    for name, field in _section(registry.find("task", "match").config, "loss").model_fields.items():
        meaning = f"{_capital(field.description or '')}."
        yield Entry(kind, name, meaning, "", "match", f"loss: {{{name}: 1.0}}", weight())


def weight() -> tuple[Option, ...]:
    """The option of a loss term."""
    return (Option("(the value)", "a number of at least 0", True, None, "weight of the term; 0: it is left out"),)


def _masks(kind: str) -> Iterator[Entry]:
    docstrings = _docstrings(registry.HERE / f"{registry.FUNCTIONS['mask']}.py")
    for name in registry.names("mask"):
        config = registry.find("mask", name).config
        first, rest = text_parts(docstrings[name])
        yield Entry(kind, name, first, rest, use=use("mask", name, config), options=options(config))


def _datasets(kind: str) -> Iterator[Entry]:
    for name in registry.names("dataset"):
        first, rest = text_parts(_docstrings(registry.HERE / "data" / "sources" / f"{_DATA_MODULES[name]}.py")[""])
        path = ", path: FOLDER" if name == "folder" else ""
        data = _section(registry.find("task", "inpaint").config, "data")
        yield Entry(kind, name, first, rest, use=f"data: {{name: {name}{path}}}", options=options(data, skip=("name",)))


def _named_sections(kind: str) -> Iterator[Entry]:
    key, classes = {"optimisers": ("optimiser", OPTIMISERS), "schedules": ("schedule", SCHEDULES)}[kind]
    for name, config in classes.items():
        first, rest = text_parts(inspect.getdoc(config) or "")
        yield Entry(kind, name, first, rest, use=use(key, name, config), options=options(config))


_LISTS: Mapping[str, Callable[[str], Iterator[Entry]]] = {
    "tasks": _tasks,
    **dict.fromkeys(_MODELS, _models),
    "losses": _losses,
    "masks": _masks,
    "datasets": _datasets,
    "optimisers": _named_sections,
    "schedules": _named_sections,
}


# --- options ----------------------------------------------------------------------------------------------------------


def options(config: type[BaseModel], skip: tuple[str, ...] = ()) -> tuple[Option, ...]:
    """The options of a class, with those of its sections under dotted keys. skip: fields that are left out.

    The options of a section that appears twice are listed once.
    """
    return tuple(option for option in _options(config, "", {}) if option.key not in skip)


def _options(config: type[BaseModel], prefix: str, listed: dict[type[BaseModel], str]) -> Iterator[Option]:
    for name, field in config.model_fields.items():
        key = f"{prefix}{name}"
        section, below = _below(field.annotation)
        words = values_in_words(field)
        if section is not None and section in listed:
            words += f", with the keys of `{listed[section]}`"
        required = field.is_required()
        default = None if required else field.get_default(call_default_factory=True)
        plain = default.model_dump() if isinstance(default, BaseModel) else default
        yield Option(key, words, required, plain, field.description or "")
        if section is not None and section not in listed:
            listed[section] = key + below
            yield from _options(section, f"{key}{below}.", listed)


def _below(annotation: Any) -> tuple[type[BaseModel] | None, str]:
    """The class of the sections in a value of this type, and how a dotted key goes on to them."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if isinstance(annotation, type) and origin is None:
        return (annotation, "") if issubclass(annotation, BaseModel) else (None, "")
    step = {list: "[i]", dict: ".LABEL"}.get(origin, "") if origin is not None else ""
    for argument in arguments:
        section, below = _below(argument)
        if section is not None:
            return section, step + below
    return None, ""


def _section(config: type[BaseModel], name: str) -> type[BaseModel]:
    """The class of a section."""
    section, _ = _below(config.model_fields[name].annotation)
    assert section is not None
    return section


def use(key: str, name: str, config: type[BaseModel]) -> str:
    """The shortest section that names something: its required options have placeholders."""
    required = [
        f"{option}: {_placeholder(field)}" for option, field in config.model_fields.items() if field.is_required()
    ]
    return f"{key}: {{{', '.join([f'name: {name}', *required])}}}"


def _placeholder(field: FieldInfo) -> str:
    choices = variant(field)
    return f"{{name: {next(iter(choices.choices))}}}" if choices else "..."


# --- docstrings -------------------------------------------------------------------------------------------------------


@cache
def _docstrings(path: Path) -> Mapping[str, str]:
    """The docstrings of the functions of a module by name, and that of the module under ''."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = {node.name: ast.get_docstring(node) or "" for node in tree.body if isinstance(node, ast.FunctionDef)}
    return {"": ast.get_docstring(tree) or "", **functions}


def _source(module: str) -> Path:
    """The file of a module of this package."""
    return registry.HERE.joinpath(*module.split(".")[1:]).with_suffix(".py")


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
