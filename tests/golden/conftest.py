"""Says at the end of a run when golden records were compared with a tolerance, and why."""

from __future__ import annotations

from typing import Any

TOLERANCE = "golden records"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    said = {value for report in reports for name, value in getattr(report, "user_properties", ()) if name == TOLERANCE}
    for text in sorted(said):
        terminalreporter.write_line(f"WARNING: {TOLERANCE} were compared with a tolerance, not to the last bit: {text}")
