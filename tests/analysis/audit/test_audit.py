"""`sweeps audit`: what a table of methods can decide, checked against simulations and other implementations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import sweeps
from analysis.audit import audit, audit_text, values
from analysis.audit.published_figures import published_comparisons
from analysis.claims import published
from analysis.statistics import significance
from sweeps.cli.main import main
from sweeps.errors import SweepError

HEADER = "method,seed,psnr_db\n"


def table(columns: Sequence[Sequence[float]], unit: str = "seed") -> values.MethodTable:
    """Methods `m0`, `m1`, ... with one value for each seed."""
    return values.MethodTable(
        "psnr_db", unit, {f"m{i}": {str(k): v for k, v in enumerate(own)} for i, own in enumerate(columns)}
    )


def drawn(rng: np.random.Generator, effects: Sequence[float], n: int, shared_sd: float = 2.0) -> values.MethodTable:
    """Values with a part that all methods share, as paired seeds give, and noise of 1 of their own."""
    shared = rng.normal(25, shared_sd, n)
    return table([(shared + effect + rng.normal(0, 1, n)).tolist() for effect in effects])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "results.csv"


# --- reading ----------------------------------------------------------------------------------------------------------


def test_both_forms_are_the_same_table(file: Path) -> None:
    file.write_text(
        "\ufeffMethod,Seed,psnr_db,note\nA,0,27.5,x\nA,1,27\nB,0,26,y\n\nB,1,26.5,z\n".replace("27\n", "27,\n")
    )
    long = values.read(file)
    file.write_text("method,seed 0,seed 1\nA,27.5,27\nB,26,26.5\n")
    wide = values.read(file)
    assert [list(one.values()) for one in long.values.values()] == [list(one.values()) for one in wide.values.values()]
    assert (long.metric, long.unit, wide.unit) == ("psnr_db", "seed", "seed")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no row below its header"),
        (HEADER, "no row below its header"),
        (HEADER + "A,0,1\nA,1,2\n", "one method, 'A'"),
        (HEADER + "A,0,1\nB,0,\n", "row 3, column psnr_db"),
        (HEADER + "A,0,1\nB,0,nan\n", "'nan' is no finite number"),
        (HEADER + "A,0,1\nB,0,inf\n", "'inf' is no finite number"),
        (HEADER + "A,0,1\nB,0,good\n", "'good' is no finite number"),
        (HEADER + "A,0,1\nB,0,1_0\n", "'1_0' is no finite number"),
        (HEADER + "A,0,1\nB,0,\u0661\n", "'\u0661' is no finite number"),
        (HEADER + "A,0,1\nB,0,15%\n", "'15%' is no finite number"),
        (HEADER + 'A,0,1\nB,0,"1,5"\n', "'1,5' is no finite number"),
        (HEADER + "A,0,1\nA,0,1\nB,0,2\n", "A has a second value for seed 0"),
        (HEADER + "A,0,1\nB,0\n", "it has 2 cells, and the header has 3"),
        (HEADER + "A,0,1\n,0,2\n", "the method has no name"),
        ("seed,psnr_db\n0,1\n1,2\n", "no column is called method"),
        ("method,seed,psnr_db,ssim\nA,0,1,2\nB,0,2,1\n", "2 columns have numbers: psnr_db, ssim"),
        ("method,seed,seed\nA,0,1\n", "two columns are called 'seed'"),
        ("method\nA\nB\n", "it has one column"),
        ("method,a,b\nA,1,2\nA,1,2\n", "A has a second row"),
        ("method,a,b\nA,1,\nB,1,2\n", "the cell is empty"),
        ("method,seed,psnr_db\n" + "".join(f"m{i},0,1\n" for i in range(101)), "it has 101 methods"),
    ],
)
def test_a_bad_table_is_refused(file: Path, text: str, words: str) -> None:
    file.write_text(text)
    with pytest.raises(SweepError) as caught:
        values.read(file)
    assert words in str(caught.value)
    assert caught.value.fix


def test_a_file_that_is_no_text_or_not_there(file: Path) -> None:
    with pytest.raises(SweepError, match="No such file"):
        values.read(file)
    file.write_bytes(HEADER.encode() + "Größe,0,1\n".encode("windows-1252"))
    with pytest.raises(SweepError, match="not UTF-8 at byte"):
        values.read(file)


def test_one_of_several_metrics(file: Path) -> None:
    file.write_text("method,seed,psnr_db,ssim\nA,0,1,.2\nB,0,2,.1\n")
    assert values.read(file, "ssim").values == {"A": {"0": 0.2}, "B": {"0": 0.1}}
    with pytest.raises(SweepError, match="no such column") as caught:
        values.read(file, "fid")
    assert caught.value.allowed == "psnr_db, ssim"


# --- statistics -------------------------------------------------------------------------------------------------------


def test_columns_named_like_metrics_are_no_seeds(file: Path) -> None:
    """The usual form of a published table: a column for each metric, one run."""
    file.write_text("method,psnr_db,SSIM,FID\nA,27.1,0.91,9.1\nB,26.2,0.90,7.9\n")
    with pytest.raises(SweepError, match="it has 3 metrics"):
        values.read(file)
    table = values.read(file, "FID")
    assert (table.metric, table.unit) == ("FID", "run")
    assert table.values == {"A": {"1": 9.1}, "B": {"1": 7.9}}
    found = sweeps.audit(file, metric="FID")
    assert not found.tested
    assert found.goal == "min"
    with pytest.raises(SweepError, match="no such column"):
        values.read(file, "LPIPS")
    file.write_text("system,fid\nA,3.1\nB,2.9\n")
    assert "B is 0.200 ahead of A" in " ".join(audit_text.sentences(sweeps.audit(file)))
    file.write_text("table,variant,value\nt,A,1\nt,B,2\n")
    with pytest.raises(SweepError, match="variant hold text"):
        values.read(file)


def test_ranks_hold_together_in_95_percent_of_tables() -> None:
    """Whether every method's true rank is among those left open, in 400 simulated tables with close and far methods."""
    effects = [0.0, 0.0, 0.5, 2.0]
    true = [(3, 4), (3, 4), (2, 2), (1, 1)]  # the two equal methods may have either rank
    rng, held = np.random.default_rng(0), 0
    for _ in range(400):
        found = {method.name: method for method in audit.audit(drawn(rng, effects, 10), "max").methods}
        held += all(
            found[f"m{i}"].best_rank <= low and found[f"m{i}"].worst_rank >= high for i, (low, high) in enumerate(true)
        )
    assert held / 400 >= 0.93


