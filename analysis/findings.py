"""Writes docs/findings: a page for each sweep, and an index with the verdicts on all claims.

`make findings` runs the studies, and calls it after each of them with the name of its sweep:

    python -m analysis.findings STORE FOLDER [NAME ...]

A page is the report in Markdown, with pictures as WebP and without those of single images, since all pages and the
archive together stay small enough to be kept with the code. For the same reason the archive has no scores of single
images. Pages of other sweeps stay as they are: the store may be an archive without pictures.
"""

from __future__ import annotations

import io
import re
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from analysis import wording
from analysis.claims import overview
from analysis.report import build, formats, render
from analysis.report.content import Report
from analysis.trial_times import trial_seconds
from sweeps import sizes
from sweeps.spec import studies
from sweeps.store import plans
from sweeps.store.base import Store
from sweeps.store.open import open_store

ARCHIVE = "results.zip"
"""Name of the archive beside the pages that has the results."""
_DIGITS = re.compile(r"(?<![\d.])(\d{2,}\.\d)\d+")
"""A number of a drawing with more than one decimal: tenths of a point are enough."""
_HEAD = """# What our studies found

The studies of this package that were run, each at the size that its page names. A verdict at small size is about fewer
images, epochs and channels than the documents used. [Which published gaps exceed the noise of the
seed?](what-holds.md) says what to take home. The command on a page repeats its study. The results behind all pages are
in one archive:

```sh
sweeps report NAME --store docs/findings/results.zip --out report
```
"""


def write(store: Store, folder: Path, names: Collection[str] = (), files: Iterable[Path] = ()) -> list[Path]:
    """Write the pages of finished sweeps, and the index of all. Returns the pages.

    names: sweeps whose pages are written; others have theirs. files: sweep files of studies; claims of those that no
    sweep of the store has judged are listed as not run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    reports = [report for name in plans.sweep_names(store) if _finished(report := build.build(store, name))]
    made: dict[str, bytes] = {}
    for report in reports:
        if report.study.name in names:
            made |= _page(report, store.uri)
    pages = [folder / name for name in made if name.endswith(".md")]
    claims = overview.collect(store, [report.study.name for report in reports]) if reports else []
    claims += overview.unrun(files, {sizes.full_name(report.study.name, report.study.size) for report in reports})
    made["index.md"] = _index(reports, claims).encode()
    for name, data in made.items():
        (folder / name).write_bytes(data)
    return pages


def _finished(report: Report) -> bool:
    """Whether a page is worth reading: tiny forms only show that code runs, and half a study has no answer."""
    study = report.study
    return study.size != sizes.TINY and study.states().keys() <= {"done", "failed"} and not study.waiting


def _page(report: Report, uri: str) -> dict[str, bytes]:
    """The report in Markdown with its pictures. Places of the machine on which it was made are left out."""
    found = formats.files(report, ["md"])
    stem = report.study.name
    text = found.pop(f"{stem}.md").decode()
    text = text.replace(f"- store: {uri}", f"- store: [{ARCHIVE}]({ARCHIVE})").replace(
        f"--store {uri}", "--store results"
    )
    text = re.sub(r"(?m)(^- hardware: )host [^,]*, ", r"\1", text)
    for name in [name for name in found if re.fullmatch(rf"{re.escape(stem)}-worst-\d+\.png", name)]:
        del found[name]
        text = re.sub(rf"!\[[^]]*\]\({re.escape(name)}\)\n\n", "", text)
    for name in [name for name in found if name.endswith(".svg")]:
        found[name] = _DIGITS.sub(r"\1", found[name].decode()).encode()
    for name in [name for name in found if name.endswith(".png")]:
        webp = f"{name.removesuffix('.png')}.webp"
        text = text.replace(f"({name})", f"({webp})")
        found[webp] = _as_webp(found.pop(name))
    return {f"{stem}.md": text.encode(), **found}


def _as_webp(png: bytes) -> bytes:
    from PIL import Image

    target = io.BytesIO()
    Image.open(io.BytesIO(png)).save(target, "webp", lossless=True, method=6)
    return target.getvalue()


def _index(reports: Sequence[Report], claims: Sequence[overview.ClaimLine]) -> str:
    studied = [["study", "question", "answer", "seeds", "computing, h"], ["---"] * 5]
    for report in reports:
        name, question = report.study.name, str(report.study.plan.get("question") or "")
        cells = (question, report.answer[0], str(len(report.study.seeds)), f"{_hours(report):.2f}")
        studied.append([f"[{name}]({name}.md)", *map(render.escape, cells)])
    judged = [["study", "claim", "source", "published", "ours", "n", "sd of a pair", "verdict"], ["---"] * 8]
    for line in claims:
        words = (line.study, line.claim, line.source, line.published, line.ours, *_pairs(line), line.verdict)
        judged.append([render.escape(word or "–") for word in words])
    return "\n".join(
        [
            _HEAD,
            f"{sum(map(_hours, reports)):.1f} hours of computing in all.",
            "",
            *map(_row, studied),
            "",
            "## All claims",
            "",
            overview.summary(list(claims)),
            "",
            *map(_row, _by_source(claims)),
            "",
            *map(_row, judged),
            "",
        ]
    )


def _pairs(line: overview.ClaimLine) -> tuple[str, str]:
    """Number of pairs of seeds, and the standard deviation of the difference of one pair: the noise of single runs."""
    if line.difference is None:
        return "", ""
    sd = line.difference.sd
    return str(line.difference.n), "" if sd is None else wording.two_digits(sd)


def _by_source(claims: Sequence[overview.ClaimLine]) -> list[list[str]]:
    """Numbers of claims by the document that makes them, those without a source last."""
    counts: dict[str, Counter[str]] = {}
    for line in claims:
        source = line.source.partition(",")[0] or "ours, of no document"
        counts.setdefault(source, Counter())[overview.decision(line.verdict)] += 1
    header = ["source", "claims", *overview.VERDICTS]
    rows = [
        [render.escape(source), str(found.total()), *(str(found[verdict]) for verdict in overview.VERDICTS)]
        for source, found in sorted(counts.items(), key=lambda item: (item[0].startswith("ours"), item[0]))
    ]
    return [header, ["---"] * len(header), *rows]


def _hours(report: Report) -> float:
    return sum(trial_seconds(report.study).values()) / 3600


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    for page in write(
        open_store(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:], [one.path for one in studies.studies()]
    ):
        print(page)
