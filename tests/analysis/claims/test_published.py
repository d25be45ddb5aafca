"""Published figures and their conversion to our units."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest

from analysis.claims import published
from analysis.report import build as report
from analysis.report import formats
from sweeps.errors import SweepError
from tests.analysis.make_store import NOW, ArmSpec, make_store

S3 = {"study": "003_4e78e639d4f1fa33", "table": "epochs"}
S4 = {"study": "004_93544f900a7fa97e", "table": "losses", "columns": {"test/l2_raw": "l2", "val/l2_raw": "l2"}}


def test_errors_on_minus_one_to_one_are_converted() -> None:
    l1, l2, psnr = (published.lookup(S3, "l2_weight=0.999", f"test/{name}", 50)[0] for name in ("l1", "l2", "psnr_db"))
    assert (l1.value, l1.text) == (pytest.approx(0.14012 / 2), "0.070060")
    assert "divided by 2" in l1.conversion
    assert (l2.value, l2.text) == (pytest.approx(0.0337 / 4), "0.00843")
    assert "divided by 4" in l2.conversion
    assert "0.0337" in l2.conversion
    assert (psnr.value, psnr.conversion) == (20.74345, "")


def test_a_sum_of_squares_beside_our_mean() -> None:
    """MODELS.md 3.4: 1.34 million is 21.73 dB on a 32 px image."""
    goals = {"study": "002_e338281c6a46a1c1", "table": "goals", "columns": {"test/l2": "sse255_millions"}}
    figure = published.lookup(goals, "context_encoder", "test/l2")[0]
    assert -10 * math.log10(figure.value) == pytest.approx(21.73, abs=0.005)
    assert figure.text == "0.00671"
    assert "divided by 199.8" in figure.conversion
    itself = published.lookup({**goals, "columns": {}}, "context_encoder", "test/sse255_millions")[0]
    assert itself.value == 1.34
    ours = published.lookup({**goals, "columns": {"test/sse255": "sse255_millions"}}, "context_encoder", "test/sse255")
    assert (ours[0].text, ours[0].conversion.split(",")[1]) == ("1340000", " in millions")


def test_a_split_that_is_not_named_is_taken_with_both_blocks() -> None:
    found = published.lookup(S3, "l2_weight=0.999", "test/psnr_db")
    assert {figure.split for figure in found} == {"unlabelled"}
    assert {figure.epoch for figure in found} == {200}
    assert sorted(figure.notes[1] for figure in found) == [
        f"from the one of its two tables with the {word} last PSNR" for word in ("higher", "lower")
    ]


CONTRADICTIONS = [
    ("000_0d9f1f22a9376145", "models_on_test", "vgg11", "test/f1", "not reachable from the printed precision"),
    ("000_0d9f1f22a9376145", "models_on_test", "alexnet", "test/f1", "not reachable from the printed precision"),
    ("002_e338281c6a46a1c1", "goals", "global_discriminator_only", "test/sse255_millions", "larger than the base goal"),
    ("003_4e78e639d4f1fa33", "epochs", "l2_weight=0.5", "test/psnr_db", "its slide says 9.7919"),
    ("003_4e78e639d4f1fa33", "epochs", "l2_weight=0.999", "test/psnr_db", "though its adversarial term is on"),
    ("003_4e78e639d4f1fa33", "epochs", "additional_layer", "test/psnr_db", 'shows it as "with channel-wise layer"'),
    ("003_4e78e639d4f1fa33", "epochs", "l1_loss", "test/psnr_db", "21.2045, that is in no table"),
    ("004_93544f900a7fa97e", "losses", "partial_conv_unet", "test/l2", "the conclusion says 0.0002"),
]


@pytest.mark.parametrize(("study", "table", "variant", "column", "words"), CONTRADICTIONS)
def test_figures_that_contradict_themselves_have_a_note(
    tmp_path: Path, study: str, table: str, variant: str, column: str, words: str
) -> None:
    """The note appears in the report in every format: below the table, as it holds for all published values."""

    def change(plan: dict[str, Any]) -> None:
        plan["report"].update(metrics=[column], published={"study": study, "table": table, "columns": {}})

    arms = [ArmSpec("net", 26.0), ArmSpec("theirs", 27.0, published=variant, columns={column: 0.9})]
    store = make_store(tmp_path, arms, range(2), [], change=change)
    built = report.build(store, "partial-conv", NOW)
    assert built.table.columns[0].theirs
    for text in (formats.html(built), formats.markdown(built), formats.tex(built)):
        assert words[1:].replace('"', "") in re.sub(r'"|&#34;|\\textquotedbl\{\}', "", text)


def test_an_arm_in_another_table_of_the_document() -> None:
    found = published.lookup(S3, "optimiser: SGD", "test/psnr_db")
    assert [figure.text for figure in found] == ["13.9196", "16.2267"]
    assert published.epochs(S3, "optimiser: SGD", "test/psnr_db") == []


def test_our_split_picks_theirs() -> None:
    test, val = (published.lookup(S4, "vanilla_autoencoder", f"{split}/l2_raw")[0] for split in ("test", "val"))
    assert (test.text, val.text) == ("0.0010", "0.0013")
    assert test.epoch == 20
    assert any("n^2" in note for note in test.notes)
    assert any("inferred" in note for note in test.notes)
    assert test.conversion == ""


@pytest.mark.parametrize(
    ("variant", "column"), [("no_such", "test/l2_raw"), (None, "test/l2_raw"), ("vanilla_autoencoder", "test/ssim")]
)
def test_what_was_not_published_is_not_there(variant: str | None, column: str) -> None:
    assert published.lookup(S4, variant, column) == []


def test_every_row_of_the_file_can_be_looked_up() -> None:
    for row in published.read_figures():
        reference = {"study": row["study"], "table": row["table"]}
        split = row["split"] if row["split"] in ("train", "val", "test") else "test"
        epoch = int(row["epoch"]) if row["epoch"] else None
        if row["split"]:
            assert published.lookup(reference, row["variant"], f"{split}/{row['metric']}", epoch), row


def test_a_wrong_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("study,table,wrong\n")
    with pytest.raises(SweepError) as error:
        published.read_figures(path)
    assert "wrong" in error.value.why
    assert "variant" in error.value.allowed


def test_a_value_that_is_no_number_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    lines = (published.HERE / "seeds.csv").read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1].replace("0.878", "high")]))
    with pytest.raises(SweepError) as error:
        published.read_figures(path)
    assert "row 2" in error.value.given
