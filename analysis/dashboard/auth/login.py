"""Login through an OpenID Connect provider (Google, Entra, Keycloak, ...) instead of a token.

Streamlit performs the login; this module reads and checks its file, which Streamlit reads as its `secrets.toml`:

    allowed = ["ada@example.org"]    # who may log in; without this line, everybody whom the provider accepts
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
    """A checked login file."""

    file: Path
    """Absolute path of the file; Streamlit reads it too."""
    allowed: tuple[str, ...]
    """E-mail addresses in lower case; empty for everybody whom the provider accepts."""
    provider: str
    """URL of the provider's metadata."""


def read(file: Path) -> Login:
    """Read a login file. Raises SweepError if it is invalid or a required package is missing."""
    given = f"--login {file}"
    try:
        body = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise _login_error(given, f"it cannot be read ({why})") from None
    auth = body.get("auth")
    if not isinstance(auth, dict):
        raise _login_error(given, "it has no section [auth]")
    unknown = [*(body.keys() - {"allowed", "auth"}), *(f"auth.{k}" for k in auth.keys() - {*_NEEDED, "client_kwargs"})]
    if unknown:
        raise _login_error(given, f"it has unknown keys: {', '.join(sorted(unknown))}")
    missing = [key for key in _NEEDED if not isinstance(auth.get(key), str) or not auth[key]]
    if missing:
        raise _login_error(given, f"its section [auth] lacks {', '.join(missing)}")
    if not auth["redirect_uri"].endswith(_CALLBACK):
        raise _login_error(given, f"its redirect_uri does not end with {_CALLBACK}")
    if len(auth["cookie_secret"]) < _LEAST_SECRET:
        raise _login_error(given, f"its cookie_secret has fewer than {_LEAST_SECRET} characters", secrets.token_hex(32))
    _check_packages(given)
    return Login(file.resolve(), _allowed(given, body.get("allowed", [])), auth["server_metadata_url"])


def _allowed(given: str, listed: Any) -> tuple[str, ...]:
    if not isinstance(listed, list) or not all(isinstance(one, str) and "@" in one for one in listed):
        raise _login_error(given, "`allowed` is not a list of e-mail addresses")
    return tuple(one.strip().lower() for one in listed)


def _check_packages(given: str) -> None:
    try:
        with warnings.catch_warnings(action="ignore"):
            importlib.import_module("authlib.integrations.starlette_client")
    except ImportError as error:
        raise SweepError(
            given,
            f"a package that Streamlit needs for logins is missing ({error})",
            "an environment with these packages",
            "pip install 'streamlit[auth]'; or --token",
        ) from None


def _login_error(given: str, why: str, fix: str = "") -> SweepError:
    allowed = f"a TOML file: `allowed` (e-mail addresses), [auth] with {', '.join(_NEEDED)} and client_kwargs"
    return SweepError(given, why, allowed, fix or "see docs/dashboard.md, or use --token")
