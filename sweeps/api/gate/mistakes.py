"""Errors of a gate's sweep in the words of its options: nobody has written that sweep."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from sweeps.errors import SweepError

METRIC = re.compile(r"(val|test)/[a-z][a-z0-9_]*")
_OPTIONS = {"base.metrics": "metric", "metrics": "metric", "run": "command", "resources.cpus": "cpus"}
_OPTIONS |= {"resources.gpus": "gpus", "epochs": "epochs", "timeout": "timeout"}
"""Key of the sweep -> option of `gate init`."""
_PLACEHOLDER = re.compile(r"\{(?P<name>[^{}]*)\} stands for the parameter")
_GIVEN = re.compile(r"<python>: `?(?P<key>[\w.]+?)(\.(?P<column>(val|test)/\w+))?`?(: | = |$)(?P<value>.*)", re.DOTALL)


def check_metric(metric: str) -> None:
    """Raises SweepError unless it is the name of a column of validation or test values."""
    if not METRIC.fullmatch(metric):
        raise SweepError(
            f"--metric {metric!r}",
            "the columns of a program are of validation or of test data",
            "val/NAME or test/NAME, with lower-case letters, digits and _",
            f"--metric val/{re.sub(r'[^a-z0-9]+', '_', metric.lower().rpartition('/')[2]).strip('_') or 'score'}",
        )


@contextlib.contextmanager
def of_options(metric: str, goal: str) -> Iterator[None]:
    """Raises errors of the sweep of a gate as errors of the options that it was made from."""
    try:
        yield
    except SweepError as error:
        found = _GIVEN.fullmatch(error.given)
        option = _OPTIONS.get(found["key"]) if found else None
        if found is None or option is None:
            raise
        why, fix = error.why, f"change --{option}"
        given = f"--{option} {found['value'].strip('`')}"
        if option == "metric":
            given, fix = f"--metric {metric} --goal {goal}", f"--goal {'min' if goal == 'max' else 'max'}"
        elif unknown := _PLACEHOLDER.match(why):
            why = f"{{{unknown['name']}}} is not one of the placeholders"
            fix = f"--command with another placeholder, or {{{{{unknown['name']}}}}} for braces"
        raise SweepError(given, why, error.allowed, fix) from None
