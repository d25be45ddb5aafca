"""Login instead of a token: checks of the login file, and access to pages and buttons."""

from __future__ import annotations

import http.server
import importlib.util
import json
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from streamlit.util import calc_hash

from analysis.dashboard import app, server, settings
from analysis.dashboard.auth import login
from analysis.dashboard.settings import DashboardSettings
from sweeps.cli.main import main
from sweeps.errors import SweepError
from tests.analysis import make_store
from tests.analysis.dashboard import browsing
from tests.apptests import AppTest

AUTH = {
    "redirect_uri": "http://localhost:8501/oauth2callback",
    "cookie_secret": "0123456789abcdef0123456789abcdef",
    "client_id": "sweeps",
    "client_secret": "secret",
    "server_metadata_url": "http://localhost:9/.well-known/openid-configuration",
}
ADA = {"is_logged_in": True, "email": "Ada@Example.org", "email_verified": True}


def written(folder: Path, auth: dict[str, Any] | None = None, head: str = "") -> Path:
    file = folder / "login.toml"
    lines = [f"{key} = {json.dumps(value)}" for key, value in (AUTH if auth is None else auth).items()]
    file.write_text("\n".join([head, "[auth]", *lines]))
    return file


# --- the file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("auth", "head", "why"),
    [
        ({**AUTH, "client_id": ""}, "", "lacks client_id"),
        ({k: v for k, v in AUTH.items() if k != "server_metadata_url"}, "", "lacks server_metadata_url"),
        ({**AUTH, "google": {}}, "", "unknown keys: auth.google"),
        ({**AUTH, "expose_tokens": "id"}, "", "unknown keys: auth.expose_tokens"),
        (AUTH, 'password = "x"', "unknown keys: password"),
        ({**AUTH, "redirect_uri": "http://localhost"}, "", "does not end with /oauth2callback"),
        ({**AUTH, "cookie_secret": "short"}, "", "fewer than 32"),
        (AUTH, "allowed = [", "cannot be read"),
        (AUTH, 'allowed = "ada@example.org"', "not a list of e-mail"),
        (AUTH, 'allowed = ["ada"]', "not a list of e-mail"),
    ],
)
def test_an_invalid_login_file_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, auth: dict[str, Any], head: str, why: str
) -> None:
    monkeypatch.setattr(login, "_check_packages", lambda _: None)
    with pytest.raises(SweepError, match=why):
        login.read(written(tmp_path, auth, head))


def test_a_missing_file_or_package_ends_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    start = ["dashboard", "--store", str(tmp_path), "--host", "0.0.0.0", "--login"]
    assert main([*start, str(tmp_path / "none.toml")]) == 2
    assert "No such file" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "authlib", None)
    assert main([*start, str(written(tmp_path))]) == 2
    assert "pip install 'streamlit[auth]'" in capsys.readouterr().err


def test_a_login_closes_the_dashboard_and_excludes_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "_check_packages", lambda _: None)
    found = login.read(written(tmp_path, head='allowed = [" Ada@Example.org"]'))
    assert found.allowed == ("ada@example.org",)
    given = server.settings_for("0.0.0.0", None, "store", None, None, found)
    assert given.closed
    assert given.login
    assert server.options("0.0.0.0", 8501, found)["secrets.files"] == [str(tmp_path / "login.toml")]
    with pytest.raises(SweepError, match="one of them"):
        server.settings_for("0.0.0.0", "a-token-of-the-tests", "store", None, None, found)


# --- a provider -------------------------------------------------------------------------------------------------------


class Provider(http.server.ThreadingHTTPServer):
    """An OpenID Connect provider that logs everybody in as `email`, without a password."""

    def __init__(self, email: str) -> None:
        from joserfc.jwk import RSAKey

        super().__init__(("127.0.0.1", 0), Answers)
        self.email, self.nonce = email, ""
        self.key = RSAKey.generate_key(2048, {"kid": "one"})
        self.issuer = f"http://localhost:{self.server_port}"

    @property
    def metadata(self) -> dict[str, Any]:
        places = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "jwks"}
        return {
            "issuer": self.issuer,
            **{name: f"{self.issuer}/{place}" for name, place in places.items()},
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def token(self) -> str:
        from joserfc import jwt

        now = int(time.time())
        who = {"sub": "1", "email": self.email, "email_verified": True, "nonce": self.nonce}
        claims = {"iss": self.issuer, "aud": AUTH["client_id"], "iat": now, "exp": now + 60, **who}
        return jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.key)


