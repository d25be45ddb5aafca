"""Why a claim cannot be judged on a study at all, whatever its figures are.

A claim is not tested if the run is shorter than the claim speaks of, if the images are smaller than it needs, if its
arms were timed on different machines or rated by the sweep's protocol on different images, or if it says that two arms
are equal and neither of them has learned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis import wording
from analysis.study import Study
from analysis.wording import quoted
from sweeps.protocols import results as protocol_results
from sweeps.results import columns as record_columns

_MACHINE = ("cpu", "gpu", "threads")
"""Hardware facts that decide how fast a trial runs."""


def why(study: Study, claim: Mapping[str, Any], arms: Sequence[str]) -> str:
    """A sentence that begins with 'Not tested: '; empty if the claim can be judged.

    arms: those that the claim names. Arms that the plan lacks are ignored.
    """
    known = [name for name in arms if name in study.names]
    reasons = (
        _shorter(study, claim),
        _smaller(study, claim, known),
        _machines(study, claim, known),
        _rated_differently(study, claim, known),
    )
    reason = next(filter(None, reasons), "") or _not_learned(study, claim, known)
    return reason and f"Not tested: {reason}."


def _shorter(study: Study, claim: Mapping[str, Any]) -> str:
    scaled = study.plan.get("epochs_scaled")
    if not scaled or not ("epoch" in claim or "after" in claim):
        return ""
    return f"the claim refers to {scaled[0]} epochs, and this run has {scaled[1]}"


def _smaller(study: Study, claim: Mapping[str, Any], arms: Sequence[str]) -> str:
    """The side of the images of an arm, if it is less than the claim needs."""
    least = claim.get("least_size")
    if least is None:
        return ""
    for name in arms:
        size = (study.arm(name).config.get("data") or {}).get("size")
        if size is not None and size < least:
            return f"the claim needs images of at least {least} px, and those of {quoted(name)} have {size} px"
    return ""


def _machines(study: Study, claim: Mapping[str, Any], arms: Sequence[str]) -> str:
    """The kinds of machines (hardware and threads) of the finished trials, if a claim about time compares several."""
    if not str(claim.get("metric")).startswith(record_columns.SYSTEM + "/"):
        return ""
    sources = [
        study.results[key].get("provenance") or {}
        for name in arms
        for key in study.arm(name).trials.values()
        if key in study.results
    ]
    kinds = [{**(source.get("hardware") or {}), "threads": source.get("cpus")} for source in sources]
    texts = (", ".join(f"{key} {kind[key]}" for key in _MACHINE if kind.get(key)) for kind in kinds)
    different = sorted(set(filter(None, texts)))
    return f"the arms ran on different machines ({'; '.join(different)})" if len(different) > 1 else ""


def _rated_differently(study: Study, claim: Mapping[str, Any], arms: Sequence[str]) -> str:
    """The checksums of the images, if a protocol has rated the trials of a claim on different ones."""
    if not record_columns.on_protocol(str(claim.get("metric"))):
        return ""
    keys = [key for name in arms for key in study.arm(name).trials.values() if key in study.results]
    sets = protocol_results.tested(study.results[key] for key in keys)
    words = (f"{one['pixels']} with masks {one['masks']}" for one in sets)
    return f"the arms were rated on different images (checksums {'; '.join(words)})" if len(sets) > 1 else ""


def _not_learned(study: Study, claim: Mapping[str, Any], arms: Sequence[str]) -> str:
    """Whether two arms said to be equal are both no better than the weakest arm without training."""
    if "equal" not in claim or len(arms) < 2 or not all(study.arm(name).trains for name in arms):
        return ""
    metric, sign = claim["metric"], wording.sign(claim["metric"])
    group = next((group for group in study.groups if arms[0] in group), [])
    untrained = {name: _mean(study, name, claim) for name in group if not study.arm(name).trains}
    known = {name: value for name, value in untrained.items() if value is not None}
    learned = [_mean(study, name, claim) for name in arms]
    if not sign or not known or None in learned or metric.startswith(record_columns.SYSTEM + "/"):
        return ""
    weakest = min(known, key=lambda name: sign * known[name])
    if any(sign * value > sign * known[weakest] for value in learned if value is not None):
        return ""
    both = wording.listing(map(quoted, arms))
    return f"neither {both.replace(' and ', ' nor ')} is better than {quoted(weakest)}, which is not trained"


def _mean(study: Study, arm: str, claim: Mapping[str, Any]) -> float | None:
    values = study.values(arm, claim["metric"], claim.get("epoch"))
    return float(np.mean(list(values.values()))) if values else None
