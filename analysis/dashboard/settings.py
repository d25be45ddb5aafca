"""Settings of a running dashboard, passed in the environment to the script that Streamlit runs for every session."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass

VARIABLE = "SWEEPS_DASHBOARD"
"""Environment variable that holds the settings as JSON."""
UPLOAD_MB = 20
"""Maximum size of an upload."""


@dataclass(frozen=True)
class DashboardSettings:
    """Settings of a dashboard."""

    store: str
    """Address of the store."""
    token: str
    """Token that is needed to start, stop and try."""
    closed: bool = False
    """Whether viewing pages needs the token too."""
    data: str | None = None
    """Folder of the data sets; None for the default of the machine that runs the command."""
    address: str | None = None
    """Where buttons run sweeps, as in `sweeps run --address`; None for the default of the command."""
    optuna: str | None = None
    """Address of optuna-dashboard, if it was started."""
    login: bool = False
    """Whether a login replaces the token."""
    allowed: tuple[str, ...] = ()
    """E-mail addresses that may log in; empty for everybody whom the provider accepts."""

    @property
    def ray(self) -> str | None:
        """Address of Ray's own dashboard; None unless `address` names a running Ray."""
        if self.address in (None, "local", "in-process"):
            return None
        host = "127.0.0.1" if self.address == "auto" else str(self.address).rpartition(":")[0]
        return f"http://{host}:8265"


def to_environment(settings: DashboardSettings) -> None:
    os.environ[VARIABLE] = json.dumps(asdict(settings))


def from_environment() -> DashboardSettings:
    found = json.loads(os.environ[VARIABLE])
    return DashboardSettings(**{**found, "allowed": tuple(found.get("allowed", ()))})
