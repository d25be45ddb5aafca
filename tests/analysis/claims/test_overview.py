"""All claims of all studies in one table."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from analysis import csv_text, studies
from analysis.claims import judge as claims
from analysis.claims import overview
from analysis.report import build as report
from analysis.report import formats
from sweeps import api, sizes
from sweeps.errors import SweepError
from sweeps.spec import loader
from tests.analysis.make_store import NOW, make_store

STUDIES = sorted((Path(__file__).parents[3] / "sweeps").glob("*/*.yaml"))


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[overview.ClaimLine]:
    return overview.collect(make_store(tmp_path_factory.mktemp("verdicts")), files=STUDIES)


def test_claims_of_the_store_are_judged_and_those_of_files_not_run(lines: list[overview.ClaimLine]) -> None:
    stored = [line for line in lines if line.study == "partial-conv"]
    assert [line.verdict for line in stored[:1]] == [claims.HOLDS]
    assert len(stored) == 4, "the file of the same name is not told again"
    others = [line for line in lines if line.study != "partial-conv"]
    assert {line.verdict for line in others} == {overview.NOT_RUN}
    claiming = {sweep.name for path in STUDIES if (sweep := loader.load(path).spec).claims} - {"partial-conv"}
    assert {line.study for line in others} == claiming
    assert overview.summary(lines).startswith(
        f"{len(lines)} claims of {len(claiming) + 1} studies (holds: 2, does not hold: 1,"
    )


def test_published_figures_stand_beside_ours(lines: list[overview.ClaimLine]) -> None:
    first = lines[0]
    assert first.published == "0.0005 against 0.0010"
    assert first.ours.startswith("−0.000")
    assert "[" in first.ours
    l2_weight = next(line for line in lines if line.claim == "the adversarial term costs PSNR")
    assert "19.0879" in l2_weight.published, "the figures of 003's epoch tables"


def test_a_claim_of_the_report_says_the_same(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    judged = claims.judge(studies.read(store, "partial-conv", NOW))
    assert [line.verdict for line in overview.collect(store)] == [one.verdict for one in judged]


@pytest.mark.parametrize("size", sizes.BLOCKS)
def test_a_verdict_below_full_size_says_so_wherever_it_stands(tmp_path: Path, size: str) -> None:
    store = make_store(tmp_path, change=lambda plan: plan.update(size=size))
    page = report.build(store, "partial-conv")
    markup = formats.files(page, ["html", "md"])
    console = Console(width=500, file=io.StringIO())
    console.print(formats.terminal(page), overview.terminal(overview.collect(store)))
    shown = {
        "terminal": console.file.getvalue(),  # type: ignore[attr-defined]
        "markdown": markup["partial-conv.md"].decode(),
        "page": re.sub(r"(?s)<style.*?</style>|<script.*?</script>|<[^>]*>", " ", markup["partial-conv.html"].decode()),
        "csv": overview.to_csv(overview.collect(store)),
        "notebook": str(api.open(tmp_path)["partial-conv"].claims()["verdict"].tolist()),
    }
    shown = {place: " ".join(text.split()) for place, text in shown.items()}
    for place, text in shown.items():
        verdicts = re.findall(r"\b(?:holds|does not hold|(?<!; 1 )undecided)\b(?! at small size| at tiny size)", text)
        assert not verdicts, place
        assert f"holds at {size} size" in text, place
    said = f"Run at {size} size: 4,000 training images, 20 epochs, 8 seeds, on 1 CPU thread."
    assert all(said in shown[place] for place in ("terminal", "markdown", "page", "csv"))


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match="no sweep of this name"):
        overview.collect(make_store(tmp_path), ["partial-cov"])


def test_csv_and_terminal(lines: list[overview.ClaimLine]) -> None:
    rows = list(csv.DictReader(io.StringIO(overview.to_csv(lines))))
    assert len(rows) == len(lines)
    assert rows[0]["sentence"].endswith(".")
    console = Console(width=150, file=io.StringIO())
    console.print(overview.terminal(lines))
    assert "not run" in console.file.getvalue()  # type: ignore[attr-defined]


def test_cells_that_a_spreadsheet_would_run_are_text() -> None:
    rows = [["=1+1", "@SUM(A1)", "+ attention", "-2+3", "\tx"], ["-2.5", "–", "-", "a=b", -1.5, None, "'x'"]]
    rows.append(["+0.1 [−0.4, +0.6]", "-0.1 [x, 2]", "+1.5 %"])
    first, second, third = csv_text.to_csv(rows).splitlines()
    assert first == "'=1+1,'@SUM(A1),'+ attention,'-2+3,'\tx"
    assert second == "-2.5,–,-,a=b,-1.5,,'x'"
    assert third == '"+0.1 [−0.4, +0.6]","\'-0.1 [x, 2]",+1.5 %'
