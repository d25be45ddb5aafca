"""The smallest stored plan, for tests of what reads plans."""

from __future__ import annotations

from typing import Any

MINIMAL: dict[str, Any] = {
    "name": "s",
    "task": "inpaint",
    "seeds": [0],
    "baseline": "base",
    "arms": [{"name": "base", "config": {}, "trials": {}}],
    "report": {"at": "last", "metrics": ["test/psnr_db"]},
    "claims": [],
}
