"""The user's token for a Ray cluster, as Ray finds it: RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH, then ~/.ray/auth_token."""

from __future__ import annotations

import os

from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]
from ray.exceptions import AuthenticationError

from cluster.connection import address as addresses
from sweeps.errors import SweepError

PATH = "RAY_AUTH_TOKEN_PATH"


def headers() -> dict[str, str]:
    """HTTP headers with the token; empty if none is set, also where Ray's token mode is off.

    SweepError if RAY_AUTH_TOKEN_PATH names a file that cannot be read or is empty.
    """
    loader = AuthenticationTokenLoader.instance()
    loader.reset_cache()
    try:
        found: dict[str, str] = loader.get_token_for_http_header() if loader.has_token(ignore_auth_mode=True) else {}
    except AuthenticationError as error:
        raise SweepError(
            f"{PATH}={os.environ.get(PATH, '')}",
            "the file cannot be read or is empty",
            "a file with the token that the cluster was started with",
            f"unset {PATH}, or {addresses.SET_TOKEN}",
        ) from error
    return found
