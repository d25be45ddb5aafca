"""The dashboard on a read-only store, a folder and S3: all pages work, and the buttons are disabled with the reason."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.util import calc_hash

from analysis.dashboard import app, settings
from analysis.dashboard.settings import DashboardSettings
from sweeps.parallel import parallel_map
from sweeps.store.local import FolderStore
from sweeps.store.open import open_store
from tests.analysis import make_store
from tests.apptests import AppTest
from tests.proxy import Answer, proxy_to
from tests.s3servers import Server, address

TOKEN = "a-token-of-the-tests"
NAME = "partial-conv"
ROOT = Path(__file__).resolve().parents[3]
MODULE = "tests.analysis.dashboard.test_dashboard_readonly"
OFF = "may only read the store"
_DROP_FROM_BOUNDING_SET, _DAC_OVERRIDE = 24, 1
"""Linux constants: the option of prctl, and the capability with which root ignores file permissions."""


def read_pages(uri: str, trial: str, *pages: str) -> dict[str, tuple[str, list[str]]]:
    """{page: (text, labels of enabled buttons)}. Leaves the dashboard's settings in the environment.

    pages: all of them, if none is named
    """
    settings.to_environment(DashboardSettings(uri, TOKEN, closed=False))
    asked: dict[str, dict[str, str]] = {
        "": {},
        **{f"sweep {view}": {"sweep": NAME, "view": view} for view in ("Cells", "Table")},
        "trial": {"trial": trial, "sweep": NAME},
        "compare": {"sweep": NAME},
        "try": {"trial": trial},
        "report": {"sweep": NAME},
    }
    found = {}
    for page, wanted in ((page, asked[page]) for page in pages or asked):
        shown = AppTest.from_file(str(Path(app.__file__)), default_timeout=30)
        for key, value in {**wanted, "token": TOKEN}.items():
            shown.query_params[key] = value
        if page:
            shown._page_hash = calc_hash(page.partition(" ")[0])
        shown.run()
        assert not shown.exception, page
        texts = [element.value for element in (*shown.title, *shown.markdown, *shown.caption, *shown.text)]
        on = [button.label for button in shown.button if not button.disabled]
        found[page] = ("\n".join(map(str, texts)).replace("\\", ""), on)
    return found


def check(pages: dict[str, tuple[str, list[str]]]) -> None:
    for page, (words, on) in pages.items():
        assert "**Why**" not in words, f"{page!r} shows an error: {words}"
        writing = {"Star", "Remove star", "Add note", "Save view", "Delete"}
        assert not ({"Resume", "Retry failed", "Stop", "Add seeds", "Stop this trial"} | writing) & set(on), page
    assert "in 1 sweep" in pages[""][0]
    assert all(OFF in words for page, (words, _) in pages.items() if page.startswith("sweep "))


@pytest.fixture
def folder(tmp_path: Path) -> FolderStore:
    return make_store.make_store(tmp_path / "store", seeds=(0, 6, 7))


def some_trial(store: FolderStore) -> str:
    return next(key for key in store.keys("trials/") if "/result/" in key).split("/")[1]


@pytest.fixture
def sealed(folder: FolderStore) -> Iterator[FolderStore]:
    """A store without write permission on any file or folder."""
    places = [folder.root, *folder.root.rglob("*")]
    for place in places:
        place.chmod(0o555 if place.is_dir() else 0o444)
    yield folder
    for place in places:
        place.chmod(0o755 if place.is_dir() else 0o644)


def become_ordinary() -> None:
    """Drop the capability, so that the next program obeys file permissions even as root."""
    ctypes.CDLL(None).prctl(_DROP_FROM_BOUNDING_SET, _DAC_OVERRIDE, 0, 0, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="dropping capabilities needs Linux")
def test_read_only_folder(sealed: FolderStore) -> None:
    before = sorted(sealed.keys(""))
    code = f"import json, sys; from {MODULE} import read_pages; print(json.dumps(read_pages(*sys.argv[1:])))"
    ended = subprocess.run(
        [sys.executable, "-c", code, sealed.uri, some_trial(sealed)],
        cwd=ROOT,
        preexec_fn=become_ordinary,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    check(json.loads(ended.stdout.splitlines()[-1]))
    assert sorted(sealed.keys("")) == before


def test_read_only_s3(
    folder: FolderStore, moto: Server, aws: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """On three pages; the test above reads all."""
    aws.setenv(settings.VARIABLE, "")  # so that monkeypatch also undoes what `read_pages` sets
    aws.setenv("AWS_ENDPOINT_URL", moto.url)
    filled = open_store(address("readonly"))
    parallel_map(lambda key: filled.put(key, folder.get(key)), list(folder.keys("")), 8)
    before = filled.find(["sweeps/", "trials/"])
    with proxy_to(moto.port) as proxy:
        proxy.fault = lambda r: Answer(403, "AccessDenied") if r.method not in ("GET", "HEAD") else None
        aws.setenv("AWS_ENDPOINT_URL", proxy.url)
        check(read_pages(filled.uri, some_trial(folder), "", "sweep Cells", "trial"))
        refused = [request.method for request in proxy.requests if request.method not in ("GET", "HEAD")]
    assert 1 <= len(refused) <= 6, "the check must not be repeated for every page"
    assert filled.find(["sweeps/", "trials/"]) == before
    assert "Traceback" not in capfd.readouterr().err


def test_writable_s3(moto: Server, aws: pytest.MonkeyPatch) -> None:
    """The check leaves no object and no unfinished upload."""
    import boto3

    aws.setenv("AWS_ENDPOINT_URL", moto.url)
    store = open_store(address("writable"))
    assert store.writable
    assert not list(store.keys(""))
    assert "Uploads" not in boto3.session.Session().client("s3").list_multipart_uploads(Bucket="bucket")
