"""What the four-part errors of the whole project advise: things to do, verbs and pages that exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from sweeps.cli.main import build_parser
from sweeps.errors import SweepError
from sweeps.spec import loader, schema
from trainables import registry
from trainables.config import messages
from trainables.errors import TrialError

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("sweeps", "trainables", "cluster", "analysis")
ERROR = re.compile(r"(Error|_error|^error|^_missing|^_line|^_bad\w*|^_unfit)$")
VAGUE = re.compile(
    r"^(fix|correct|check|change|rename|replace|repair|use|give|choose|try|make) (it|this|that|these|them|its \w+"
    r"|the \w+|an? \w+ name|another( \w+)?)( readable)?$|^another \w+$|README"
)
CLASS_NAME = re.compile(r"\w\(\w+=|<class|typing\.|annotated_types|(schema|config)\.[A-Z]")
"""Python that only a programmer reads, such as `MinLen(min_length=1)`."""


def advice() -> Iterator[tuple[str, str]]:
    """(place, text) of the last part of every error that is made with four texts; what is filled in reads `{}`."""
    for path in (file for package in PACKAGES for file in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or len(node.args) < 3:
                continue
            if ERROR.search(ast.unparse(node.func).rpartition(".")[2]):
                yield from ((f"{path.relative_to(ROOT)}:{node.lineno}", text) for text in texts(node.args[-1]))
                if len(node.args) > 4:  # the last argument of a TrialError is the key
                    yield from ((f"{path.relative_to(ROOT)}:{node.lineno}", text) for text in texts(node.args[3]))


def texts(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    elif isinstance(node, ast.IfExp):
        yield from (*texts(node.body), *texts(node.orelse))
    elif isinstance(node, ast.BoolOp):
        yield from (text for value in node.values for text in texts(value))


def test_it_says_what_to_do() -> None:
    found = list(advice())
    assert len(found) > 150
    assert not [f"{place}: {text}" for place, text in found if VAGUE.search(text)]


def test_it_names_verbs_and_pages_that_exist() -> None:
    (verbs,) = (action.choices for action in build_parser()._actions if action.choices)
    assert verbs
    wrong = []
    for place, text in advice():
        named = re.findall(r"(?:^|[`:;] ?|, |or )sweeps ([a-z][a-z-]*)\b(?! of)", text)
        wrong += [f"{place}: sweeps {verb}" for verb in named if verb not in verbs]
        pages = re.findall(r"\b((?:docs|cluster)/[\w/.-]+\.\w+)", text)
        wrong += [f"{place}: {page}" for page in pages if not (ROOT / page).is_file()]
    assert not wrong


def configs() -> Iterator[tuple[type[BaseModel], str, str]]:
    """(class, field, what an error says is allowed) of every field of a sweep file and of a configuration."""
    for one in vars(schema).values():
        if isinstance(one, type) and issubclass(one, schema.StrictSpec):
            yield from ((one, name, loader._allowed(one, name)) for name in one.model_fields)
    for kind in ("task", "method", "detector", "ensemble", "matcher", "mask"):
        for config in (registry.find(kind, name).config for name in registry.names(kind)):
            yield from ((config, name, messages._allowed(config, name)) for name in config.model_fields)


def test_what_is_allowed_is_in_words() -> None:
    assert not [(one.__name__, name, text) for one, name, text in configs() if not text or CLASS_NAME.search(text)]


@pytest.mark.parametrize("kind", [SweepError, TrialError])
def test_an_error_echoes_little_and_nothing_that_controls_a_terminal(kind: type[SweepError]) -> None:
    error = kind("x" * 1_000_000, "\x1b[31m\ud800\u202e\0", "a\nb", "é, 猫")
    assert len(str(error)) < 2500
    assert "998,1" in error.given
    assert error.why == r"\x1b[31m\ud800\u202e\x00"
    assert (error.allowed, error.fix) == ("a\nb", "é, 猫")
    str(error).encode()
