"""All claims of all studies in one table: the document's values, ours, and the verdict.

Claims of studies in the store are judged on its results; those of sweep files without results are listed as not run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis import csv_text
from analysis import study as studies
from analysis.claims import added_seeds
from analysis.claims import judge as claims
from analysis.wording import count
from sweeps.results import columns
from sweeps.spec import loader
from sweeps.store import plans as stored_plans
from sweeps.store import record_cache
from sweeps.store.base import Store

if TYPE_CHECKING:
    import rich.table

NOT_RUN = "not run"
_STYLES = {
    claims.HOLDS: "green",
    claims.FAILS: "red",
    claims.UNDECIDED: "yellow",
    claims.NOT_TESTED: "dim",
    NOT_RUN: "dim",
}
VERDICTS = tuple(_STYLES)
"""What `decision` gives, in the order in which counts are told."""


@dataclass(frozen=True)
class ClaimLine:
    """One claim; fields as in `judge.Verdict`."""

    study: str
    claim: str
    source: str
    published: str
    ours: str
    verdict: str
    sentence: str
    notes: str = ""
    """On results of older code and from different data, which the verdict does not account for."""
    protocol: Mapping[str, Any] | None = None
    """The protocol of the sweep, if the claim is about a column of it."""


def collect(store: Store, names: Iterable[str] = (), files: Iterable[Path] = ()) -> list[ClaimLine]:
    """The claims of sweeps in the store, then those of sweep files that have no results there.

    names: the sweeps; by default all of the store except tiny ones. Raises SweepError if the store lacks one of them.
    """
    known = list(names) or [name for name in stored_plans.sweep_names(store) if not name.endswith("-tiny")]
    versions = record_cache.result_versions(store, known) if len(known) > 1 else {}
    lines = [line for name in known for line in _judged(store, name, versions)]
    return [*lines, *unrun(files, known)]


def _judged(store: Store, name: str, versions: Mapping[str, str]) -> Iterator[ClaimLine]:
    study = added_seeds.with_outcome(studies.read(store, name, versions=versions))
    notes = " ".join(study.all_notes)
    for claim, one in zip(study.plan.get("claims") or [], claims.judge(study), strict=True):
        by = study.protocol if columns.on_protocol(str(claim.get("metric"))) else None
        yield ClaimLine(name, one.text, one.source, one.published, one.ours, one.words, one.sentence, notes, by)


def unrun(files: Iterable[Path], known: Collection[str]) -> list[ClaimLine]:
    """The claims of the sweep files whose names are not among the known ones, without a verdict."""
    return [line for path in files for line in _unrun(path, known)]


def _unrun(path: Path, known: Collection[str]) -> Iterator[ClaimLine]:
    sweep = loader.load(path).spec
    if sweep.name in known:
        return
    reference = None if sweep.report.published is None else sweep.report.published.model_dump()
    variants = {sweep.base_name: sweep.published, **{arm.name: arm.published for arm in sweep.arms}}
    for claim in sweep.claims:
        fields_set = claim.model_dump(exclude_none=True)
        theirs = claims.published_text(reference, variants, fields_set)
        yield ClaimLine(sweep.name, claim.text, claim.source or "", theirs, "", NOT_RUN, f"sweeps run {path}")


def summary(lines: list[ClaimLine]) -> str:
    """'24 claims of 5 studies (holds: 3, does not hold: 1, not run: 20).'"""
    counts = Counter(line.verdict for line in lines)
    found = sorted(counts, key=lambda words: (VERDICTS.index(decision(words)), words))
    parts = [f"{words}: {counts[words]}" for words in found]
    number = len({line.study for line in lines})
    of = "1 study" if number == 1 else f"{number} studies"
    return f"{count(len(lines), 'claim')} of {of} ({', '.join(parts)})."


def decision(words: str) -> str:
    """The verdict with which its words begin; below full size they go on with the size."""
    return next(verdict for verdict in VERDICTS if words.startswith(verdict))


def terminal(lines: list[ClaimLine]) -> rich.table.Table:
    """The table for a terminal; texts are shown literally, without interpreting markup."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    notes = dict.fromkeys(f"{line.study}: {line.notes}" for line in lines if line.notes)
    caption = Text("\n".join([summary(lines), *notes]))
    table = Table(box=box.SIMPLE_HEAD, caption=caption, caption_justify="left")
    for name in ("study", "claim", "published", "ours", "verdict"):
        table.add_column(name, overflow="fold")
    last = ""
    for line in lines:
        shown = (line.study if line.study != last else "", line.claim, line.published or "–", line.ours or "–")
        table.add_row(*map(Text, shown), Text(line.verdict, style=_STYLES[decision(line.verdict)]))
        last = line.study
    return table


def to_csv(lines: list[ClaimLine]) -> str:
    """The table as CSV, including the source and the evidence of each claim; notes follow the evidence."""
    names = [field.name for field in fields(ClaimLine)[:-2]]
    rows = [astuple(replace(line, sentence=f"{line.sentence} {line.notes}".rstrip()))[:-2] for line in lines]
    return csv_text.to_csv([names, *rows])
