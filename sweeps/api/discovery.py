"""What there is, in the Python interface: names of every kind, their meaning and options, and the JSON schema."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sweeps.errors import SweepError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sweeps.spec.studies import ShippedStudy
    from trainables.catalogue import Entry

OWN_KINDS = ("metrics", "samplers", "studies", "protocols")
"""Kinds that belong to sweep files and not to configurations."""
KINDS = (
    *("tasks", "methods", "detectors", "ensembles", "matchers", "losses", "masks", "datasets"),
    *("optimisers", "schedules", *OWN_KINDS),
)
"""What `list_names` knows."""


def list_names(kind: str) -> list[Entry]:
    """Everything of a kind of `KINDS`, with meaning and options, and what installed packages bring.

    SweepError for an unknown kind.
    """
    from sweeps.spec.loader import unknown_name_error
    from trainables import catalogue, own_catalogue

    known = next((one for one in KINDS if kind in (one, singular(one))), None)
    if known is None:
        raise unknown_name_error(f"kind {kind!r}", kind, KINDS)
    own = {"metrics": _metrics, "samplers": _samplers, "studies": _studies, "protocols": _protocols}
    ours = own[known]() if known in own else catalogue.entries(known)
    return [*ours, *own_catalogue.installed(known)]


def describe(name: str) -> list[Entry]:
    """Everything with this name, of any kind: a loss of two tasks, a metric, a study, an arm of a study, ...

    A study may be named by its file, a metric with split and region (`test/psnr_db_hole`), and code of a user's own as
    in a sweep file, relative to the working directory (`./FILE.py:NAME`).
    SweepError with similar names if there is nothing with this name.
    """
    from sweeps.spec.schema import OWN_CODE

    if re.match(OWN_CODE, name):
        from trainables import own_catalogue

        return own_catalogue.entries(name)
    every = [entry for kind in KINDS for entry in list_names(kind)]
    found = [entry for entry in every if name and name in (entry.name, _file_stem(entry))]
    found += _column(name) if "/" in name and not found else []
    found += [entry for entry in _arms() if entry.name == name]
    if not found:
        raise _unknown_error(name, every)
    return found


def json_schema() -> dict[str, Any]:
    """The JSON schema of sweep files, for editors and validators."""
    from sweeps.search.history import SAMPLERS
    from sweeps.spec import json_schema
    from trainables import catalogue, registry
    from trainables.code import references

    tasks = {name: registry.find("task", name).config.json_schema() for name in registry.names("task")}
    losses = catalogue.entries("losses")
    terms = {task: {entry.name: entry.meaning for entry in losses if entry.task == task} for task in tasks}
    installed = {kind: sorted(references.installed(kind)) for kind in ("task", "loss", "metric")}
    return json_schema.build(tasks, terms, SAMPLERS, installed)


# --- kinds of sweep files ---------------------------------------------------------------------------------------------


def _metrics() -> Iterator[Entry]:
    from sweeps.results import columns
    from trainables.catalogue import Entry

    for name, described in columns.metrics().items():
        extra = name in (*columns.EXTRA, *columns.DETECTION_EXTRA)
        column = name if "/" in name else f"test/{name}"
        use = f"report: {{extra: [{name}]}}" if extra else f"report: {{metrics: [{column}]}}"
        text = (
            ""
            if "/" in name
            else "As columns: test/NAME and val/NAME; suffixes limit or change it: "
            + "; ".join(f"{suffix}: {meaning}" for suffix, meaning in columns.regions().items())
        )
        yield Entry("metrics", name, described[2], text, use=use, facts=_facts_of_metric(*described[:2]))


def _facts_of_metric(unit: str, better: str) -> tuple[tuple[str, str], ...]:
    words = {"max": "higher", "min": "lower"}
    return tuple((key, value) for key, value in (("unit", unit), ("better", words.get(better, ""))) if value)


def _column(name: str) -> list[Entry]:
    """A column with split and region, such as `test/psnr_db_hole`."""
    from sweeps.results import columns
    from trainables.catalogue import Entry

    unit, better, meaning = columns.describe(name) if columns.is_column(name) else ("", "", "")
    if not meaning or name.startswith("train/"):
        return []
    facts = _facts_of_metric(unit, better)
    return [Entry("metrics", name, meaning, use=f"report: {{metrics: [{name}]}}", facts=facts)]


def _samplers() -> Iterator[Entry]:
    """Their meanings are the list in the docstring of the module that implements them."""
    import ast
    import re
    from pathlib import Path

    from sweeps.search import history
    from trainables.catalogue import Entry, text_parts

    source = Path(history.__file__).with_name("samplers.py").read_text(encoding="utf-8")
    items = re.findall(r"^- (\w+): (.*(?:\n  .*)*)", ast.get_docstring(ast.parse(source)) or "", re.MULTILINE)
    meanings = {name: " ".join(text.split()) for name, text in items}
    for name in history.SAMPLERS:
        first, rest = text_parts(meanings[name][:1].upper() + meanings[name][1:])
        yield Entry("samplers", name, first, rest, use=f"search: {{sampler: {name}, ...}}")


def _studies() -> Iterator[Entry]:
    from sweeps.spec.studies import studies
    from trainables.catalogue import Entry

    for study in studies():
        value = study.document.value
        facts = (
            ("file", study.file),
            ("run in full", {"yes": "yes", "no": "no", "small": "only at the smaller size"}[study.ran]),
            ("found", study.found),
            ("arms", ", ".join([str(value.get("base_name", "base")), *(name for name, _ in _arms_of(study))])),
        )
        text = study.document.header.partition("\n")[2].partition("\nRun: ")[0].strip()
        yield Entry("studies", study.name, study.question, text, value["task"], f"sweeps run {study.stem}", facts=facts)


def _protocols() -> Iterator[Entry]:
    from sweeps.api.protocols.named import list_protocols
    from trainables.catalogue import Entry
    from trainables.protocols.protocol import EQUALITY

    for one in list_protocols():
        plain = one.content.model_dump(exclude_none=True)
        facts = [("hash", one.hash), ("paper", plain["paper"]), ("code", plain.get("code", ""))]
        facts += [(key, _in_words(plain[key])) for key in ("images", "masks", "maps", "scores") if key in plain]
        facts += [("metrics, with versions", _in_words(plain["metrics"]))]
        facts += [("equality", f"{EQUALITY[one.content.equality]}. {one.content.evidence}")]
        facts += [("images of the published tables", f"{plain.get('published_images', 0):,}")]
        facts += [("lacks", ", ".join(plain["lacks"]))]
        given = ("FILE.csv", "LABELS.csv") if "scores" in one.content.evaluation() else ("FOLDER", "DIR")
        use = f"sweeps score {given[0]} --protocol {one.name} --truth {given[1]}"
        known = tuple((name, value) for name, value in facts if value not in ("", "0"))
        task = plain.get("task", "inpaint")
        yield Entry("protocols", one.name, plain["about"], task=task, use=use, facts=known)


def _in_words(section: dict[str, Any]) -> str:
    from sweeps.protocols.identity import flat

    return ", ".join(f"{key} {value}" for key, value in flat(section).items())


def _arms() -> Iterator[Entry]:
    """The arms of all studies."""
    from sweeps.spec.studies import studies
    from trainables.catalogue import Entry

    for study in studies():
        for name, changes in _arms_of(study):
            facts = (("study", study.name), ("changes", ", ".join(f"{key}: {item}" for key, item in changes.items())))
            use = f"sweeps check {study.stem} --arm '{name}'"
            yield Entry(
                "arms",
                name,
                f"An arm of the study {study.name}.",
                task=study.document.value["task"],
                use=use,
                facts=facts,
            )


def _arms_of(study: ShippedStudy) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, changes) of the arms that a study's file names."""
    for key in ("arms", "leave_one_out", "pairs"):
        for arm in study.document.value.get(key) or []:
            yield f"{'without ' if key == 'leave_one_out' else ''}{arm['name']}", arm.get("set", {})


# --- names ------------------------------------------------------------------------------------------------------------


def singular(kind: str) -> str:
    """The word for one thing of a kind."""
    special = {"losses": "loss", "studies": "study"}
    return special.get(kind, kind.removesuffix("s"))


def _file_stem(entry: Entry) -> str:
    """The name of a study's file; '' for everything else."""
    file = dict(entry.facts).get("file", "") if entry.kind == "studies" else ""
    return file.rpartition("/")[2].removesuffix(".yaml")


def _unknown_error(name: str, every: list[Entry]) -> SweepError:
    import difflib

    known = list(dict.fromkeys(name for entry in every for name in (entry.name, _file_stem(entry)) if name))
    near = difflib.get_close_matches(name, known, 5) or [one for one in known if name and name in one][:5]
    other = f"sweeps check {name}" if name.endswith((".yaml", ".yml")) else "sweeps list methods"
    return SweepError(
        repr(name),
        "nothing has this name",
        f"similar names: {', '.join(near)}" if near else f"a name that `sweeps list KIND` prints; {', '.join(KINDS)}",
        f"sweeps describe {near[0]}" if near else other,
    )