def test_a_difference_of_the_smallest_shown_is_decided_in_80_percent() -> None:
    """The sign-flip test loses little against Student's, whose power the figure is."""
    rng, n, sd = np.random.default_rng(1), 12, np.sqrt(2)
    smallest = (stats.t.ppf(0.975, n - 1) + stats.t.ppf(0.8, n - 1)) / np.sqrt(n) * sd
    decided = [audit.audit(drawn(rng, [smallest, 0], n), "max").pairs[0].decided for _ in range(400)]
    assert 0.72 <= np.mean(decided) <= 0.88
    example = audit.audit(drawn(rng, [smallest, 0], n), "max").pairs[0]
    assert example.difference.sd is not None
    assert example.smallest == pytest.approx(smallest / sd * example.difference.sd)


def test_the_seeds_needed_are_those_that_show_the_difference() -> None:
    found = audit.audit(table([[1.0, 1.4, 0.8, 1.2], [0.9, 1.1, 0.9, 1.0]]), "max").pairs[0]
    assert found.needed is not None
    assert found.difference.sd is not None

    def reach(n: int) -> float:
        return float((stats.t.ppf(0.975, n - 1) + stats.t.ppf(0.8, n - 1)) / np.sqrt(n) * found.difference.sd)

    assert reach(found.needed) <= found.difference.mean < reach(found.needed - 1)


