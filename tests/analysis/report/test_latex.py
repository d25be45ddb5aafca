"""The tables as LaTeX: their escapes, and that a real LaTeX sets them within the width of the text."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from analysis.report import build as report
from analysis.report import content, formats
from analysis.report.latex import latex_text, tabular
from analysis.report.paper.paper_table import Figure, PaperRow, PaperTable
from analysis.report.paper.shape import Shape
from tests.analysis.make_store import NOW, ArmSpec, make_store

HOSTILE = ('[x] a_b & 50% {y} \\input{/etc/passwd} $z$ ^ ~ #1 "q"', "* star – “quoted” ± × ≤ …", "<b>fill</b> | −1")
UNICODE = (
    "λ = 0.1, σ ≥ 2 → ∞",
    "ΔΩ, naïve Łódź ħ½ x² a₁ ﬁ ½ ⅓ €",
    "漢字 🙂 a\u0301\u200b",
    "an_unbreakable_name_" + "x" * 60,
)
SIX = ("test/psnr_db", "test/l2_raw", "test/ssim", "val/psnr_db", "val/l2_raw", "val/ssim")


def arms_named(names: Iterable[str]) -> list[ArmSpec]:
    """Trained arms, two of them tied, then a fill; published figures for the first."""
    made = [ArmSpec(name, 26.0 + 0.01 * number, sd=0.3) for number, name in enumerate(names)]
    first = ArmSpec(made[0].name, 26.0, sd=0.3, published="vanilla_autoencoder")
    second = ArmSpec(made[1].name, 26.2, sd=0.5, published="partial_conv_unet")
    return [first, second, *made[2:], ArmSpec("telea", 20.0, trains=False)]


def built(root: Path, names: Iterable[str], shape: Shape | None = None, seeds: int = 8) -> content.Report:
    return report.build(make_store(root, arms_named(names), range(seeds), []), "partial-conv", NOW, shape=shape)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> content.Report:
    return built(tmp_path_factory.mktemp("latex"), HOSTILE, seeds=4)


def test_signs_of_latex_are_escaped() -> None:
    assert latex_text.escape("a_b & 5 %\n{x} \\y $z$") == r"a\_b \& 5 \% \{x\} \textbackslash{}y \$z\$"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("λ ≥ ∞", r"\ensuremath{\lambda} \ensuremath{\geq} \ensuremath{\infty}"),
        ("Α Ω ς", r"\ensuremath{A} \ensuremath{\Omega} \ensuremath{\varsigma}"),
        ("x² a₁", r"x\textsuperscript{2} a\textsubscript{1}"),
        ("é, e\u0301 and Ł", "é, é and Ł"),
        ("ﬁ ½ ⅓", "fi ½ 1/3"),
        ("\u200b字", r"\anyscript{字}{U+5B57}"),
    ],
)
def test_unicode_in_names(text: str, shown: str) -> None:
    assert latex_text.escape(text) == shown
    assert latex_text.UNICODE in tabular.NEEDS


LARGE = PaperTable(
    "",
    "arm",
    ["test KID", "difference"],
    [
        PaperRow("mean fill", [Figure("35,700,000", "700,000"), Figure("+700,000", bounds="[−300,000, +1,700,000]")]),
        PaperRow("Telea", [Figure("9600", "400"), Figure("−25,400.5")]),
    ],
    [],
)


def test_siunitx_groups_the_digits_of_large_numbers() -> None:
    text = tabular.paper(LARGE, "Large", "large")
    assert "S[table-format=8.0(6)]" in text
    assert "35700000 \\pm 700000" in text
    assert "S[table-format=+6.1]" in text
    assert "+700000 & [" in text
    assert "300,000, +1,700,000] " in text


def test_table(made: content.Report) -> None:
    tables = [part.partition("\\end{table}")[0] for part in formats.tex(made).split("\\begin{table}")[1:]]
    assert len(tables) == 3, "results, differences, by epoch"
    blocks = re.findall(r"\\begin\{tabular\}.*?\\end\{tabular\}", tables[0], re.DOTALL)
    rows = [line for block in blocks for line in block.splitlines() if line.startswith("{}")]
    assert len(rows) == len(blocks) * (1 + len(made.study.arms))
    figures = sum(rows[1 + number * (1 + len(made.study.arms))].count(" & ") for number in range(len(blocks)))
    assert figures == 4, "an unescaped & would add a cell"
    assert re.search(r"S\[table-format=2\.2\(\d+\)\]", tables[0])
    assert re.search(r"\\bfseries 26\.\d+ \\pm 0\.\d+", tables[0])
    assert r"\toprule" in tables[0]
    assert r"\input{" not in formats.tex(made)
    assert r"\resizebox" not in formats.tex(made)
    assert made.papers[0].notes[0].startswith("Mean over n seeds")
    assert "Mean over n seeds" in tables[0]


def test_caption_and_label_are_the_files(made: content.Report) -> None:
    text = formats.tex(made)
    assert r"\caption{Does partial convolution fill lines better than a blind autoencoder? Results.}" in text
    assert r"\label{tab:partial-conv}" in text
    assert r"\label{tab:partial-conv-differences}" in text


SHAPES = {
    "plain": Shape(),
    "six": Shape(columns=SIX),
    "transposed": Shape(columns=SIX, transpose=True),
    "sd": Shape(sd=True),
}


@pytest.mark.slow
@pytest.mark.parametrize("names", [HOSTILE, UNICODE, ("short", "b", "c")], ids=["hostile", "unicode", "short"])
def test_latex_sets_it_within_the_text(tmp_path: Path, names: tuple[str, ...]) -> None:
    if shutil.which("pdflatex") is None or not _has("siunitx.sty"):
        pytest.skip("pdflatex with siunitx is not installed: apt-get install texlive-latex-extra texlive-science")
    tables = [
        formats.tex(built(tmp_path / f"{key}-{seeds}", names, shape, seeds))
        for key, shape in SHAPES.items()
        for seeds in (2, 8)
    ]
    crossed = [
        ArmSpec(f"{name}, {level}", psnr, factors={"mask.k_%": level}, baseline=f"{names[0]}, {level}")
        for level in ("few & 1", "many_")
        for name, psnr in zip(names[:2], (26.0, 27.0), strict=True)
    ]
    by_factors = formats.tex(report.build(make_store(tmp_path / "store", crossed, range(4), []), "partial-conv", NOW))
    assert "-by-two-factors-1" in by_factors
    (tmp_path / "table.tex").write_text(
        "\\clearpage\n".join([*tables, by_factors, tabular.paper(LARGE, "Large", "large")]), encoding="utf-8"
    )
    (tmp_path / "main.tex").write_text(
        "\\documentclass{article}\\usepackage[T1]{fontenc}\\usepackage{booktabs,siunitx}"
        "\\begin{document}\\input{table}\\end{document}"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "main.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    log = (tmp_path / "main.log").read_text(errors="replace")
    assert "Overfull \\hbox" not in log, log[log.index("Overfull") :][:600]
    assert "Package siunitx Warning" not in log
    assert (tmp_path / "main.pdf").stat().st_size > 10_000


def _has(package: str) -> bool:
    found = subprocess.run(["kpsewhich", package], capture_output=True, text=True, check=False)
    return found.returncode == 0
