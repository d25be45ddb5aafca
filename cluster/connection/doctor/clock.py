"""The check of a clock."""

from __future__ import annotations

from cluster.connection.doctor.check_result import CheckResult

SKEW_S, WRONG_S = 2.0, 60.0
"""Clock offsets: the first gives a warning; from the second, `sweeps status` takes a running trial for interrupted.
Leases do not depend on clocks."""


def clock_offset_s(clock: tuple[float, float], sent: float, received: float) -> float:
    """Minimum offset of a clock in seconds, from two readings of it between two times of ours."""
    return max(0.0, sent - clock[0], clock[1] - received)


def check_clock(name: str, skew_s: float) -> CheckResult:
    """Check the offset of a clock, in seconds. name: of the machine or store whose clock it is."""
    if skew_s <= SKEW_S:
        return CheckResult("ok", f"{name}: its clock agrees within {SKEW_S:g} s")
    why = "`sweeps status` may take its running trials for interrupted, and S3 refuses requests that are 15 minutes off"
    do = "synchronise it: systemctl enable --now chrony (or the provider's time service)"
    return CheckResult(
        "failed" if skew_s > WRONG_S else "warning", f"{name}: its clock is off by {skew_s:.0f} s; {why}", do
    )
