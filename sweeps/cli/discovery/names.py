"""Verbs that print the names of a kind, and the meaning and options of a name."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sweeps import api
from sweeps.api.discovery import KINDS
from sweeps.cli import common

if TYPE_CHECKING:
    from trainables.catalogue import Entry, Option


def register(verbs: common.Verbs) -> None:
    parser = verbs.add(list_names, "list", "list what a sweep file can name; without KIND, list the kinds")
    kind = parser.add_argument("kind", metavar="KIND", nargs="?", help=f"one of {', '.join(KINDS)}")
    common.complete(kind, lambda: KINDS)
    common.add_json(parser)

    parser = verbs.add(
        describe, "describe", "print the meaning of a name, and every option with its type, bounds and default"
    )
    name = parser.add_argument(
        "name",
        metavar="NAME",
        help="a method, loss, mask, metric, study, ...; or your code: ./FILE.py[:NAME] or package.module:NAME",
    )
    common.complete(name, _names)
    common.add_json(parser)


def _names() -> Sequence[str]:
    return [entry.name for kind in KINDS for entry in api.list_names(kind)]


# --- list and describe ------------------------------------------------------------------------------------------------


def list_names(options: argparse.Namespace) -> int:
    from sweeps.cli import console

    if options.kind is None:
        counted = {kind: len(api.list_names(kind)) for kind in KINDS}
        if options.json:
            _print_json(counted)
            return common.DONE
        table = console.make_table("kind", "names")
        for kind, count in counted.items():
            table.add_row(kind, str(count))
        console.show(table)
        return common.DONE
    entries = api.list_names(options.kind)
    if options.json:
        _print_json([_as_json(entry) for entry in entries])
    else:
        _print_names(entries)
    return common.DONE


def _print_names(entries: Sequence[Entry]) -> None:
    """A line for each name: its facts that fit into a column, and its meaning."""
    from rich.text import Text

    from sweeps.cli import console

    columns = {"studies": ("file", "run in full"), "metrics": ("unit", "better"), "protocols": ("hash",)}.get(
        entries[0].kind, ()
    )
    by_task = len({entry.task for entry in entries}) > 1
    meaning = "question" if entries[0].kind == "studies" else "meaning"
    table = console.make_table("name", *["task"] * by_task, *columns, meaning)
    for entry in entries:
        facts = dict(entry.facts)
        cells = [entry.name, *[entry.task] * by_task, *(facts.get(column, "") for column in columns), entry.meaning]
        table.add_row(*(Text(cell) for cell in cells))
    console.show(table)


def describe(options: argparse.Namespace) -> int:
    entries = api.describe(options.name)
    if options.json:
        _print_json([_as_json(entry) for entry in entries])
        return common.DONE
    for entry in entries:
        _print_entry(entry)
    return common.DONE


def _print_entry(entry: Entry) -> None:
    from rich.text import Text

    from sweeps.api.discovery import singular
    from sweeps.cli import console

    out = console.console()
    task = f" of task {entry.task}" if entry.task else ""
    out.print(Text(entry.name, style="bold"), Text(f"{singular(entry.kind)}{task}", style="dim"))
    for text in filter(None, (entry.meaning, entry.text)):
        out.print(Text(text), soft_wrap=False)
    for name, value in entry.facts:
        out.print(Text(f"{name}: {value}"), soft_wrap=False)
    if entry.use:
        out.print(Text(f"use: {entry.use}"))
    if entry.options:
        table = console.make_table("option", "type", "default", "meaning")
        for option in entry.options:
            cells = (option.key, option.type, _default(option), option.meaning)
            table.add_row(*(Text(cell) for cell in cells))
        console.show(table)
    out.print()


def _default(option: Option) -> str:
    from sweeps.cli import console

    return "required" if option.required else console.format_value(option.default)


def _as_json(entry: Entry) -> dict[str, object]:
    return {**dataclasses.asdict(entry), "facts": dict(entry.facts)}


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))
