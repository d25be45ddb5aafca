"""`sweeps export-to`: finished trials for TensorBoard, MLflow and Weights & Biases."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis import export_to, studies, trackers
from sweeps.cli.main import main
from sweeps.errors import SweepError
from tests.analysis import make_store


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """{tag: (step, value)} of the event files in a folder, read with TensorBoard's own record format."""
    from tensorboardX.proto.event_pb2 import Event

    found: dict[str, list[tuple[int, float]]] = {}
    for file in folder.glob("events.*"):
        data, at = file.read_bytes(), 0
        while at < len(data):  # length, its checksum, an event, its checksum
            length = int.from_bytes(data[at : at + 8], "little")
            event = Event.FromString(data[at + 12 : at + 12 + length])
            at += 16 + length
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


def test_tensorboard_gets_every_finished_trial(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = make_store.make_store(tmp_path / "store", seeds=range(8))
    command = ["export-to", "tensorboard", "partial-conv", "--store", store.uri, "--out", str(tmp_path / "out")]
    assert main(command) == 0
    assert "partial-conv: 16 runs written to" in capsys.readouterr().out, "8, 6 and one of each fill"
    folders = sorted(path.name for path in (tmp_path / "out" / "partial-conv").iterdir())
    assert len(folders) == 16
    assert sum(name.startswith("telea-seed0-") for name in folders) == 1
    found = studies.read(store, "partial-conv")
    (first,) = [one.run for one in export_to.runs(found) if (one.run.arm, one.run.seed) == ("partial convolution", 3)]
    assert first.config["model.name"] == "partial_conv_unet"
    written = scalars(tmp_path / "out" / "partial-conv" / first.slug)
    assert [step for step, _ in written["val/psnr_db"]] == list(range(1, 21))
    assert [step for step, _ in written["test/psnr_db"]] == [10, 20], "only where it was evaluated"
    last = found.values("partial convolution", "test/psnr_db")[3]
    assert written["test/psnr_db"][-1][1] == pytest.approx(last, rel=1e-6)
    assert main(command) == 2
    assert "TensorBoard would show every value twice" in capsys.readouterr().err


def test_a_missing_package_and_a_sweep_without_results_are_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queued = dict.fromkeys(range(2), "queued")
    store = make_store.make_store(tmp_path, [make_store.ArmSpec("base", 25.0, states=queued)], range(2), [])
    read = studies.read(store, "partial-conv")
    with pytest.raises(SweepError, match="none of its trials has finished"):
        export_to.export(read, "tensorboard", str(tmp_path / "out"))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    for tool, package in trackers.PACKAGES.items():
        with pytest.raises(SweepError) as error:
            export_to.export(read, tool)
        assert error.value.fix == f"pip install {package}"
