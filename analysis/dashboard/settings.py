"""Settings of a running dashboard, passed in the environment to the script that Streamlit runs for every session."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

VARIABLE = "SWEEPS_DASHBOARD"
"""Environment variable that holds the settings as JSON."""
RAY_FILE = Path(tempfile.gettempdir()) / "ray" / "ray_current_cluster"
"""Where Ray writes the address of the cluster of this machine."""
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

    public: str = ""
    """Path, or address, under which a proxy serves the dashboard; '' without one."""

    @property
    def base(self) -> str:
        """The path of `public`, such as `/sweeps`, or ''."""
        return urlsplit(self.public).path

    @property
    def ray(self) -> str | None:
        """Address of Ray's own dashboard; None unless `address` names a running Ray."""
        if self.address in (None, "local", "in-process"):
            return None
        address = _running_ray() if self.address == "auto" else str(self.address)
        return f"http://{address.rpartition(':')[0] or '127.0.0.1'}:8265"


def _running_ray() -> str:
    """HOST:PORT of the Ray to which `auto` connects: that of the environment or of the file that `ray start` writes."""
    given = os.environ.get("RAY_ADDRESS", "")
    if not given or given == "auto":
        with contextlib.suppress(OSError):
            given = RAY_FILE.read_text(encoding="utf-8").strip()
    return given if re.fullmatch(r"[A-Za-z0-9.:\[\]-]+:[0-9]+", given) else ""


def to_environment(settings: DashboardSettings) -> None:
    os.environ[VARIABLE] = json.dumps(asdict(settings))


def from_environment() -> DashboardSettings:
    found = json.loads(os.environ[VARIABLE])
    return DashboardSettings(**{**found, "allowed": tuple(found.get("allowed", ()))})
