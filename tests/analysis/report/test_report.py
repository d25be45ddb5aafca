"""The whole report: its first sentence, its files, and stores with failed, missing or hostile content."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from analysis.report import build as report
from analysis.report import content, formats
from sweeps.errors import SweepError
from sweeps.store import attempts as stored_attempts
from sweeps.store import layout
from sweeps.store import trials as stored_trials
from tests.analysis.make_store import NOW, ArmSpec, make_store

FAILED = dict.fromkeys(range(8), "failed")
QUEUED = dict.fromkeys(range(8), "queued")
FILL = ArmSpec("telea", 25.0, trains=False)


def built(root: Path, arms: Sequence[ArmSpec], seeds: int = 8, claims: Sequence[Any] = ()) -> content.Report:
    return report.build(make_store(root, arms, range(seeds), claims), "partial-conv", NOW)


class Page(HTMLParser):
    """Collects what a browser would load or run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action")]
        self.ids += [value or "" for name, value in attrs if name == "id"]


def test_the_page_needs_nothing_but_itself(tmp_path: Path) -> None:
    found = formats.html(report.build(make_store(tmp_path), "partial-conv", NOW))
    page = Page(found)
    assert all(address.startswith(("data:image/", "#note-", "#arm-")) for address in page.addresses)
    assert {address[1:] for address in page.addresses if address.startswith("#")} <= set(page.ids)
    assert page.tags.count("script") == 1, "the one that copies tables"
    script = found[found.index("<script>") + len("<script>") : found.index("</script>")]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'\"" in found
    assert not re.search(r"https?:|fetch|XMLHttpRequest|import", script)
    assert "url(" not in found
    assert "@import" not in found
    assert "prefers-color-scheme: dark" in found


def test_the_page_has_every_section_and_the_answer_first(tmp_path: Path) -> None:
    found = report.build(make_store(tmp_path), "partial-conv", NOW)
    page = formats.html(found)
    places = [page.index(f'id="{name}"') for name in ("pictures", "claims", "results", "differences", "curves")]
    places += [page.index(f'id="{name}"') for name in ("conditions", "cost", "provenance", "again", "missing")]
    places += [page.index(f'id="{name}"') for name in ("background", "trials")]
    assert places == sorted(places)
    assert page.index("has the best test PSNR") < places[0]
    for text in ("6be6b4200000", "AMD EPYC 7763", "c58f30108f71", "15.3 %", "the loss is not finite", "--set seeds=8"):
        assert text in page
    assert "Source: 004_93544f900a7fa97e, section 6." in page[places[-2] :]


def test_names_are_escaped(tmp_path: Path) -> None:
    arms = [ArmSpec("<script>alert(1)</script>", 26.0), ArmSpec('a|b" onload="x', 25.0), ArmSpec("{{ 7*7 }}", 24.0)]
    claim = {
        "text": "<img src=x onerror=alert(1)>",
        "metric": "test/psnr_db",
        "better": "{{ 7*7 }}",
        "than": arms[0].name,
    }
    found = built(tmp_path, arms, claims=[claim])
    page = Page(formats.html(found))
    assert page.tags.count("script") == 1, "the page's own"
    assert found.grid is not None
    assert page.tags.count("img") == 1 + len(found.grid.titles), "curves, and a column of pictures for each title"
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in formats.html(found)
    assert "{{ 7*7 }}" in formats.html(found)
    assert "<script>" not in formats.markdown(found)
    assert "<img" not in formats.markdown(found)
    assert "a\\|b" in formats.markdown(found)


