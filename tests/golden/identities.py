"""The trials of every shipped study: digests of their ids and of their resolved configurations.

A changed id means that finished trials of users are trained again. A changed configuration means that today's code
resolves a sweep file to something else than what stores hold.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tests.golden import doors

HERE = Path(__file__).resolve().parent
FILE = HERE / "identities.json"
STUDIES = HERE.parents[1] / "sweeps"


def identities() -> dict[str, dict[str, str]]:
    """For every study and its tiny form, by arm: a digest of its trial ids, a space, one of its configuration."""
    forms = [(file, tiny) for file in sorted(STUDIES.glob("*/*.yaml")) for tiny in (False, True)]
    return {file.relative_to(STUDIES).as_posix() + " --tiny" * tiny: _arms(file, tiny) for file, tiny in forms}


def _arms(file: Path, tiny: bool) -> dict[str, str]:
    return {name: f"{_digest(ids)} {_digest(config)}" for name, ids, config in doors.trials_of(file, tiny)}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def text() -> str:
    return json.dumps(identities(), indent=0, ensure_ascii=False) + "\n"
