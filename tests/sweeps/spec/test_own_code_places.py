"""An error about a user's file is shown with the line and key of the sweep file that name it, for every kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeps.errors import SweepError
from sweeps.spec import expand, loader
from trainables import schema

PLACES = {
    "data.name": (5, "data: "),
    "mask.name": (6, "mask: "),
    "model.name": (7, "model: "),
    "loss": (8, "loss: "),
    "report.extra": (9, "report.extra: own: "),
}
"""By key: its line in the sweep file, and how the error begins."""
FAULTS = {
    None: "there is no file",
    "def f(:": "does not parse",
    "import sys\nsys.exit(1)": "importing it raised SystemExit: 1",
    "import nowhere_to_be_found": "imports nowhere_to_be_found",
    "def f(name): ...": "",
}
"""By the text of the file, None for none: the reason. Of the last one it depends on the kind."""


@pytest.mark.parametrize("text", FAULTS)
@pytest.mark.parametrize("key", PLACES)
def test_it_is_shown_where_the_sweep_file_names_it(tmp_path: Path, key: str, text: str | None) -> None:
    names = {
        "data.name": "cifar10",
        "mask.name": "lines",
        "model.name": "vanilla_autoencoder",
        "loss": "l1",
        "report.extra": "lpips_squeeze",
        key: "./own.py",
    }
    (tmp_path / "s.yaml").write_text(f"""\
# Where is it?
name: s
task: inpaint
base:
  data: {{name: {names["data.name"]}}}
  mask: {{name: {names["mask.name"]}}}
  model: {{name: {names["model.name"]}}}
  loss: {{l2: 1.0, {names["loss"]}: 0.1}}
report: {{extra: [{names["report.extra"]}]}}
""")
    if text is not None:
        (tmp_path / "own.py").write_text(text)
    line, begins = PLACES[key]
    with pytest.raises(SweepError) as caught:
        expand.expand(loader.load(tmp_path / "s.yaml"), schema)
    assert f"s.yaml:{line}: {begins}" in caught.value.given
    assert "own" in caught.value.given
    assert FAULTS[text] in caught.value.why
    assert "[key]" not in caught.value.given
