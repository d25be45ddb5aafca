"""What a user's file defines, in the form in which `trainables.catalogue` lists what this package has."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

from trainables import registry
from trainables.catalogue import Entry, options, text_parts
from trainables.code import definitions, loading, references
from trainables.errors import TrialError
from trainables.registry import Code

_USES = {
    **dict.fromkeys(registry.MODELS, ("{}s", "model: {{name: {}}}")),
    "loss": ("losses", "loss: {{{}: 1.0}}"),
    "mask": ("masks", "mask: {{name: {}}}"),
    "metric": ("metrics", "report: {{extra: [{}]}}"),
    "detection_metric": ("metrics", "report: {{extra: [{}]}}"),
    "dataset": ("datasets", "data: {{name: {}}}"),
    "change": ("changes", "test_changes: {{changed: {{name: {}}}}}"),
}
"""By kind: its plural, and how a sweep file names code of it."""
_TASKS = {"loss": "inpaint", "metric": "inpaint", "detection_metric": "detect", "change": "detect"}


def entries(name: str, folder: Path | None = None) -> list[Entry]:
    """Everything that a user's code of this name can be used as. folder: as for `references.resolve`.

    Raises TrialError if there is no such code, or if it cannot be used as anything.
    """
    resolved = references.resolve("method", name, folder)
    theirs = references.parse(resolved)
    assert theirs is not None
    found: dict[str, Code] = {}
    mistakes: list[TrialError] = []
    for kind in (
        definitions.model_kind(theirs),
        *(kind for kind in registry.USER_KINDS if kind not in registry.MODELS),
    ):
        try:
            found[kind] = registry.find(kind, resolved)
        except TrialError as error:
            mistakes.append(error)
    if not found:
        raise mistakes[0]
    return list(_entries(name, theirs, _meant(found)))


def _meant(found: dict[str, Code]) -> dict[str, Code]:
    """The kinds that are meant: any function could build a network or a data set, or be a metric."""
    for is_meant in (_is_checked_function, _is_dataset_class, lambda kind, _: kind in registry.MODELS):
        if chosen := {kind: code for kind, code in found.items() if is_meant(kind, code)}:
            return chosen
    return found


def _is_checked_function(kind: str, code: Code) -> bool:
    has_direction = kind in registry.METRICS and code.config.model_fields["better"].default is not None
    return kind in ("loss", "mask", "change") or has_direction


def _is_dataset_class(kind: str, code: Code) -> bool:
    return kind == "dataset" and inspect.isclass(code.function()) and not hasattr(code.function(), "forward")


def _entries(name: str, theirs: references.Resolved, found: dict[str, Code]) -> Iterator[Entry]:
    module = loading.load(theirs.hash, theirs.module)
    for kind, code in found.items():
        own = code.function()
        docstring = inspect.getdoc(own) if inspect.isfunction(own) or inspect.isclass(own) else None
        first, rest = text_parts(docstring or inspect.getdoc(module) or "")
        plural, use = _USES[kind]
        task = getattr(code.config, "task", "") if kind in registry.MODELS else _TASKS.get(kind, "")
        given = options(code.config)
        facts = (("inputs", ", ".join(code.inputs)),) if code.inputs else ()
        yield Entry(plural.format(kind), references.label(code.name), first, rest, task, use.format(name), given, facts)
