"""The JSON documents that verbs print with `--json`, one model each.

A later version may add keys. It raises `schema` where it removes one or changes what one means.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Output(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class _Document(_Output):
    schema_: int = Field(1, alias="schema", description="version of this document")


# --- errors -----------------------------------------------------------------------------------------------------------


class ErrorParts(_Output):
    given: str = Field(description="what was given, with its place")
    why: str = Field(description="why it cannot be used")
    allowed: str = Field(description="what is allowed")
    fix: str = Field(description="what to type")


class ErrorOutput(_Document):
    """Printed instead of a verb's document, with exit code 2."""

    error: ErrorParts = Field(description="the four parts of the error")


class ProtocolName(_Output):
    name: str = Field(description="name of the protocol")
    hash: str = Field(description="its hash; it changes with whatever decides the numbers")


# --- check, plan, run -------------------------------------------------------------------------------------------------


class CheckedArm(_Output):
    name: str = Field(description="name of the arm")
    baseline: str = Field(description="the arm that it is compared with")
    config: dict[str, Any] = Field(description="resolved configuration")
    origins: dict[str, str] = Field(description="where each value comes from, by dotted key")
    trials: dict[str, str] = Field(description="trial ids by seed; empty while a search must find the arm's values")


class CheckOutput(_Document):
    name: str = Field(description="name of the sweep")
    question: str = Field(description="its question")
    protocol: ProtocolName | None = Field(None, description="what rates the fills of every arm; null: no protocol")
    arms: list[CheckedArm] = Field(description="the arms, or the one of --arm")
    notes: list[str] = Field(description="remarks on the file, and on the images of each split")
    dependencies: list[str] = Field(description="sweeps that run before it")


class PlannedTrial(_Output):
    id: str = Field(description="trial id")
    label: str = Field(description="arm and seed in words")
    epochs: int = Field(description="target epoch")


class PlannedTime(_Output):
    epochs: int = Field(description="epochs that are left")
    most: bool = Field(description="whether early stopping may save some of them")
    computing_s: float = Field(description="seconds of all trials of known duration, one after the other")
    wall_s: float = Field(description="seconds until the end with `at_once` trials in parallel")
    at_once: int = Field(description="trials that run in parallel")
    unknown: int = Field(description="kinds of trials of unknown duration; `--measure` measures them")


class PlannedSweep(_Output):
    name: str = Field(description="name of the sweep")
    protocol: ProtocolName | None = Field(None, description="what rates the fills of every arm; null: no protocol")
    trials: int = Field(description="different trials of the plan")
    cached: int = Field(description="trials that the store has")
    left: list[PlannedTrial] = Field(description="trials to run")
    failed: list[PlannedTrial] = Field(description="trials that failed before; `--retry` runs them again")
    left_out: int = Field(description="trials of arms that --arms or --skip-arms leaves out")
    suggestions: int = Field(description="suggestions of searches that are left")
    notes: list[str] = Field(description="remarks: searches without a result, results of older code or other data")
    time: PlannedTime | None = Field(None, description="what is left to compute; null if nothing is")


class PlanOutput(_Document):
    sweep: PlannedSweep = Field(description="what is left of the sweep; with looks, until the next one")
    dependencies: list[PlannedSweep] = Field(description="sweeps that run before it and have something left")
    looks: str | None = Field(None, description="where a sweep that adds seeds until decided stands")
    expected: PlannedSweep | None = Field(None, description="of such a sweep: what it is expected to run")
    most: PlannedSweep | None = Field(None, description="of such a sweep: the most that it runs")
    notes: list[str] = Field(description="remarks on the file, and on the images of each split")


# --- status, show -----------------------------------------------------------------------------------------------------