class Answers(http.server.BaseHTTPRequestHandler):
    server: Provider

    def do_GET(self) -> None:
        place = urlsplit(self.path)
        asked = dict(parse_qsl(place.query))
        if place.path == "/authorize":
            self.server.nonce = asked.get("nonce", "")
            self.send_response(302)
            self.send_header("Location", f"{asked['redirect_uri']}?{urlencode({'code': 'x', 'state': asked['state']})}")
            self.end_headers()
        elif place.path == "/jwks":
            self._json({"keys": [self.server.key.as_dict(private=False)]})
        else:
            self._json(self.server.metadata)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._json({"access_token": "a", "token_type": "Bearer", "expires_in": 60, "id_token": self.server.token()})

    def _json(self, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.slow
def test_a_real_provider_logs_people_in(tmp_path: Path) -> None:
    """In a browser: pages are shown only after a login with an allowed e-mail address."""
    for package in ("authlib", "httpx"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install 'streamlit[auth]'")
    make_store.make_store(tmp_path / "store", seeds=range(2))
    with browsing.chromium(tmp_path / "chromium") as browser:
        for email, shown in (("eve@example.org", "but not allowed here"), ("ada@example.org", "partial-conv")):
            provider = Provider(email)
            threading.Thread(target=provider.serve_forever, daemon=True).start()
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            own = {
                "redirect_uri": f"http://localhost:{port}/oauth2callback",
                "server_metadata_url": f"{provider.issuer}/.well-known/openid-configuration",
            }
            file = written(tmp_path, {**AUTH, **own}, 'allowed = ["ada@example.org"]')
            with browsing.dashboard(str(tmp_path / "store"), "--port", str(port), "--login", str(file)):
                reader = browsing.Reader(browser, f"http://localhost:{port}")
                reader.shows("Log in to see")
                assert "partial-conv" not in reader.text() + reader.cells()
                reader.press("Log in")
                reader.until(lambda: shown in reader.text() + reader.cells(), f"{shown!r} in:")  # noqa: B023
                reader.press("Log out")
                reader.says("Log in to see")
            provider.shutdown()
            provider.server_close()


# --- pages ------------------------------------------------------------------------------------------------------------


def visited(store: Path, monkeypatch: pytest.MonkeyPatch, user: dict[str, Any], *allowed: str) -> AppTest:
    given = DashboardSettings(str(store), "a-token-of-the-tests", True, login=True, allowed=allowed)
    monkeypatch.setenv(settings.VARIABLE, json.dumps(given.__dict__))
    page = AppTest.from_file(str(Path(app.__file__)), default_timeout=20)
    page.user = user
    page.query_params["sweep"] = "partial-conv"
    page.query_params["token"] = given.token  # the token must not bypass the login
    page._page_hash = calc_hash("sweep")
    return page.run()


@pytest.mark.parametrize(
    ("user", "allowed", "enters"),
    [
        ({}, (), False),
        ({"is_logged_in": False}, (), False),
        (ADA, (), True),
        (ADA, ("ada@example.org",), True),
        (ADA, ("bob@example.org",), False),
        ({**ADA, "email_verified": False}, ("ada@example.org",), False),
        ({"is_logged_in": True}, ("ada@example.org",), False),
    ],
)
def test_only_allowed_logged_in_users_can_view_and_act(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: dict[str, Any], allowed: tuple[str, ...], enters: bool
) -> None:
    monkeypatch.setattr(make_store, "NOW", time.time())
    make_store.make_store(tmp_path / "store", seeds=range(8))
    page = visited(tmp_path / "store", monkeypatch, user, *allowed)
    assert not page.exception
    labels = [one.label for one in page.button]
    if not enters:
        assert not page.dataframe
        assert "partial" not in "".join(one.value for one in page.markdown)
        assert labels == ["Log out" if user.get("is_logged_in") else "Log in"]
        return
    assert page.dataframe
    assert "Log out" in labels
    next(one for one in page.button if one.label == "Stop").click()
    page.run()
    assert [one for one in page.button if one.key == "confirm"], "the login is enough, without a token"