FIRST = [
    (
        [ArmSpec("net", 26.0), ArmSpec("better", 27.0)],
        r"“better” has the best test PSNR: .* better than the baseline “net”",
    ),
    (
        [ArmSpec("net", 27.0), ArmSpec("worse", 26.0)],
        r"The baseline “net” has the best .* better than the next arm, “worse”",
    ),
    (
        [ArmSpec("net", 24.0), FILL],
        r"A fill without training is best: “telea” .* best trained arm is “net”: .* dB worse than",
    ),
    (
        [ArmSpec("net", 25.05, sd=0.4), FILL],
        r"The best arm .* is not distinguishable from a fill without training: “telea”",
    ),
    ([ArmSpec("net", 26.0), ArmSpec("twin", 26.01, sd=0.4)], r"is not distinguishable from"),
    ([ArmSpec("net", 26.0)], r"^The baseline “net” is the only arm: test PSNR 2[56]\.\d+ ± 0\.\d+ dB, n = \d+\.$"),
    (
        [ArmSpec("net", 26.0, sd=0.4), *(ArmSpec(f"twin {n}", 26.0 + n / 100, sd=0.4) for n in range(7))],
        r"; it is not distinguishable from any of the 7 other arms\.$",
    ),
    (
        [
            ArmSpec("net", 26.0, sd=0.4),
            *(ArmSpec(f"twin {n}", 26.0 + n, sd=0.4) for n in (-9, *(k / 100 for k in range(7)))),
        ],
        r"not distinguishable from 7 of the 8 other arms, among them the baseline\.$",
    ),
    (
        [ArmSpec("net", 26.0, states=QUEUED), FILL],
        r"No answer yet: no trained arm .* of the fills without training “telea”",
    ),
    ([ArmSpec("net", 26.0, states=QUEUED)], r"No answer yet: no trial has finished \(8 queued\)"),
    ([ArmSpec("net", 26.0, states=FAILED)], r"No answer: all 8 cells failed, most often with Diverged"),
    ([ArmSpec("net", 26.0, nan=True)], r"No answer: no finished trial has a finite test PSNR"),
    ([FILL, ArmSpec("mean", 20.0, trains=False)], r"A fill without training is best: .* the study trains no arm"),
]


@pytest.mark.parametrize(("arms", "pattern"), FIRST, ids=lambda value: value if isinstance(value, str) else "")
def test_the_first_sentence_is_the_answer(tmp_path: Path, arms: list[ArmSpec], pattern: str) -> None:
    found = built(tmp_path, arms)
    assert re.search(pattern, found.answer[0]), found.answer[0]
    for text in (formats.html(found), formats.markdown(found), formats.csv(found)):
        assert text
    Console(file=io.StringIO(), width=100).print(formats.terminal(found))


CLAIM = {"text": "learning helps", "metric": "test/psnr_db", "better": "net", "than": "telea"}


@pytest.mark.parametrize(
    ("psnr", "verdict", "told"),
    [(26.5, "holds", False), (25.31, "holds", True), (25.05, "is undecided", False)],
    ids=["both distinguish", "only the claim does", "neither does"],
)
def test_a_claim_that_is_decided_about_arms_that_the_table_does_not_distinguish(
    tmp_path: Path, psnr: float, verdict: str, told: bool
) -> None:
    arms = [ArmSpec("net", psnr), FILL, *(ArmSpec(f"other {n}", 20.0 + n) for n in range(4))]
    answer = built(tmp_path, arms, claims=[CLAIM]).answer
    assert f"The claim {verdict}." in answer
    assert ("not distinguishable" in answer[0]) == (told or verdict != "holds")
    why = "The claim “learning helps” holds, although in the table “telea” is not distinguishable from “net”: the claim"
    assert any(sentence.startswith(why) for sentence in answer) == told


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    found = built(tmp_path, [ArmSpec("net", 26.0), ArmSpec("other", 27.0)], seeds=1)
    assert "with one seed, arms cannot be distinguished" in found.answer[0]
    assert "±" not in formats.csv(found)
    assert "n = 1, no interval" in found.answer[0]


def test_arms_tested_on_other_masks_are_not_compared(tmp_path: Path) -> None:
    arms = [
        ArmSpec(f"{name}, {level}", psnr, factors={"mask.count": level}, baseline=f"net, {level}")
        for level, psnrs in (("few", (30.0, 31.0)), ("many", (25.0, 24.0)))
        for name, psnr in zip(("net", "conv"), psnrs, strict=True)
    ]
    found = built(tmp_path, arms)
    assert found.answer[0].startswith("At few: “conv, few” has the best test PSNR")
    assert found.answer[1].startswith("At many: The baseline “net, many” has the best test PSNR")
    marks = [row.entries["test/psnr_db"].mark for row in found.table.rows]
    assert marks == ["", "best", "best", ""]