class TrialOutput(_Output):
    id: str = Field(description="trial id")
    arm: str = Field(description="arm; the first of those that share the trial")
    seed: int | None = Field(description="seed")
    epochs: int = Field(description="target epoch")
    state: Literal["done", "running", "failed", "interrupted", "queued", "damaged", "to be extended"] = Field(
        description="state of the trial"
    )
    epoch: int | None = Field(description="last epoch known to have ended")
    silent_s: float | None = Field(None, description="of a running trial: seconds since its last heartbeat")
    error: dict[str, Any] | None = Field(None, description="of a failed trial: type, message, traceback and place")


class SearchOutput(_Output):
    arm: str = Field(description="the arm that is searched")
    budget: int = Field(description="suggestions in the plan")
    counts: dict[str, int] = Field(description="suggestions by state: complete, pruned, failed, running")
    best: list[float] = Field(description="values of the best complete suggestion, one for each metric; empty: none")
    done: bool = Field(description="whether it has ended")
    failure: str = Field(description="why it ended without a result; empty if it has one or has not ended")


class StatusOutput(_Document):
    name: str = Field(description="name of the sweep")
    question: str = Field(description="its question")
    protocol: ProtocolName | None = Field(None, description="what rates the fills of every arm; null: no protocol")
    seeds: list[int] = Field(description="its seeds")
    complete: bool = Field(description="whether every trial is done and every search has a result")
    trials: list[TrialOutput] = Field(description="its trials")
    searches: list[SearchOutput] = Field(description="its searches")
    notes: list[str] = Field(description="remarks: results of older code or from different data")


class ListedSweep(_Output):
    name: str = Field(description="name of the sweep")
    question: str = Field(description="its question")
    counts: dict[str, int] = Field(description="trials by state")


class SweepsOutput(_Document):
    """Of `status` without a name."""

    store: str = Field(description="address of the store")
    sweeps: list[ListedSweep] = Field(description="its sweeps")


class ShownAttempt(_Output):
    name: str = Field(description="name of the attempt")
    state: str = Field(description="how it ended; `-` if it has no recorded end")
    error: dict[str, Any] | None = Field(description="the error that ended it")
    log: str | None = Field(None, description="its log; only of the newest attempt")


class ShowOutput(_Document):
    id: str = Field(description="trial id")
    task: str = Field(description="its task")
    seed: int = Field(description="its seed")
    config: dict[str, Any] = Field(description="resolved configuration")
    attempts: list[ShownAttempt] = Field(description="its attempts, the oldest first")
    results: dict[str, dict[str, Any]] = Field(
        description="its results by target epoch: history (columns), facts, provenance, started_at, ended_at"
    )
    damaged: list[int] = Field(description="target epochs with a result that cannot be read")


# --- results ----------------------------------------------------------------------------------------------------------


class IntervalOutput(_Output):
    mean: float = Field(description="mean over seeds (or images)")
    sd: float | None = Field(description="standard deviation; null for one value")
    low: float | None = Field(description="lower bound of the 95 % interval")
    high: float | None = Field(description="upper bound")
    n: int = Field(description="number of seeds (or images)")
    photographs: int = Field(0, description="number of test photographs that the interval of a detector covers as well")


class ReportedCell(_Output):
    arm: str = Field(description="arm")
    metric: str = Field(description="column, such as test/psnr_db")
    ours: IntervalOutput | None = Field(description="the value; null if no seed has one")
    difference: IntervalOutput | None = Field(description="to the arm's baseline, paired by seed; null for a baseline")
    adjusted_p: float | None = Field(description="of the difference: p value corrected for the family of the metric")
    differs: bool | None = Field(description="whether the difference is beyond chance; null if it is not tested")
    published: list[str] = Field(description="published figures, as printed")


class VerdictOutput(_Output):
    text: str = Field(description="the claim")
    verdict: str = Field(description="holds, does not hold, undecided or not tested")
    size: str = Field(description="size at which the study was run: full, small or tiny")
    sentence: str = Field(description="the evidence")
    source: str = Field(description="where the document makes the claim")
    ours: str = Field(description="measured difference with its interval")
    published: str = Field(description="published figures of the same arms")


