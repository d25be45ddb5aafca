"""What a user's file defines, in the form in which `trainables.catalogue` lists what this package has."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from trainables import registry
from trainables.catalogue import Entry, options, text_parts
from trainables.code import cache, definitions, references
from trainables.errors import TrialError
from trainables.registry import Code
from trainables.user_task.config import FILLED_IN

_USES = {
    **dict.fromkeys(registry.MODELS, ("{}s", "model: {{name: {}}}")),
    "loss": ("losses", "loss: {{{}: 1.0}}"),
    "mask": ("masks", "mask: {{name: {}}}"),
    "metric": ("metrics", "report: {{extra: [{}]}}"),
    "detection_metric": ("metrics", "report: {{extra: [{}]}}"),
    "dataset": ("datasets", "data: {{name: {}}}"),
    "change": ("changes", "test_changes: {{changed: {{name: {}}}}}"),
    "task": ("tasks", "task: {}"),
}
"""By kind: its plural, and how a sweep file names code of it."""
_TASKS = {"loss": "inpaint", "metric": "inpaint", "detection_metric": "detect", "change": "detect"}


def installed(kind: str) -> list[Entry]:
    """What installed packages bring of a kind of `sweeps list`, by their entry points; their code is not imported."""
    found = []
    for code_kind, (plural, use) in _USES.items():
        if plural.format(code_kind) != kind or code_kind == "detection_metric":  # the group of both kinds of metrics
            continue
        for name, point in references.installed(code_kind).items():
            package = f"{point.dist.name} {point.dist.version}" if point.dist else "an installed package"
            meaning = f"{point.value}, of {package}; `sweeps describe {point.value}` prints its options."
            found.append(Entry(kind, name, meaning, use=use.format(name)))
    return found


def entries(name: str) -> list[Entry]:
    """What a user's code can be used as: `./FILE.py:NAME`, `package.module:NAME`, or all that `./FILE.py` defines.

    Files are relative to the working directory. Raises TrialError if there is no such code, or if a sweep file can use
    none of it.
    """
    path, is_file, _ = name.partition(".py")
    folder = Path(path).parent.resolve() if is_file else Path.cwd()
    written = f"./{Path(path).name}{name[len(path) :]}" if is_file else name
    theirs = references.parse(references.resolve("method", written, folder))
    assert theirs is not None
    module = definitions.load(theirs)
    if theirs.item or hasattr(module, "build"):
        return list(_entries(written, theirs, asked=True))
    found: dict[str, list[Entry]] = {}
    mistakes: list[TrialError] = []
    for item, one in vars(module).items():
        if definitions.is_own(one, module) and not item.startswith("_"):
            try:
                found[item] = list(_entries(f"{written}:{item}", replace(theirs, item=item), asked=False))
            except TrialError as error:
                mistakes.append(error)
    if not found:
        raise mistakes[0] if len(mistakes) == 1 else _nothing_error(name)
    if len(found) == 1:
        return list(_entries(written, replace(theirs, item=next(iter(found))), asked=False))
    return [entry for some in found.values() for entry in some]


def _nothing_error(name: str) -> TrialError:
    return TrialError(
        name,
        "it defines nothing that a sweep file can name",
        "a network with forward(image, mask), a loss term, a mask, a metric, a data set, a change of test images, "
        "or a task",
        "sweeps new method FILE.py, which writes an example",
    )


def _usable(theirs: references.Resolved, asked: bool) -> dict[str, Code]:
    """What code can be used as, by kind. Raises TrialError if it is nothing.

    asked: whether the code was named; any function that was not could build a network.
    """
    resolved = f"{theirs.file}{f':{theirs.item}' if theirs.item else ''}#{theirs.hash}"
    item = getattr(definitions.load(theirs), theirs.item or "", None)
    fills = hasattr(item, "forward") or (callable(item) and definitions.is_fill(item))
    found: dict[str, Code] = {}
    mistakes: list[TrialError] = []
    own = (kind for kind in registry.USER_KINDS if kind not in registry.MODELS and not fills)
    for kind in (*own, *((definitions.model_kind(theirs),) if asked or fills else ())):
        try:
            found[kind] = registry.find(kind, resolved)
        except TrialError as error:
            mistakes.append(error)
    meant = _meant(found)
    if not meant:
        raise mistakes[0] if mistakes else _nothing_error(theirs.label)
    return meant


def _meant(found: dict[str, Code]) -> dict[str, Code]:
    """The kinds that are meant: any function could build a network or a data set, or be a metric."""
    for is_meant in (_is_checked_function, _is_dataset_class, lambda kind, _: kind in registry.MODELS):
        if chosen := {kind: code for kind, code in found.items() if is_meant(kind, code)}:
            return chosen
    return {}


def _is_checked_function(kind: str, code: Code) -> bool:
    has_direction = kind in registry.METRICS and code.config.model_fields["better"].default is not None
    return kind in ("loss", "mask", "change", "task") or has_direction


def _is_dataset_class(kind: str, code: Code) -> bool:
    return kind == "dataset" and inspect.isclass(code.function()) and not hasattr(code.function(), "forward")


def _entries(written: str, theirs: references.Resolved, asked: bool) -> Iterator[Entry]:
    module = definitions.load(theirs)
    for kind, code in _usable(theirs, asked).items():
        own = getattr(module, theirs.item) if theirs.item else code.function()
        docstring = own.__doc__ if inspect.isfunction(own) or inspect.isclass(own) else None  # not that of a base class
        first, rest = text_parts(inspect.cleandoc(docstring or module.__doc__ or ""))
        plural, use = _USES[kind]
        task = getattr(code.config, "task", "") if kind in registry.MODELS else _TASKS.get(kind, "")
        facts = [("code", f"{theirs.hash}: {', '.join(cache.kept_files(theirs.hash))}")]
        if code.inputs:
            facts.insert(0, ("inputs", ", ".join(code.inputs)))
        if kind == "task":
            columns = ", ".join(f"{column} ({better})" for column, better in code.config.columns.items())
            facts.insert(0, ("columns", columns))
        given = (
            options(code.config.options_class) + options(code.config, skip=FILLED_IN)
            if kind == "task"
            else options(code.config)
        )
        yield Entry(plural.format(kind), written, first, rest, task, use.format(written), given, tuple(facts))
