"""Agreement of metrics in ranking arms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kendalltau

from analysis import studies
from analysis.report import build as report
from analysis.report import formats
from analysis.statistics import intervals, rank_agreement
from tests.analysis.make_store import NOW, ArmSpec, make_store


def arm(name: str, psnr: float, l1: float | None, **more: object) -> ArmSpec:
    return ArmSpec(name, psnr, sd=0.0, columns={} if l1 is None else {"test/l1": l1}, **more)  # type: ignore[arg-type]


def compared(root: Path, *arms: ArmSpec) -> rank_agreement.Agreement | None:
    return rank_agreement.compare(studies.read(make_store(root, arms, range(2), []), "partial-conv", NOW))


@pytest.mark.parametrize("ties", [1000, 4])
def test_tau_is_that_of_scipy(ties: int) -> None:
    values = np.random.default_rng(3).integers(0, ties, (12, 2))
    expected = kendalltau(values[:, 0], values[:, 1]).statistic
    assert intervals.kendall_tau_b([[(a, b) for a, b in values.tolist()]]) == pytest.approx(expected, abs=1e-12)


def test_tau_within_groups() -> None:
    agreeing, reversed_ = [(1.0, 1.0), (2.0, 2.0), (3.0, 3.0)], [(1.0, 9.0), (2.0, 8.0)]
    assert intervals.kendall_tau_b([agreeing, reversed_]) == (3 - 1) / 4
    assert intervals.kendall_tau_b([agreeing, [(10.0, 0.0)]]) == 1  # one alone has nothing to be compared with
    assert intervals.kendall_tau_b([[(1.0, 5.0), (2.0, 5.0)]]) is None


def test_metrics_are_compared_by_which_arms_they_put_first(tmp_path: Path) -> None:
    """PSNR rises from a to d, L1 falls but for one swap: 5 of 6 pairs agree."""
    arms = [arm("a", 20, 0.4), arm("b", 21, 0.3), arm("c", 22, 0.1), arm("d", 23, 0.2, trains=False)]
    found = compared(tmp_path, *arms)
    assert found
    assert found.metrics == ["test/psnr_db", "test/l2_raw", "test/ssim", "test/l1"]
    assert found.tau[:3] == [[1], [1, 1], [1, 1, 1]]
    assert found.tau[3] == pytest.approx([4 / 6, 4 / 6, 4 / 6, 1])
    assert (
        "n = 4 arms (including arms without training). Arms are ranked by their means over 2 seeds"
        in found.sentences[0]
    )
    assert found.sentences[-1] == "The lowest tau is between test PSNR and test L1: +0.67."


def test_a_metric_that_an_arm_lacks_is_left_out(tmp_path: Path) -> None:
    found = compared(tmp_path, *(arm(name, 20 + n, 0.1 if n else None) for n, name in enumerate("abcd")))
    assert found
    assert "test/l1" not in found.metrics
    assert found.sentences[-1] == "All metrics rank the arms in the same order."


def test_few_arms_are_left_out_with_the_reason(tmp_path: Path) -> None:
    found = compared(tmp_path, *(arm(name, 20 + n, 0.1) for n, name in enumerate("abc")))
    assert found
    assert not found.metrics
    assert "they need 4 finished arms with the same data and masks; there are 3" in found.sentences[0]


def test_arms_with_other_masks_are_not_ranked_among_them(tmp_path: Path) -> None:
    """Compared with all six arms, the two easy ones would reverse the order."""
    few = [arm(f"few {n}", 20 + n, 0.4 - 0.1 * n) for n in range(4)]
    many = [arm(f"many {n}", 40 + n, 0.8, factors={"count": [1, 2]}) for n in range(2)]
    found = compared(tmp_path, *few, *many)
    assert found
    assert found.tau[3] == [1, 1, 1, 1]
    assert found.sentences[1].endswith("“many 0” and “many 1”.")


def test_it_stands_in_the_report(tmp_path: Path) -> None:
    arms = [arm("a", 20, 0.4), arm("b", 21, 0.3), arm("c", 22, 0.1), arm("d", 23, 0.2)]
    found = report.build(make_store(tmp_path, arms, range(2), []), "partial-conv", NOW)
    assert 'id="agreement"' in formats.html(found)
    row = next(line for line in formats.markdown(found).splitlines() if line.startswith("| 4. test L1"))
    assert [cell.strip() for cell in row.split("|")[2:-1]] == ["+0.67", "+0.67", "+0.67", "+1.00"]
