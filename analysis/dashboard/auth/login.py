"""A login through an OpenID Connect provider (Google, Entra, Keycloak, ...), in place of the token.

Streamlit does the login; here its file is read and checked. The same file is what Streamlit calls secrets.toml:

    allowed = ["ada@example.org"]    # whom it lets in, by e-mail; without it, everybody whom the provider knows
    [auth]
    redirect_uri = "https://HOST/oauth2callback"
    cookie_secret = "..."            # random
    client_id = "..."
    client_secret = "..."
    server_metadata_url = "https://PROVIDER/.well-known/openid-configuration"
"""

from __future__ import annotations

import importlib
import secrets
import tomllib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeps.errors import SweepError

_NEEDED = ("redirect_uri", "cookie_secret", "client_id", "client_secret", "server_metadata_url")
_CALLBACK = "/oauth2callback"
_LEAST_SECRET = 32


@dataclass(frozen=True)
class Login:
    """file: what Streamlit reads. allowed: e-mails in lower case, empty for everybody whom the provider logs in."""

    file: Path
    allowed: tuple[str, ...]
    provider: str


def read(file: Path) -> Login:
    """The login in a file. Raises SweepError where it is none, or where a package that it needs is missing."""
    given = f"--login {file}"
    try:
        body = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise _refused(given, f"it cannot be read ({why})") from None
    auth = body.get("auth")
    if not isinstance(auth, dict):
        raise _refused(given, "it has no section [auth]")
    unknown = [*(body.keys() - {"allowed", "auth"}), *(f"auth.{k}" for k in auth.keys() - {*_NEEDED, "client_kwargs"})]
    if unknown:
        raise _refused(given, f"it has {', '.join(sorted(unknown))}, which the dashboard does not know")
    missing = [key for key in _NEEDED if not isinstance(auth.get(key), str) or not auth[key]]
    if missing:
        raise _refused(given, f"its section [auth] lacks {', '.join(missing)}")
    if not auth["redirect_uri"].endswith(_CALLBACK):
        raise _refused(given, f"its redirect_uri does not end with {_CALLBACK}")
    if len(auth["cookie_secret"]) < _LEAST_SECRET:
        raise _refused(given, f"its cookie_secret has fewer than {_LEAST_SECRET} characters", secrets.token_hex(32))
    _check_packages(given)
    return Login(file.resolve(), _allowed(given, body.get("allowed", [])), auth["server_metadata_url"])


def _allowed(given: str, listed: Any) -> tuple[str, ...]:
    if not isinstance(listed, list) or not all(isinstance(one, str) and "@" in one for one in listed):
        raise _refused(given, "`allowed` is no list of e-mail addresses")
    return tuple(one.strip().lower() for one in listed)


def _check_packages(given: str) -> None:
    try:
        with warnings.catch_warnings(action="ignore"):
            importlib.import_module("authlib.integrations.starlette_client")
    except ImportError as error:
        raise SweepError(
            given,
            f"a login needs the packages that Streamlit does it with ({error})",
            "an environment that has them",
            "pip install 'streamlit[auth]'; or --token",
        ) from None


def _refused(given: str, why: str, fix: str = "") -> SweepError:
    allowed = f"TOML with [auth] and in it {', '.join(_NEEDED)}; client_kwargs; before it `allowed`, a list of e-mails"
    return SweepError(given, why, allowed, fix or "see the README, The dashboard; or --token")
