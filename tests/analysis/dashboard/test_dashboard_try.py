"""The Try page: checks and masks of drawn holes, and the process that answers requests."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from analysis.dashboard.processes import predict_upload
from analysis.dashboard.processes.predictor import PredictorProcess
from analysis.dashboard.settings import DashboardSettings
from analysis.dashboard.widgets import drawing
from sweeps.cli.main import main
from sweeps.errors import SweepError

SIZE = (80, 60)


# --- drawn holes ------------------------------------------------------------------------------------------------------


def stroke(*points: tuple[float, float], brush: float = 9) -> dict[str, Any]:
    return {"brush": brush, "points": [list(point) for point in points]}


def test_the_mask_covers_the_strokes() -> None:
    strokes = [stroke((10, 10), (50, 10)), stroke((70, 50), brush=5)]
    hole = np.asarray(drawing.strokes_to_mask(drawing.parse_strokes(strokes, SIZE), SIZE)) > 0
    assert hole.shape == (60, 80)
    assert hole[10, 6:54].all(), "a line with round ends"
    assert hole[7:14, 30].all()
    assert not hole[16:, :66].any()
    assert 15 <= hole[44:, 60:].sum() <= 30, "a point is a disc"


@pytest.mark.parametrize(
    "drawn",
    [
        None,
        "strokes",
        {"brush": 3},
        [None],
        [{"brush": 3}],
        [{"brush": 3, "points": []}],
        [{"brush": 3, "points": ["ab"]}],
        [{"brush": 3, "points": [[1]]}],
        [{"brush": 3, "points": [[1, True]]}],
        [stroke((-1, 3))],
        [stroke((3, 61))],
        [stroke((3, float("nan")))],
        [stroke((3, 3), brush=0)],
        [stroke((3, 3), brush=21)],
        [stroke((3, 3))] * (drawing.MOST_STROKES + 1),
        [stroke(*[(3, 3)] * drawing.MOST_POINTS)] * 2,
    ],
)
def test_invalid_strokes_are_refused(drawn: Any) -> None:
    with pytest.raises(SweepError, match="the drawn hole"):
        drawing.parse_strokes(drawn, SIZE)


# --- the prediction process -------------------------------------------------------------------------------------------

FILL = """\
# Does it fill?
name: fill
task: inpaint
base:
  data: {name: cifar10, train: 32, val: 16, test: 16}
  mask: {name: centre, fraction: 0.15}
  model: {name: partial_conv_unet, width: 4}
  batch: 16
  epochs: 1
seeds: 3
report: {metrics: [test/psnr_db]}
tiny: {set: {data.test: 16}}
"""


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory, data_root: Path) -> DashboardSettings:
    """A store with three trained inpainters."""
    folder = tmp_path_factory.mktemp("try")
    (folder / "fill.yaml").write_text(FILL)
    store = str(folder / "store")
    command = ["run", str(folder / "fill.yaml"), "--store", store, "--data", str(data_root), "--quiet"]
    with contextlib.redirect_stdout(io.StringIO()):
        assert main([*command, "--address", "in-process"]) == 0
    return DashboardSettings(store, "a-token-of-the-tests")


@pytest.fixture(scope="module")
def predictor() -> Iterator[PredictorProcess]:
    found = PredictorProcess()
    yield found
    found.close()


def trials(given: DashboardSettings) -> list[str]:
    return sorted(path.name for path in (Path(given.store) / "trials").iterdir())


def gradient() -> Image.Image:
    return Image.merge("RGB", [Image.linear_gradient("L").resize(SIZE).rotate(turn) for turn in (0, 90, 180)])


def test_the_process_gives_the_same_answers_as_the_command(
    given: DashboardSettings, predictor: PredictorProcess, tmp_path: Path
) -> None:
    hole = drawing.strokes_to_mask([stroke((20, 20), (50, 40))], SIZE)
    answers = {}
    for trial in (*trials(given), *trials(given)):  # more networks than stay in memory, so some are loaded again
        result = predict_upload.run(given, predictor, trial, gradient(), hole)
        (answer,) = result.pictures.values()
        assert result.detection["network_px"] == 32
        assert answers.setdefault(trial, answer) == answer
    assert len(set(answers.values())) == 3
    pid = predictor.pid
    trial = trials(given)[0]
    gradient().save(tmp_path / "image.png")
    hole.save(tmp_path / "mask.png")
    files = [str(tmp_path / "image.png"), "--mask", str(tmp_path / "mask.png"), "--out", str(tmp_path / "out")]
    subprocess.run([sys.executable, "-m", "sweeps.cli", "predict", trial, "--store", given.store, *files], check=True)
    (by_command,) = (tmp_path / "out").glob("*.png")
    assert by_command.read_bytes() == answers[trial]
    assert predictor.pid == pid


def test_the_process_gives_the_same_errors_as_the_command(
    given: DashboardSettings, predictor: PredictorProcess
) -> None:
    trial = trials(given)[0]
    with pytest.raises(SweepError, match="an inpainter needs a hole to fill"):
        predict_upload.run(given, predictor, trial, gradient(), None)
    with pytest.raises(SweepError, match="it takes no text"):
        predict_upload.run(given, predictor, trial, gradient(), (1, 1, 5, 5), "--a bird")
    with pytest.raises(SweepError, match="no trial starts with it"):
        predict_upload.run(given, predictor, "0" * 16, gradient(), (1, 1, 5, 5))
    assert predictor.ask(["--nothing"])[0] == 2, "an error of argparse ends the request, not the process"


def test_a_dead_process_is_reported_and_replaced(given: DashboardSettings, predictor: PredictorProcess) -> None:
    trial = trials(given)[0]
    predict_upload.run(given, predictor, trial, gradient(), (1, 1, 5, 5))
    first = predictor.pid
    assert first is not None
    os.kill(first, signal.SIGSTOP)
    with pytest.raises(SweepError, match="longer than 1 s"):
        predictor.ask([trial], limit_s=1)
    assert predictor.pid is None
    predictor.start()
    second = predictor.pid
    assert second is not None
    os.kill(second, signal.SIGSTOP)
    threading.Timer(0.3, os.kill, (second, signal.SIGKILL)).start()
    with pytest.raises(SweepError, match="it printed nothing"):
        predict_upload.run(given, predictor, trial, gradient(), (1, 1, 5, 5))
    assert predict_upload.run(given, predictor, trial, gradient(), (1, 1, 5, 5)).pictures
    assert predictor.pid not in (first, second)


def test_the_process_ends_when_idle_and_when_its_server_is_killed() -> None:
    idle = PredictorProcess(idle_s=0.3)
    idle.start()
    deadline = time.monotonic() + 10
    while idle.pid is not None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    code = (
        "from analysis.dashboard.processes.predictor import PredictorProcess; import sys, time;"
        "p = PredictorProcess(); p.start(); print(p.pid, flush=True); time.sleep(60)"
    )
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    child = int(server.stdout.readline())
    server.kill()
    server.communicate()
    while alive(child):
        assert time.monotonic() < deadline + 20
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
