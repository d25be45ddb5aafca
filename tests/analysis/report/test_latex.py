"""The table as LaTeX: its escapes, and that a real LaTeX compiles it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from analysis.report import build as report
from analysis.report import content, formats, latex
from tests.analysis.make_store import NOW, ArmSpec, make_store

HOSTILE = ('[x] a_b & 50% {y} \\input{/etc/passwd} $z$ ^ ~ #1 "q"', "* star – “quoted” ± × ≤ …", "<b>fill</b> | −1")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> content.Report:
    first, second, third = HOSTILE
    arms = [
        ArmSpec(first, 26.0, published="vanilla_autoencoder"),
        ArmSpec(second, 27.0),
        ArmSpec(third, 20.0, trains=False),
    ]
    return report.build(make_store(tmp_path_factory.mktemp("latex"), arms, range(4), []), "partial-conv", NOW)


def test_signs_of_latex_are_escaped() -> None:
    assert latex.escape("a_b & 5 %\n{x} \\y $z$") == r"a\_b \& 5 \% \{x\} \textbackslash{}y \$z\$"


def test_table(made: content.Report) -> None:
    lines = formats.tex(made).partition("\\end{table}")[0].splitlines()
    rows = [line for line in lines if line.startswith("{}")]
    assert len(rows) == 3
    columns = {line.count(" & ") for line in rows}
    assert columns == {8}, "an unescaped & would add a cell"
    assert r"\textbf{$\bullet$ 27." in rows[1]
    assert r"\input{" not in formats.tex(made)


@pytest.mark.slow
def test_latex_sets_it(made: content.Report, tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed: apt-get install texlive-latex-recommended")
    crossed = [
        ArmSpec(f"{name}, {level}", psnr, factors={"mask.k_%": level}, baseline=f"{HOSTILE[0]}, {level}")
        for level in ("few & 1", "many_")
        for name, psnr in zip(HOSTILE[:2], (26.0, 27.0), strict=True)
    ]
    by_factors = formats.tex(report.build(make_store(tmp_path / "store", crossed, range(4), []), "partial-conv", NOW))
    assert "-by-two-factors-1" in by_factors
    (tmp_path / "table.tex").write_text(formats.tex(made) + by_factors, encoding="utf-8")
    (tmp_path / "main.tex").write_text(
        "\\documentclass{article}\\usepackage[T1]{fontenc}\\usepackage{booktabs,graphicx}"
        "\\begin{document}\\input{table}\\end{document}"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "main.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "main.pdf").stat().st_size > 10_000