class ReportedSweep(_Output):
    name: str = Field(description="name of the sweep")
    question: str = Field(description="its question")
    protocol: ProtocolName | None = Field(None, description="what rates the fills of every arm; null: no protocol")
    answer: list[str] = Field(description="sentences, the most important one first")
    cells: list[ReportedCell] = Field(description="the table, a cell for each arm and metric")
    verdicts: list[VerdictOutput] = Field(description="the claims")


class ReportOutput(_Document):
    reports: list[ReportedSweep] = Field(description="one for each NAME")
    files: list[str] = Field(description="paths and addresses that were written")


class ClaimOutput(_Output):
    study: str = Field(description="name of the sweep")
    protocol: ProtocolName | None = Field(None, description="what rates the fills of every arm; null: no protocol")
    claim: str = Field(description="the claim")
    source: str = Field(description="where the document makes it")
    published: str = Field(description="published figures")
    ours: str = Field(description="measured difference with its interval")
    verdict: str = Field(description="verdict, with the size if it is not full")
    sentence: str = Field(description="the evidence")
    notes: str = Field(description="on results of older code or from different data")


class ClaimsOutput(_Document):
    claims: list[ClaimOutput] = Field(description="a line for each claim")


class ComparedCell(_Output):
    arm: str = Field(description="arm")
    metric: str = Field(description="column")
    before: IntervalOutput | None = Field(description="value in the first sweep")
    after: IntervalOutput | None = Field(description="value in the second sweep")
    difference: IntervalOutput | None = Field(description="after minus before, paired by seed")
    verdict: str = Field(description="same numbers, within noise, drift, or too few seeds")


class CompareOutput(_Document):
    drifted: bool = Field(description="whether any difference exceeds the noise")
    cells: list[ComparedCell] = Field(description="one for each shared arm and metric")
    unmatched: list[str] = Field(description="sentences on arms that only one of the sweeps has")
    mixed: list[str] = Field([], description="what the protocols differ in, with --mix; empty: they are the same")


class ReproducedTrial(_Output):
    label: str = Field(description="arm and seed in words")
    state: Literal["same", "within tolerance", "changed", "not finished"] = Field(
        description="same: to the last bit; within tolerance: of a trial that several workers trained"
    )
    change: str = Field(description="what changed; empty if nothing did")


class ReproduceOutput(_Document):
    trials: list[ReproducedTrial] = Field(description="the trials that were run again")


class DoctorCheck(_Output):
    state: Literal["ok", "warning", "failed"] = Field(description="result of the check")
    what: str = Field(description="what was found")
    do: str = Field(description="how to fix it; empty if ok")


class DoctorOutput(_Document):
    ready: bool = Field(description="whether no check has failed")
    checks: list[DoctorCheck] = Field(description="one for each check")


class Costs(_Output):
    name: str = Field(description="name of the study, or of its smaller form")
    trials: int = Field(description="planned trials and suggestions of searches")
    left: int = Field(description="those that the store lacks")
    epochs: int = Field(description="epochs that are left")
    seconds: float = Field(description="known computing time of what is left")
    unknown: int = Field(description="kinds of trials without known times")
    problem: str = Field(description="why it cannot be planned at this size; empty if it can")


class CostsOutput(_Document):
    """Of `plan --all`."""

    studies: list[Costs] = Field(description="the shipped studies")


# --- audit ------------------------------------------------------------------------------------------------------------


class AuditedMethod(_Output):
    name: str = Field(description="name of the method")
    value: IntervalOutput | None = Field(description="the value over seeds or images")
    rank: tuple[int, int] | None = Field(description="best and worst rank that the table leaves open; null: not tested")
    first_in_resamples: float | None = Field(description="share of the resamples in which it has the best mean")


