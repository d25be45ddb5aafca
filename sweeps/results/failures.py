"""Why trials failed, for displays: equal errors once, sizes in GiB, what to do, and the losses before a divergence."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeps.spec.plan import flatten

DIVERGED, OUT_OF_MEMORY = "Diverged", "out of memory"
"""Types of stored errors, see `cluster.worker.worker.error_record`."""
_MOST_LINES = 6
_BYTES = re.compile(r"\b(\d{9,}) bytes\b")
_MIB = re.compile(r"\b(\d{4,}(?:\.\d+)?) MiB\b")
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")

Json = Mapping[str, Any]


@dataclass(frozen=True)
class FailureGroup:
    """Trials that failed with the same error, except for the numbers in its message."""

    error: Json
    """Of the first trial."""
    trials: tuple[str, ...]
    alike: bool
    """Whether the numbers are equal too."""


def grouped(failed: Iterable[tuple[str, Json]]) -> list[FailureGroup]:
    """Group failed trials by their errors, the largest group first. failed: pairs of trial id and error."""
    found: dict[str, list[tuple[str, Json]]] = {}
    for trial, error in failed:
        found.setdefault(_NUMBER.sub("#", text(error)), []).append((trial, error))
    groups = [
        FailureGroup(many[0][1], tuple(trial for trial, _ in many), len({text(error) for _, error in many}) == 1)
        for many in found.values()
    ]
    return sorted(groups, key=lambda group: -len(group.trials))


def text(error: Json) -> str:
    """A trial's error in a few lines, with the line of the user's code that it comes from."""
    lines = _in_gib(str(error.get("message", ""))).splitlines()[:_MOST_LINES]
    place = f" ({error['place']})" if error.get("place") else ""
    return "\n".join([f"{error.get('type', 'error')}: {lines[0] if lines else ''}{place}", *lines[1:]])


_LAST_LINES = "its last lines: "
"""What precedes the output of a program in an error of task `command`."""


def summary(error: Json) -> str:
    """A trial's error in one line: of an error in four parts, what was given and why it is wrong.

    Of a program's output, it has the last line, which names the error where the first only begins a traceback.
    """
    first, *_ = text(error).splitlines()
    lines = [line.strip() for line in _in_gib(str(error.get("message", ""))).splitlines()[1:]]
    begin = next((number for number, line in enumerate(lines) if line.startswith("why:")), None)
    if begin is None:
        return first
    end = next((number for number, line in enumerate(lines) if line.startswith("allowed:")), len(lines))
    why, last = lines[begin].removeprefix("why:").strip(), lines[end - 1]
    before, told, _ = why.partition(_LAST_LINES)
    return f"{first}: {before}its last line: {last}" if told and end - begin > 1 else f"{first}: {why}"


def _in_gib(message: str) -> str:
    message = _BYTES.sub(lambda found: f"{int(found[1]) / 2**30:,.1f} GiB", message)
    return _MIB.sub(lambda found: f"{float(found[1]) / 2**10:,.1f} GiB", message)


def advice(error: Json, config: Json, own: Collection[str] = ()) -> str:
    """What to do about an error; '' if nothing general can be said.

    config: of the trial. own: the keys that its arm sets, which `--set` does not reach.
    """
    if error.get("type") == OUT_OF_MEMORY:
        batch = config.get("batch")
        smaller = "fewer images"
        if isinstance(batch, int) and batch > 3:
            smaller = _change("batch", str(batch // 2), str(batch), own)
        return f"Use a smaller batch: {smaller}, or run fewer trials at once on this machine."
    if error.get("type") != DIVERGED:
        lines = [line.strip() for line in str(error.get("message", "")).splitlines()]
        fix = next((line.removeprefix("do:").strip() for line in lines if line.startswith("do:")), "")
        return fix[:1].upper() + fix[1:]
    trace = error.get("trace") or {}
    if trace.get("epoch") == 1 and trace.get("steps") == [1]:
        bad = [name for name in not_finite(trace) if name != "loss"]
        terms = f" ({', '.join(bad)})" if bad else ""
        return f"The first loss{terms} is not finite, before any step was taken: check the data and the loss terms."
    flat = flatten(config)
    rates = [key for key in flat if re.search(r"(^|[._])lr$", key) and isinstance(flat[key], int | float)]
    lower = ", ".join(_change(key, f"{flat[key] / 10:.3g}", f"{flat[key]:.3g}", own) for key in rates)
    words = "Lower the learning rate" + (f": {lower}" if lower else "")
    if config.get("precision") not in (None, "float32"):
        words += ", or train with --set precision=float32"
    return f"{words}."


def _change(key: str, new: str, now: str, own: Collection[str]) -> str:
    """'--set batch=32 (now 64)', or where to change a key that the arm sets."""
    if any(key == one or key.startswith(f"{one}.") for one in own):
        return f"{key}={new} (now {now}) in the sweep file, where this arm sets it"
    return f"--set {key}={new} (now {now})"


def not_finite(trace: Json) -> list[str]:
    """The loss terms that are not finite in the last step of a trace."""
    return [name for name, values in (trace.get("terms") or {}).items() if values and values[-1] is None]


def last_steps(trace: Json, most: int) -> tuple[list[str], list[list[str]]]:
    """The last steps of a trace as a table: its head, and its rows."""
    terms: Mapping[str, Sequence[float | None]] = trace.get("terms") or {}
    steps = list(trace.get("steps") or [])
    rows = [
        [str(step), *("not finite" if values[at] is None else f"{values[at]:.4g}" for values in terms.values())]
        for at, step in enumerate(steps)
    ]
    return ["step", *terms], rows[-most:]
