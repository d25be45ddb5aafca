"""The dashboard's server: access, refused requests, options; and modules that need no page."""

from __future__ import annotations

import http.client
import importlib.util
import io
import socket
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image

from analysis.dashboard import server, settings, theme
from analysis.dashboard.data.cache import TTLCache, VersionedCache
from analysis.dashboard.processes import optuna_server, predict_upload
from analysis.dashboard.settings import DashboardSettings
from analysis.dashboard.widgets import elements, image_slider
from sweeps.cli.main import main
from sweeps.errors import SweepError
from tests.analysis.dashboard import browsing
from tests.analysis.report.test_searches import whole


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> object:
    store = str(tmp_path_factory.mktemp("store"))
    with browsing.dashboard(store, "--token", browsing.TOKEN, "--base-path", "/lab/sweeps") as served:
        yield served.address


def upgraded(address: str, **headers: str) -> int:
    """HTTP status of a request for the WebSocket that carries all user input."""
    place = urlsplit(address)
    asked = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": "streamlit",
        "Host": place.netloc,
        **headers,
    }
    connection = http.client.HTTPConnection(place.netloc, timeout=30)
    try:
        connection.request("GET", "/lab/sweeps/_stcore/stream", headers=asked)
        return connection.getresponse().status
    finally:
        connection.close()


def test_other_origins_are_refused(address: str) -> None:
    own = urlsplit(address).netloc
    assert upgraded(address, Origin=address) == 101
    assert upgraded(address, Origin="https://elsewhere.example") == 403
    assert upgraded(address, Origin="http://elsewhere.example", Host="elsewhere.example") in (400, 403), "DNS rebinding"
    assert upgraded(address, Origin=f"http://evil.{own}") == 403


