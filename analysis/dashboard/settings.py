"""What a dashboard was started with, handed over to the script that Streamlit runs for every session."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass

VARIABLE = "SWEEPS_DASHBOARD"
UPLOAD_MB = 20
"""What an upload may weigh."""


@dataclass(frozen=True)
class DashboardSettings:
    """store: its address. data: folder of the data sets, None for the machine's own.

    token: what actions need; closed: whether pages need it too. address: where buttons run sweeps, as in `sweeps run`;
    None for the verb's own choice. optuna: address of optuna-dashboard where it runs. login: a login takes the place of
    the token; allowed: the e-mails that it lets in, everybody's where there are none.
    """

    store: str
    token: str
    closed: bool = False
    data: str | None = None
    address: str | None = None
    optuna: str | None = None
    login: bool = False
    allowed: tuple[str, ...] = ()

    @property
    def ray(self) -> str | None:
        """The address of Ray's own dashboard, where a running Ray was named."""
        if self.address in (None, "local", "in-process"):
            return None
        host = "127.0.0.1" if self.address == "auto" else str(self.address).rpartition(":")[0]
        return f"http://{host}:8265"


def to_environment(settings: DashboardSettings) -> None:
    os.environ[VARIABLE] = json.dumps(asdict(settings))


def from_environment() -> DashboardSettings:
    found = json.loads(os.environ[VARIABLE])
    return DashboardSettings(**{**found, "allowed": tuple(found.get("allowed", ()))})