class AuditedPair(_Output):
    better: str = Field(description="the method with the better mean")
    worse: str = Field(description="the other one")
    difference: IntervalOutput | None = Field(description="better minus worse, paired; negative where lower is better")
    decided: bool = Field(description="whether they differ beyond chance, corrected for all pairs")
    p_holm: float | None = Field(
        description="p of the sign-flip test, corrected by Holm; null for fewer than two pairs"
    )
    correlation: float | None = Field(description="of the paired values")
    smallest_shown: float | None = Field(description="true difference that this sample shows with 80 % probability")
    needed: int | None = Field(
        description="seeds or images that show a true difference as large as the measured one with 80 % probability"
    )


class AuditOutput(_Document):
    metric: str = Field(description="the column of values")
    unit: str = Field(description="what the values of a method differ by: `seed`, `image`, `run`, ...")
    goal: Literal["max", "min"] = Field(description="whether higher or lower is better")
    tested: bool = Field(description="whether anything could be tested")
    methods: list[AuditedMethod] = Field(description="from the best mean to the worst")
    pairs: list[AuditedPair] = Field(description="all pairs of methods")
    cannot_be_told_apart: list[list[str]] | None = Field(
        description="largest groups of which no two can be told apart; null: not tested"
    )
    same_order_in_resamples: float | None = Field(description="share of the resamples in which all keep their order")
    kendall_tau_of_resamples: float | None = Field(description="mean rank correlation of a resample with the table")
    sentences: list[str] = Field(description="what follows, in sentences")


# --- gate -------------------------------------------------------------------------------------------------------------


class GateCandidate(_Output):
    number: int = Field(description="number of the candidate, from 1")
    label: str = Field(description="its label")
    incumbent: int = Field(description="number of the candidate that it is compared with; 0: the initial program")
    verdict: Literal["keep", "discard", "undecided"] | None = Field(description="null: it is being tried")
    reason: str = Field(description="why, as the end of a sentence; empty without a verdict")
    difference: float | None = Field(description="mean difference to the incumbent; above 0 is better")
    sd: float | None = Field(description="standard deviation of a difference; null for fewer than two pairs")
    pairs: int = Field(description="seeds on which both have run")
    own_pairs: int = Field(description="of these, seeds that were drawn for this candidate: they alone can keep it")
    runs: int = Field(description="runs that it needed, with those of the incumbent")
    e_value: float = Field(description="evidence for keeping it")
    needed: float = Field(description="the e-value that keeps it: 1 / the error that it may use")
    spent: float = Field(description="error that it used up")
    sweep: str = Field(description="name of the sweep with its runs")


class GateError(_Output):
    allowed: float = Field(description="chance of keeping anything useless, over the whole session, at most")
    spent: float = Field(description="used up by the verdicts so far")
    left: float = Field(description="left for later candidates")


class GateOutput(_Document):
    """Of `gate init` and `gate status`."""

    name: str = Field(description="name of the gate")
    metric: str = Field(description="the column that decides")
    goal: Literal["max", "min"] = Field(description="whether higher or lower is better")
    incumbent: int = Field(description="number of the candidate that was kept last; 0: the initial program")
    label: str = Field(description="label of the incumbent")
    command: list[str] = Field(description="its program and arguments")
    code: str = Field(description="hash of its files, `code/<hash>/` in the store")
    budget: int = Field(description="candidates that can be tried")
    tried: int = Field(description="candidates that count towards the budget; those that failed at once do not")
    runs: int = Field(description="runs so far")
    error: GateError = Field(description="the error over the session")
    candidates: list[GateCandidate] = Field(description="the candidates in the order in which they were tried")


class GateTryOutput(_Document):
    """Of `gate try`."""

    name: str = Field(description="name of the gate")
    candidate: GateCandidate = Field(description="the candidate with its verdict")
    incumbent: int = Field(description="number of the incumbent now")
    label: str = Field(description="label of the incumbent now")
    left: int = Field(description="candidates that can still be tried")


# --- protocols and scores ---------------------------------------------------------------------------------------------