def test_ties_ranks_and_correlation() -> None:
    rng = np.random.default_rng(2)
    found = audit.audit(drawn(rng, [0.0, 0.1, 9.0, -9.0], 12), "max")
    assert [list(group) for group in found.ties] == [sorted(found.ties[0], key=[m.name for m in found.methods].index)]
    assert set(found.ties[0]) == {"m0", "m1"}
    assert [(method.name, method.best_rank, method.worst_rank) for method in found.methods][::3] == [
        ("m2", 1, 1),
        ("m3", 4, 4),
    ]
    pair = found.pairs[0]
    paired = np.array(
        list(zip(*(found.table.values[name].values() for name in (pair.better, pair.worse)), strict=True))
    )
    assert pair.correlation == pytest.approx(stats.pearsonr(*paired.T).statistic)
    assert found.methods[0].first == 1.0
    assert found.tau is not None
    assert 0.6 < found.tau < 1


def test_equal_methods_share_the_first_place() -> None:
    found = audit.audit(table([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [0.0, 0.5, 0.1]]), "max")
    assert [method.first for method in found.methods] == [0.5, 0.5, 0.0]
    assert set(found.ties[0]) >= {"m0", "m1"}


def test_lower_is_better() -> None:
    found = audit.audit(table([[3.0, 3.1, 2.9], [1.0, 1.1, 1.2]]), "min")
    assert found.methods[0].name == found.pairs[0].better == "m1"
    assert found.pairs[0].difference.mean < 0


def test_methods_that_share_no_seed_are_not_tested() -> None:
    one = values.MethodTable("psnr_db", "seed", {"A": {"0": 1.0, "1": 2.0}, "B": {"2": 3.0, "3": 4.0}})
    found = audit.audit(one, "max")
    assert not found.tested
    assert "no two methods with values of the same seeds" in " ".join(audit_text.sentences(found))


def test_a_table_of_images_is_read_in_time() -> None:
    """2,000 images, 10 methods: the sign-flip test by its normal limit, which a real test confirms."""
    rng = np.random.default_rng(3)
    found = audit.audit(drawn(rng, [0.02 * i for i in range(10)], 2000), "max")
    pair = found.pairs[4]
    a, b = (np.array(list(found.table.values[name].values())) for name in (pair.better, pair.worse))
    assert pair.adjusted_p is not None
    assert significance.sign_flip_p((a - b).tolist()) == pytest.approx(stats.ttest_rel(a, b).pvalue, rel=0.05)


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        f"{name},{seed},{25 + gap + 0.1 * seed}" for name, gap in (("A", 0), ("B", 1), ("C", 1.01)) for seed in range(8)
    ]
    file.write_text(HEADER + "\n".join(rows))
    assert main(["audit", str(file)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "pairs differ beyond chance (sign-flip test, paired by seed, corrected for all pairs by Holm" in said
    assert main(["audit", str(file), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["goal"] == "max", "by the name of the metric"
    assert [method["name"] for method in data["methods"]] == ["C", "B", "A"]
    assert data["sentences"] == audit_text.sentences(sweeps.audit(file))


def test_one_value_each_is_not_tested_and_what_can_be_said_is(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("system,l1\nLaMa,0.5\nMAT,0.4\n")
    assert main(["audit", str(file), "--goal", "min"]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "Nothing is tested: there is one value for each method (n = 1)" in said
    assert "MAT is 0.1000 ahead of LaMa" in said
    assert "if the standard deviation over runs were below 0.0361" in said


# --- the published figures --------------------------------------------------------------------------------------------


def test_every_published_figure_is_in_one_row() -> None:
    rows = published_comparisons()
    assert sum(row.figures for row in rows) == len(published.read_figures())
    assert len({(row.document, row.table, row.metric) for row in rows}) == len(rows)
    (optimiser,) = (row for row in rows if row.table == "optimiser")
    assert optimiser.gap == pytest.approx(2.8603, abs=1e-4), (
        "19.087 for Adam and 16.2267 for SGD, in the second picture"
    )
