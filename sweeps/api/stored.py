"""Stores and what they hold as objects: a store is a mapping of sweeps, a sweep a sequence of trials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.api import arguments, display, results
from sweeps.errors import SweepError, UnknownNameError

if TYPE_CHECKING:
    import pandas as pd

    from analysis.report.content import Report
    from analysis.report.paper.paper_table import PaperTable
    from analysis.study import Cell, Study
    from cluster.worker.prediction import TrainedNetwork
    from sweeps.api.arguments import StoreLike
    from trainables.inference.authentic import AuthenticPhotographs
    from trainables.inference.python_images import ImageLike, MaskLike
    from trainables.inference.user_images import Picture


def open(store: StoreLike) -> OpenedStore:
    """Open the store at a folder, or at an address `s3://bucket/prefix`.

    `open(store)[NAME]` is a sweep of it; iterating gives the names. The result can be given to every function that
    takes a store.
    """
    return OpenedStore(arguments.plain_store(store))


class OpenedStore(arguments.StoreHandle):
    """A store as a mapping of sweeps by name."""

    def __getitem__(self, name: str) -> StoredSweep:
        """A sweep as it is now. UnknownNameError, a KeyError that lists the sweeps there are, if there is none such."""
        results.newest_plan(self.plain, name)
        return StoredSweep(self, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __contains__(self, name: object) -> bool:
        return name in self._names()

    def __len__(self) -> int:
        return len(self._names())

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"sweeps.open({self.uri!r})"

    def _names(self) -> list[str]:
        from sweeps.store import plans

        return plans.sweep_names(self.plain)

    def _repr_html_(self) -> str:
        """The sweeps with their trials by state."""
        from collections import Counter

        rows = []
        for one in results.list_sweeps(self.plain):
            states = Counter(trial.state for trial in one.trials.values())
            rows.append((one.plan["name"], one.plan.get("question", ""), _counts(states)))
        empty = "" if rows else "No sweeps yet: sweeps.run(sweep, store) adds one."
        return display.block(self.uri, display.text(empty), display.table(["sweep", "question", "trials"], rows))


class StoredSweep:
    """A sweep of a store, with its results at the time when they are first used; `open(store)[NAME]` makes it."""

    def __init__(self, store: OpenedStore, name: str) -> None:
        self.store, self.name = store, name

    def __repr__(self) -> str:
        return f"{self.store!r}[{self.name!r}]"

    @cached_property
    def report(self) -> Report:
        """The report as data; `sweeps.write_report` writes it to files."""
        return results.report(self.store, self.name)

    @property
    def study(self) -> Study:
        """Values, intervals and differences by arm; see its methods."""
        return self.report.study

    @property
    def question(self) -> str:
        return str(self.study.plan.get("question") or "")

    @property
    def records(self) -> pd.DataFrame:
        """A row per arm, seed and epoch of the finished trials: arm, seed, trial, epoch and the metrics.

        NaN where a metric was not evaluated. Units are in the names of the metrics (`test/psnr_db`).
        """
        return self.study.records.copy()

    def table(self) -> pd.DataFrame:
        """The main table: a row per arm and metric, with n, mean, 95 % interval, and difference from the baseline."""
        import pandas as pd

        from analysis.report import render

        return pd.DataFrame(render.csv_rows(self.report.table), columns=list(render.csv_columns(self.report.table)))

    def claims(self) -> pd.DataFrame:
        """A row per claim: its text, its verdict (see docs/statistics.md) with a size below full, and the evidence."""
        import pandas as pd

        rows = [(one.text, one.words, one.sentence) for one in self.report.verdicts]
        return pd.DataFrame(rows, columns=["claim", "verdict", "evidence"])

    def figures(self) -> dict[str, StoredFigure]:
        """The figures of the report: `curves` over epochs, `interaction` of two factors, `pareto`, `pictures`.

        Those for which the results do not suffice are left out.
        """
        made = {
            "curves": (self.report.curves, "svg"),
            "interaction": (self.report.interaction, "svg"),
            "pareto": (self.report.front, "svg"),
            "pictures": (self.report.grid.png if self.report.grid else None, "png"),
        }
        return {name: StoredFigure(name, form, data) for name, (data, form) in made.items() if data}

    def trial(self, trial: str) -> StoredTrial:
        """A trial by its id or the start of it. UnknownNameError if the sweep has none such, or several."""
        known = {one.id: one for one in self}
        chosen = [one for name, one in known.items() if trial and name.startswith(trial)]
        if len(chosen) == 1:
            return chosen[0]
        if chosen:
            ids = ", ".join(one.id for one in chosen)
            raise UnknownNameError(f"trial {trial!r}", "several trials start with it", ids, "a complete id")
        from sweeps.spec.loader import unknown_name_error

        raise unknown_name_error(f"trial {trial!r} of sweep {self.name!r}", trial, known)

    def __iter__(self) -> Iterator[StoredTrial]:
        """The trials, in the order of the arms; one that serves several arms or seeds comes once."""
        first: dict[str, Cell] = {}
        for cell in self.study.cells:
            first.setdefault(cell.trial, cell)
        return (StoredTrial(self, cell) for cell in first.values())

    def _repr_html_(self) -> str:
        """The question, the answer, the main tables, the claims and the curves."""
        figures = self.figures()
        curves = figures["curves"]._repr_html_() if "curves" in figures else ""
        claims = [(one.words, one.text, one.sentence) for one in self.report.verdicts]
        return display.block(
            self.name,
            display.text(self.question, *self.report.answer, f"Trials: {_counts(self.study.states())}."),
            *(block for paper in self.report.papers for block in _paper(paper)),
            display.table(["verdict", "claim", "evidence"], claims),
            curves,
        )


@dataclass(frozen=True)
class StoredFigure:
    """A figure of a report, which a notebook shows."""

    name: str
    form: str
    """svg or png."""
    data: bytes

    def save(self, file: str | Path) -> Path:
        """Write the figure to a file. SweepError if that is not possible."""
        path = Path(file)
        try:
            path.write_bytes(self.data)
        except OSError as error:
            raise SweepError(
                str(path), error.strerror or str(error), "a writable file", f"{self.name}.{self.form}"
            ) from None
        return path

    def _repr_html_(self) -> str:
        return display.image(self.data, self.form, self.name)


class StoredTrial:
    """A trial of a sweep in a store."""

    def __init__(self, sweep: StoredSweep, cell: Cell) -> None:
        self.sweep = sweep
        self.id, self.arm, self.seed = cell.trial, cell.arm, cell.seed
        self.state = cell.state
        """done, running, failed, interrupted or queued."""
        self.epochs = cell.epochs
        """Target epoch."""

    def __repr__(self) -> str:
        return f"<trial {self.id}: {self.arm!r}, seed {self.seed}, {self.state}>"

    @property
    def config(self) -> Mapping[str, Any]:
        """The resolved configuration of its arm."""
        return self.sweep.study.arm(self.arm).config

    @property
    def records(self) -> pd.DataFrame:
        """A row per epoch; empty unless the trial is done."""
        rows = self.sweep.study.records
        return rows[(rows["arm"] == self.arm) & (rows["seed"] == self.seed)].reset_index(drop=True)

    def predict(
        self,
        image: ImageLike,
        mask: MaskLike | None = None,
        text: str | None = None,
        *,
        resize: bool = False,
        false_positive_rate: float = 0.05,
        authentic: str | Path | Sequence[ImageLike] | AuthenticPhotographs | None = None,
    ) -> Any:
        """Fill the hole of an image with the trained network, or find the filled region of one.

        image: a path, a PIL image, an array (height, width, 3) or a tensor (3, height, width); 8-bit, or floating-point
        in [0, 1]. mask: for an inpainter, (x, y, width, height) in px, or an image, array or tensor of the same size
        that is white, or 1, in the hole. text: what the image shows, for an inpainter that takes captions.
        resize: give the network a copy of the whole image that is resized to its square, not windows at the image's
        own resolution. false_positive_rate: of a detector on authentic images; determines its threshold.
        authentic: photographs that are known to be authentic and give the threshold, at least 1 / rate - 1 of them: a
        folder, images, or what `measure_authentic` returned for them, which scans them once for many calls. None: the
        validation images of the trial give it.

        Returns the image with its hole filled, of the kind that was given (for a path, a PIL image), or the
        `Detection` of a detector: label, probability, threshold and box in px.
        Raises SweepError for a trial that has not finished or does not fit, TrialError for an unusable image or mask.
        """
        from trainables.inference import python_images

        network = self._network
        network.check_request(mask is not None, text, "mask=(10, 10, 40, 30)", "mask")
        picture = python_images.picture(image)
        if mask is None:
            measured = self._measured(authentic, picture, false_positive_rate, resize)
            return network.detect(picture, false_positive_rate, resize, measured)
        if authentic is not None:
            raise SweepError(
                "authentic=...", "an inpainter has no threshold", "`authentic` for detectors", "leave `authentic` out"
            )
        hole_hw = python_images.hole(mask, picture)
        return python_images.same_kind(image, network.fill(picture, hole_hw, text, resize).image, hole_hw)

    def measure_authentic(
        self, photographs: str | Path | Sequence[ImageLike], *, resize: bool = False
    ) -> AuthenticPhotographs:
        """Scan photographs that are known to be authentic with a detector, for `authentic` of `predict`.

        photographs: a folder, or a list of images as for `predict`. resize: as for `predict`. Raises SweepError for an
        inpainter, TrialError for an image that cannot be used or is given twice, and for a folder without images.
        """
        network = self._network
        if network.trial.task != "detect":
            raise SweepError(
                f"trial {self.id} of task {network.trial.task}",
                "only a detector has a threshold",
                "a trial of task detect",
                "sweeps status NAME lists the trials",
            )
        return network.measure(photographs, resize)

    def _measured(
        self,
        given: str | Path | Sequence[ImageLike] | AuthenticPhotographs | None,
        picture: Picture,
        rate: float,
        resize: bool,
    ) -> AuthenticPhotographs | None:
        """The authentic photographs, scanned if they are not yet.

        Raises TrialError, before the scan, if they cannot be used, are too few, or if the picture is one of them.
        """
        from cluster.worker import prediction
        from trainables.inference.authentic import AuthenticPhotographs

        if given is None or isinstance(given, AuthenticPhotographs):
            return given
        return prediction.AuthenticToScan(self._network, given, rate, resize).measured_for(picture)

    @cached_property
    def _network(self) -> TrainedNetwork:
        from cluster.worker import finished_trial, prediction

        return prediction.TrainedNetwork(
            finished_trial.read(self.sweep.store.plain, self.id, "needed for the prediction"), self.sweep.store.plain
        )


def _paper(table: PaperTable) -> tuple[str, str]:
    """A table with its notes as HTML."""
    grid = table.grid()
    return display.table(grid.head, grid.body), display.text(*table.sentences)


def _counts(states: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in states.items() if count) or "none"
