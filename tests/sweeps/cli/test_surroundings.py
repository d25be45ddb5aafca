"""What surrounds a command: addresses, environment variables, closed and full output, long names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sweeps.cli.main import main
from sweeps.durations import seconds
from sweeps.store.open import open_store
from sweeps.store.s3.client import Client


@pytest.mark.parametrize("address", ["", " ", "~nobody-has-this-name/x", "x" * 300, "file:///" + "x" * 300, "a\0b"])
def test_an_address_that_is_no_folder_is_refused(capsys: pytest.CaptureFixture[str], address: str) -> None:
    assert main(["status", "--store", address]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: store")
    assert all(part in said for part in ("why: ", "allowed: ", "do: "))


def test_an_unset_variable_is_no_store(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEPS_STORE", "")
    assert main(["status"]) == 2
    assert "unset SWEEPS_STORE" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "expected"), [("300", 300), ("90s", 90), ("5m", 300), ("1.5h", 5400), ("2d", 172800)])
def test_times(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "x", "5x", "m", "-1", "0", "nan", "inf", "1e999", "5 min"])
def test_no_times(text: str) -> None:
    with pytest.raises(ValueError, match="not a time"):
        seconds(text)


def test_the_patience_of_the_environment(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SWEEPS_STORE_PATIENCE", "5m")
    assert Client("s3://bucket", 1)._patience_s == 300
    monkeypatch.setenv("SWEEPS_STORE_PATIENCE", "five")
    assert main(["status", "--store", "s3://bucket"]) == 2
    assert "export SWEEPS_STORE_PATIENCE=5m" in capsys.readouterr().err


@pytest.mark.parametrize(("to", "code"), [(">&-", 0), ("<&- >&- 2>&-", 0), ("> /dev/full", 2)])
def test_closed_and_full_output(to: str, code: int) -> None:
    command = f"{sys.executable} -m sweeps list masks {to}"
    ended = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == code
    assert "Traceback" not in ended.stderr
    assert ("No space left" in ended.stderr) == (code == 2)


def test_bytes_that_are_no_text_in_a_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path / "caf\udce9.yaml")]) == 2
    assert r"caf\udce9.yaml" in capsys.readouterr().err
    store = open_store(str(tmp_path / "caf\udce9"))
    store.put("a/b", b"1")
    assert store.get("a/b") == b"1"


def test_a_wrong_option_is_not_echoed_whole(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "x", "--max-concurrent", "9" * 100_000])
    assert len(capsys.readouterr().err) < 6000