def test_cells_of_other_code_are_marked(tmp_path: Path) -> None:
    store = make_store(
        tmp_path, [ArmSpec("net", 26.0), ArmSpec("late", 26.5, states={0: "queued", 1: "queued"})], [0, 1]
    )
    study = report.build(store, "partial-conv", NOW).study
    done = store.get(layout.result_key(*study.arm("net").trials[0]))
    trial, epochs = study.arm("late").trials[0]
    attempt = stored_attempts.claim(store, trial, 0, {"claimed_at": NOW})
    assert attempt is not None
    body = json.loads(done)
    body["provenance"]["code"] = {"commit": "f" * 40, "dirty": True}
    assert stored_trials.finish(store, attempt, epochs, {key: body[key] for key in ("history", "facts", "provenance")})
    found = report.build(store, "partial-conv", NOW)
    page = formats.html(found)
    assert any(sentence.startswith("Cells were run with 2 versions of the code") for sentence in found.table.on_results)
    assert (
        "Cells were run with 2 versions of the code: 6be6b4200000 (2 trials); ffffffffffff + changes (1 trial)." in page
    )
    assert "code with uncommitted changes" in page


def test_files_are_written_and_published(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store")
    found = report.build(store, "partial-conv", NOW)
    paths = formats.write(found, tmp_path / "out" / "deep", ["html", "md", "csv"])
    names = ["partial-conv.html", "partial-conv.md", "partial-conv-curves.svg", "partial-conv-pictures.png"]
    assert [path.name for path in paths] == [*names, "partial-conv.csv"]
    text = paths[1].read_text()
    assert all((paths[1].parent / link).is_file() for link in re.findall(r"\]\(([^)]+)\)", text))
    keys = formats.publish(found, store, ["html"])
    assert keys == ["reports/partial-conv/partial-conv.html"]
    assert store.get(keys[0]) == paths[0].read_bytes()


def test_reports_of_the_same_store_are_equal(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    first, second = (report.build(store, "partial-conv", NOW) for _ in range(2))
    assert formats.html(first) == formats.html(second)


def test_a_format_that_does_not_exist(tmp_path: Path) -> None:
    found = built(tmp_path, [FILL])
    with pytest.raises(SweepError) as error:
        formats.write(found, tmp_path / "out", ["docx"])
    assert "html, md, tex, parquet, csv" in error.value.allowed
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SweepError) as error:
        formats.write(built(tmp_path / "store", [FILL]), tmp_path / "file")
    assert "--out" in error.value.given


def test_no_module_imports_what_only_some_reports_need() -> None:
    """In a fresh interpreter, importing every module of the package must not import slow libraries."""
    heavy = ("torch", "torchvision", "ray", "optuna", "boto3", "matplotlib", "PIL", "jinja2", "scipy", "statsmodels")
    top = Path(report.__file__).parents[2]
    paths = [path.relative_to(top).with_suffix("") for path in (top / "analysis").rglob("*.py")]
    modules = [".".join(path.parts) for path in paths if path.name != "__init__" and "dashboard" not in path.parts]
    assert "analysis.statistics.factors" in modules
    code = f"import sys, {', '.join(modules)}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_whole_report_imports_no_torch_and_no_ray(tmp_path: Path) -> None:
    make_store(tmp_path)
    code = (
        "import sys; from sweeps.store.open import open_store\n"
        "from analysis.report import build as report, formats\n"
        f"r = report.build(open_store({str(tmp_path)!r}), 'partial-conv')\n"
        "formats.html(r); formats.markdown(r); formats.terminal(r)\n"
        "print([m for m in ('torch', 'ray', 'matplotlib.pyplot') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_wheel_carries_the_files_that_a_report_needs() -> None:
    """Hatchling packs every file in a package's folder that git does not ignore."""
    root = Path(report.__file__).parents[1]
    needed = [
        *(f"report/templates/{name}" for name in ("report.html", "macros.html", "report.css", "report.md")),
        "claims/published/seeds.csv",
    ]
    assert all((root / name).is_file() for name in needed)
    ignored = subprocess.run(["git", "check-ignore", *needed], cwd=root, capture_output=True, text=True)
    assert ignored.stdout == ""


def test_every_row_leads_to_its_trials(tmp_path: Path) -> None:
    made = report.build(make_store(tmp_path), "partial-conv", NOW)
    html = formats.html(made)
    targets = re.findall(r'<a href="#(arm-\d+)"', html)
    assert set(targets) == {"arm-1", "arm-2", "arm-3", "arm-4"}
    for name in set(targets):
        assert html.count(f'id="{name}"') == 1
    cell = made.study.done()[0]
    assert f"trials/{cell.trial}/checkpoint/" in html
