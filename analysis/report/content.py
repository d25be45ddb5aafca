"""The content of a report as data: the study, its table, verdicts and figures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from analysis.claims.judge import Verdict
from analysis.report import figures
from analysis.report.paper import effects, paper_table
from analysis.report.sections import images, pareto, pictures, robustness, threshold_curves
from analysis.report.tables import Table
from analysis.statistics import factors
from analysis.study import Study


@dataclass(frozen=True, eq=False)
class Report:
    """The results of a study, ready to be written in any format."""

    study: Study
    table: Table
    verdicts: list[Verdict]
    answer: list[str]
    """Sentences, the most important one first."""

    @cached_property
    def papers(self) -> list[paper_table.PaperTable]:
        """The table as a paper prints it: effects of factors if the arms are a grid, results, differences."""
        return paper_table.paper_tables(self.table, effects.effects(self.study, self.table))

    @cached_property
    def curves(self) -> bytes | None:
        """Curves over epochs as SVG."""
        return figures.curves(self.study)

    @cached_property
    def grid(self) -> pictures.PictureGrid | None:
        """The same test images filled by every arm, as PNG."""
        return pictures.picture_grid(self.study)

    @cached_property
    def images(self) -> images.ImageFindings | None:
        """The worst and the disputed test images, and the means over all images."""
        return images.read_images(self.study)

    @cached_property
    def disputed(self) -> bytes | None:
        """The disputed images filled by every arm as PNG; None if they were not redrawn."""
        return images.disputed_grid(self.study, self.images)

    @cached_property
    def crosses(self) -> list[factors.CrossTable]:
        """Each metric by two factors; empty unless the study has two."""
        return [table for metric in self.study.metrics if (table := factors.cross(self.study, metric))]

    @cached_property
    def interaction(self) -> bytes | None:
        """Interaction plot of the first cross table, as SVG."""
        return factors.plot(self.crosses[0]) if self.crosses else None

    @cached_property
    def thresholds(self) -> threshold_curves.ThresholdCurves | None:
        """ROC and precision-recall curves of detectors."""
        return threshold_curves.build(self.study)

    @cached_property
    def roc(self) -> bytes | None:
        """Plot of both curves, as SVG."""
        return threshold_curves.plot(self.thresholds) if self.thresholds else None

    @cached_property
    def robustness(self) -> list[robustness.RobustnessCurve]:
        """Scores of detectors at the levels of changes of the test images."""
        return robustness.curves(self.study)

    @cached_property
    def falling(self) -> bytes | None:
        """Plot of these scores, as SVG."""
        return robustness.plot(self.robustness) if self.robustness else None

    @cached_property
    def pareto(self) -> pareto.Pareto | None:
        """Quality against cost, if the sweep file asks for it."""
        return pareto.build(self.study)

    @cached_property
    def front(self) -> bytes | None:
        """Plot of quality against cost, as SVG."""
        return pareto.plot(self.pareto) if self.pareto else None