class ProtocolOutput(_Output):
    name: str = Field(description="name of the protocol, as `--protocol` takes it")
    hash: str = Field(description="its hash; it changes with whatever decides the numbers")
    equality: Literal["bits", "files", "exact", "own"] = Field(description="how its masks relate to the authors'")
    about: str = Field(description="what is evaluated")
    evaluation: dict[str, Any] = Field(description="what is hashed: images, masks and metrics")


class ProtocolsOutput(_Document):
    protocols: list[ProtocolOutput] = Field(description="the protocols that come with the package")


class ExportProtocolOutput(_Document):
    name: str = Field(description="name of the protocol")
    hash: str = Field(description="its hash")
    images: int = Field(description="number of images that were written")
    folder: str = Field(description="where images, damaged images, masks and `protocol.json` are")


class ScoredFill(_Output):
    name: str = Field(description="name of the fill")
    untrained: bool = Field(description="whether it is a method without training")
    runs: int = Field(description="number of folders: seeds")
    values: dict[str, IntervalOutput | None] = Field(
        description="mean of each metric with its interval over images; null: defined for no image"
    )
    over_seeds: dict[str, IntervalOutput | None] = Field(description="with its interval over seeds; empty for one")
    by_group: dict[str, dict[str, IntervalOutput | None]] = Field(description="the same for each kind of mask")
    changed_images: int = Field(description="images with known pixels that the fill changed")
    changed_px: int = Field(description="these pixels")
    largest_change: int = Field(description="their largest change, 0 to 255")


class ScoredPair(_Output):
    metric: str = Field(description="the metric")
    better: str = Field(description="the fill with the better mean")
    worse: str = Field(description="the other one")
    difference: IntervalOutput | None = Field(description="better minus worse, paired by image")
    p_holm: float = Field(description="p of the sign-flip test, corrected for all pairs of the metric by Holm")
    differs: bool = Field(description="whether they differ beyond chance")


class ScoreOutput(_Document):
    """Of `score`, and of `compare` with files of scores."""

    mixed: bool = Field(description="whether the fills were rated by different protocols or on different images")
    protocol: str | None = Field(description="name of the protocol; null: mixed, here and below")
    hash: str | None = Field(description="its hash")
    evaluation: dict[str, Any] | None = Field(description="what is hashed: images, masks and metrics")
    images: int = Field(description="number of images, with all kinds of masks")
    images_checksum: str | None = Field(description="checksum of the images")
    masks_checksum: str | None = Field(description="checksum of the masks")
    hole_fraction: float | None = Field(description="mean share of an image that is hole")
    fills: list[ScoredFill] = Field(description="the fills, those without training last")
    pairs: list[ScoredPair] = Field(description="every two fills, and each with the best one without training")
    notes: list[str] = Field(description="what a reader has to know, and in what mixed scores differ")


# --- small verbs ------------------------------------------------------------------------------------------------------


class StopOutput(_Document):
    name: str = Field(description="name of the sweep")
    trial: str | None = Field(description="the trial that was asked to stop; null: all drivers of the sweep")


class GcOutput(_Document):
    checkpoints: int = Field(description="checkpoints that were deleted")
    trials: int = Field(description="trials that were examined")
    writes: int = Field(description="unfinished writes that were deleted")
    folders: int = Field(description="temporary folders of killed processes that were deleted")


class ExportTestOutput(_Document):
    images: int = Field(description="number of images")
    damaged: str = Field(description="folder of the damaged images")
    masks: str = Field(description="folder of the masks, white where to fill")


class ExportToOutput(_Document):
    name: str = Field(description="name of the sweep")
    runs: int = Field(description="runs that were written")
    place: str = Field(description="where they are")


class ArchiveOutput(_Document):
    file: str = Field(description="the archive; a store that can be read with --store")
    sweeps: int = Field(description="sweeps in it")
    trials: int = Field(description="trials in it, also of other sweeps that these name")
    objects: int = Field(description="objects in it")
    size_bytes: int = Field(description="size of the file")