def request(address: str, path: str) -> http.client.HTTPResponse:
    """The answer to a GET request."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        return answer
    finally:
        connection.close()


def test_an_upload_without_a_session_is_refused(address: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
    connection.request("PUT", "/lab/sweeps/_stcore/upload_file/none/none", body=b"x")
    assert connection.getresponse().status in (400, 403)
    connection.close()


def test_responses_have_security_headers(address: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
    connection.request("GET", "/lab/sweeps/")
    answer = connection.getresponse()
    assert answer.status == 200
    assert answer.headers["x-frame-options"] == "SAMEORIGIN"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert browsing.TOKEN not in answer.read().decode()
    connection.close()


def test_the_browser_may_request_nothing_from_other_servers(address: str) -> None:
    policy = request(address, "/lab/sweeps/").headers["content-security-policy"]
    sources = {source for rule in policy.split(";") for source in rule.split()[1:]}
    assert sources <= {"'self'", "data:", "blob:", "'unsafe-inline'", "'unsafe-eval'"}
    assert "default-src" in policy


def test_a_right_token_becomes_a_cookie_and_leaves_the_address(address: str) -> None:
    answer = request(address, f"/lab/sweeps/sweep?sweep=a%20b&token={browsing.TOKEN}")
    assert (answer.status, answer.headers["location"]) == (302, "./sweep?sweep=a+b")
    cookie = answer.headers["set-cookie"]
    assert cookie.endswith("; Path=/lab/sweeps; HttpOnly; SameSite=Strict")
    assert browsing.TOKEN not in cookie
    for asked in ("?token=wrong-token-wrong", "", "?token="):
        answer = request(address, f"/lab/sweeps/{asked}")
        assert (answer.status, answer.headers["set-cookie"]) == (200, None)


def test_metrics_of_the_process_are_closed(address: str) -> None:
    assert request(address, "/lab/sweeps/_stcore/metrics").status == 404
    assert request(address, "/lab/sweeps/_stcore/health").status == 200


def test_a_proxy_needs_a_path_and_a_token() -> None:
    open_ = server.settings_for("127.0.0.1", None, "store", None, None)
    closed = server.settings_for("127.0.0.1", browsing.TOKEN, "store", None, None)
    with pytest.raises(SweepError, match="everybody who can reach the proxy"):
        server.with_base_path(open_, "/sweeps")
    for wrong in ("sweeps", "/a b", "ftp://lab/sweeps", "https://user:word@lab/", "/a?b"):
        with pytest.raises(SweepError, match="neither a path nor an address"):
            server.with_base_path(closed, wrong)
    given = server.with_base_path(closed, "https://lab.example.org/sweeps/")
    assert given.base == "/sweeps"
    options = server.options("127.0.0.1", 8501, None, given.public)
    assert options["server.baseUrlPath"] == "sweeps"
    assert options["server.corsAllowedOrigins"] == ["https://lab.example.org"]
    assert "lab.example.org" in options["server.allowedHosts"]


@pytest.mark.parametrize("path", ["/..%2f..%2fetc/passwd", "/media/../../etc/passwd", "/app/static/x"])
def test_files_outside_the_dashboard_are_not_served(address: str, path: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
    connection.request("GET", path)
    assert b"root:" not in connection.getresponse().read()
    connection.close()


def test_a_host_that_others_can_reach_requires_a_token(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["dashboard", "--store", str(tmp_path), "--host", "0.0.0.0"]) == 2
    said = capsys.readouterr().err
    assert "everybody who can reach this host could read the store" in said
    assert "--token" in said
    with pytest.raises(SweepError, match="characters"):
        server.settings_for("0.0.0.0", "short", "store", None, None)
    assert server.settings_for("0.0.0.0", "long enough", "store", None, None).closed
    assert not server.settings_for("127.0.0.1", None, "store", None, None).closed
    assert server.settings_for("127.0.0.1", None, "store", None, None).token


def test_a_taken_port_is_an_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["dashboard", "--store", str(tmp_path), "--port", str(port)]) == 2
    assert "--port 0" in capsys.readouterr().err


def test_a_missing_optuna_dashboard_is_an_error(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    assert main(["dashboard", "--store", str(tmp_path), "--optuna"]) == 2
    assert "pip install optuna-dashboard" in capsys.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec("optuna_dashboard") is None, reason="pip install optuna-dashboard")
def test_optuna_dashboard_answers_only_for_its_own_address(tmp_path: Path) -> None:
    given = optuna_server.serve_in_thread(DashboardSettings("s", "t"), whole(tmp_path / "store"), "127.0.0.1")
    assert given.optuna is not None
    place = urlsplit(given.optuna).netloc
    for host, status in ((place, 200), ("elsewhere.example", 403)):
        connection = http.client.HTTPConnection(place, timeout=30)
        connection.request("GET", "/api/studies", headers={"Host": host})
        answer = connection.getresponse()
        assert answer.status == status
        assert (b"partial-conv" in answer.read()) == (status == 200)
        connection.close()


def test_options_disable_telemetry_and_limit_uploads() -> None:
    options = server.options("127.0.0.1", 8501)
    assert options["browser.gatherUsageStats"] is False
    assert options["server.enableXsrfProtection"] is True
    assert options["server.enableCORS"] is True
    assert options["server.maxUploadSize"] == 20
    assert options["client.showErrorDetails"] == "none"


def test_text_has_the_contrast_of_wcag_aa() -> None:
    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(one: str, other: str) -> float:
        low, high = sorted((luminance(one), luminance(other)))
        return (high + 0.05) / (low + 0.05)

    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    for scheme, primary in ((theme.LIGHT, "light"), (theme.DARK, "dark")):
        link = theme.options()[f"theme.{primary}.linkColor"]
        for ink in (scheme["ink"], scheme["faint"], link):
            for ground in (scheme["ground"], scheme["second"]):
                assert contrast(ink, ground) >= 4.5, (ink, ground)
        assert scheme["faint"] in theme.style()
        assert theme.options()[f"theme.{primary}.grayTextColor"] == scheme["faint"]


def test_links_to_ray_follow_the_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(settings, "RAY_FILE", tmp_path / "ray_current_cluster")
    assert DashboardSettings("s", "t").ray is None
    assert DashboardSettings("s", "t", address="auto").ray == "http://127.0.0.1:8265"
    settings.RAY_FILE.write_text("10.0.0.7:6379")
    assert DashboardSettings("s", "t", address="auto").ray == "http://10.0.0.7:8265", "the cluster's own address"
    monkeypatch.setenv("RAY_ADDRESS", "other:6379")
    assert DashboardSettings("s", "t", address="auto").ray == "http://other:8265"
    assert DashboardSettings("s", "t", address="head:6379").ray == "http://head:8265"
    with pytest.raises(SweepError, match="does not accept such an address"):
        server.settings_for("127.0.0.1", None, "store", None, "ray://head:10001")


# --- modules ----------------------------------------------------------------------------------------------------------


def png(size: tuple[int, int]) -> bytes:
    target = io.BytesIO()
    Image.new("1", size).save(target, "PNG")
    return target.getvalue()


def test_an_upload_that_is_not_an_image_is_an_error() -> None:
    assert predict_upload.open_upload(png((20, 10)), "a.png").size == (20, 10)
    for data in (b"", b"no image", png((20, 10))[:40], b"<svg onload=alert(1)></svg>"):
        with pytest.raises(SweepError, match="cannot be read as an image"):
            predict_upload.open_upload(data, "a.png")
    with pytest.raises(SweepError, match="5000 × 5000"):
        predict_upload.open_upload(png((5000, 5000)), "large.png")


def test_errors_of_predict_are_parsed() -> None:
    output = (
        "error: trial x\n  why:     it has not finished\n  allowed: a finished trial\n  do:      sweeps resume NAME\n"
    )
    error = predict_upload._error_from_output(output, "/folder")
    assert (error.given, error.why, error.allowed) == ("trial x", "it has not finished", "a finished trial")


def test_the_image_slider_escapes_labels() -> None:
    image = Image.new("RGB", (4, 4))
    page = image_slider.slider_page(('"><script>alert(1)</script>', image), ("b", image))
    assert "<script>alert" not in page
    assert page.count("nonce-") == 1


def test_escape_makes_markdown_literal() -> None:
    assert elements.escape("a_b *c* <b> :red[x] $y$") == "a\\_b \\*c\\* \\<b\\> \\:red\\[x\\] \\$y\\$"


def test_concurrent_callers_share_one_computation() -> None:
    made: list[int] = []

    def make() -> int:
        time.sleep(0.05)
        made.append(1)
        return len(made)

    cache = VersionedCache[int](2)
    threads = [threading.Thread(target=lambda: cache.get("a", 1, make)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [1]
    assert cache.get("a", 2, make) == 2, "another stamp, another value"
    cache.get("b", 1, make)
    cache.get("c", 1, make)
    assert cache.get("a", 2, make) == 5, "the least recently used one was dropped"


def test_ttl_cache_reads_again_after_its_time() -> None:
    reads: list[int] = []
    fresh = TTLCache[int](0.05)
    assert fresh.get("", lambda: reads.append(1) or len(reads)) == 1
    assert fresh.get("", lambda: reads.append(1) or len(reads)) == 1
    time.sleep(0.06)
    assert fresh.get("", lambda: reads.append(1) or len(reads)) == 2
    fresh.forget()
    assert fresh.get("", lambda: reads.append(1) or len(reads)) == 3
