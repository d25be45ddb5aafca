"""The keys of an S3 store, from the driver to the processes that train.

Ray Tune would send the keys of the driver's environment as texts of the runtime environment, which Ray's state API and
log files show, and would not send the address of the server. They travel with the options of the trials instead.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN")
ENDPOINTS, REGIONS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"), ("AWS_REGION", "AWS_DEFAULT_REGION")


def of_driver() -> dict[str, str]:
    """The environment variables of this process that an S3 client reads."""
    return _set_of((*KEYS, *ENDPOINTS, *REGIONS), os.environ)


def take(given: Mapping[str, str]) -> None:
    """Set the driver's variables in this process: its keys, and of server and region what is not set here.

    A server may have another address on each machine, such as the end of a tunnel. Every process that a run starts
    elsewhere calls this before it opens the store.
    """
    if KEYS[0] in given:
        for name in KEYS:
            os.environ.pop(name, None)
    os.environ.update(_set_of(KEYS, given))
    for names in (ENDPOINTS, REGIONS):
        if not any(name in os.environ for name in names):
            os.environ.update(_set_of(names, given))


def _set_of(names: Iterable[str], variables: Mapping[str, str]) -> dict[str, str]:
    return {name: variables[name] for name in names if variables.get(name)}
