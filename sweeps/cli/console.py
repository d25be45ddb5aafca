"""Tables and texts about plans and sweeps. They show what is in the plan or the store, and counts of it."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sweeps.cli.common import DEFAULT_STORE
from sweeps.holders import LEASE_S
from sweeps.results import failures, missing_metrics, progress
from sweeps.spec.dependencies import PENDING, is_pending
from sweeps.spec.plan import Arm, Plan, flatten
from sweeps.store.base import Store
from sweeps.wording import count

if TYPE_CHECKING:
    from cluster.driver.pending_work import PendingWork
    from sweeps.api import SweepStatus
    from sweeps.results.cost import CostLine, Estimate, Speed
    from sweeps.results.progress import TrialState
    from sweeps.search.arm_search import ArmSearch
    from sweeps.search.status import SearchState
    from sweeps.store.layout import Json

AFTER_FAILURE = "change search.space and give the sweep another name to search again"
"""What to do about a search without a result."""
SUGGESTION_STATES = ("complete", "pruned", "failed", "running")
_MAX_FAILED = 20
"""Earlier failures that are listed; further ones are only counted."""
_STYLES = {
    "done": "green",
    "running": "cyan",
    "failed": "red",
    "interrupted": "yellow",
    "to be extended": "yellow",
    "damaged": "red",
    "queued": "dim",
}


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Let `main` end the command (`sweeps status | head`): Rich would exit with 1, the code for failed trials."""
        raise BrokenPipeError


def console() -> Console:
    return _Console(highlight=False, soft_wrap=True)


def show(renderable: Any) -> None:
    """Print an object that rich can render."""
    _Console(highlight=False).print(renderable)


def make_table(*columns: str) -> Table:
    return Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")


def check(plan: Plan, arms: Sequence[Arm]) -> None:
    """The resolved configuration of each arm, the origin of each value, and the trials."""
    out = console()
    for arm in arms:
        out.print(Text(arm.name, style="bold"), Text(f"compared with {arm.baseline}", style="dim"))
        table = make_table("key", "value", "from")
        for key, value in flatten(arm.config).items():
            origin = arm.origins[key]
            style = "dim" if origin == "default" else ""
            table.add_row(key, Text(format_value(value)), Text(origin), style=style)
        show(table)
        ids = " ".join(f"{seed}:{trial.id}" for seed, trial in arm.trials.items())
        out.print(Text(f"trials (seed:id)  {ids or 'none yet: a search must find its values first'}\n"))
    out.print(_summary(plan))


def note(words: str) -> None:
    console().print(Text(words, style="bold"))


def images(notes: Sequence[str]) -> None:
    """The number of images in each split, with warnings."""
    for note in notes:
        console().print(Text(note, style="yellow" if "warning" in note else ""))


def dependencies(plan: Plan, names: Sequence[str]) -> None:
    """The sweeps that must run before a plan. names: their names."""
    if names:
        console().print(
            Text(f"{plan.name} takes trials from {', '.join(names)}: sweeps run runs what is left of it first")
        )
    if is_pending(plan.sweep):
        console().print(Text(f"ids that begin with {PENDING}, and those of trials that use them, are temporary"))


def format_value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _summary(plan: Plan) -> Text:
    runs = plan.runs()
    arms = sum(1 for arm in plan.arms if arm.trials)
    seeds = f"{'up to ' if plan.looks else ''}{count(len(plan.seeds), 'seed')}"
    different = count(len(runs), "different trial")
    words = f"{plan.name}: {count(arms, 'arm')} x {seeds} = {different}"
    waiting = len(plan.arms) - arms
    more = f"; {waiting} more {'arm waits' if waiting == 1 else 'arms wait'} for a search"
    by = f"; protocol {plan.protocol['name']} {plan.protocol['hash']}" if plan.protocol else ""
    return Text(words + (more if waiting else "") + by)


def plan(work: PendingWork, estimate: Estimate | None = None) -> None:
    """The trials of a plan, how many the store has, and what the rest costs."""
    out = console()
    counts = f"{work.done} done before, {len(work.to_train)} to run"
    out.print(
        _summary(work.plan).append(","),
        Text(counts + (f", {len(work.failed)} failed" if work.failed else ""), style="dim"),
    )
    if work.left_out:
        out.print(Text(f"{count(work.left_out, 'trial')} of other arms left out", style="dim"))
    for tuning in work.searches:
        out.print(Text(_search_summary(tuning)))
    for job in work.failed[:_MAX_FAILED]:
        out.print(Text(f"failed before, skipped: {job.label} ({job.trial_id}); --retry tries it again", style="red"))
    if len(work.failed) > _MAX_FAILED:
        out.print(Text(f"and {len(work.failed) - _MAX_FAILED} more failed before", style="red"))
    if work.continued:
        out.print(Text(work.continued))
    for failure in work.failures:
        out.print(Text(f"{failure}; {AFTER_FAILURE}", style="red"))
    for remark in filter(None, (work.incomplete, work.stale)):
        out.print(Text(remark, style="yellow"))
    if work.nothing:
        out.print(Text("nothing to run"))
    elif estimate is not None and estimate.lines:
        _cost(out, estimate)


def _search_summary(tuning: ArmSearch) -> str:
    spec, asked = tuning.spec, len(tuning.search.asks())
    seeds = f"{count(len(spec.tune_seeds), 'seed')} ({', '.join(map(str, spec.tune_seeds))})"
    words = f"search of {tuning.arm.name!r}: {spec.trials} suggestions by {spec.sampler} x {seeds}"
    stopping = spec.early_stopping.name
    words += f", {stopping} from epoch {spec.early_stopping.grace_epochs}" if stopping != "none" else ""
    return f"{words}; {asked} suggested so far; the best {spec.report_best} run on the reporting seeds"


def _cost(out: Console, estimate: Estimate) -> None:
    table = make_table("left to run", "trials", "epochs", "s/epoch", "time", "from")
    for line in estimate.lines:
        speed = line.speed
        epoch_s, time_s, source = ("?", "?", "nothing known") if speed is None else _timing(line, speed)
        if speed and len(estimate.hardware) > 1:
            source = f"{source}, on {speed.hardware}"
        epochs = f"{'up to ' if line.most else ''}{line.epochs:,}" if line.trains else "none"
        table.add_row(Text(_listing(line.labels)), f"{line.trials:,}", epochs, epoch_s, time_s, Text(source))
    show(table)
    total = f"{'up to ' if estimate.most else ''}{count(estimate.epochs, 'epoch')}"
    unknown = estimate.unknown
    if unknown and not estimate.computing_s:
        out.print(Text(f"{total}; time unknown: sweeps plan FILE --measure", style="bold"))
    else:
        at_once = f"{count(estimate.at_once, 'trial')} at once ({estimate.where})"
        computing, wall = time_text(estimate.computing_s), time_text(estimate.wall_s)
        words = f"{total}, {computing} of computing; about {wall} with {at_once}"
        out.print(Text(words, style="bold"))
        if estimate.hardware:
            other = estimate.here and estimate.hardware != [estimate.here]
            elsewhere = f"; this machine is {estimate.here}" if other else ""
            out.print(Text(f"times were measured on {', '.join(estimate.hardware)}{elsewhere}", style="dim"))
        if unknown:
            words = f"without {len(unknown)} of {len(estimate.lines)} kinds of trials, for which no times are known"
            out.print(Text(f"{words}: sweeps plan FILE --measure", style="yellow"))
    for warning in estimate.warnings:
        out.print(Text(f"warning: {warning}", style="yellow"))


def _timing(line: CostLine, speed: Speed) -> tuple[str, str, str]:
    """Seconds an epoch, total time, source of the times."""
    return (f"{speed.epoch_s:.3g}" if line.trains else "-", time_text(line.seconds or 0.0), speed.source)


def _listing(names: Sequence[str], limit: int = 3) -> str:
    rest = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {rest} more" if rest > 0 else "")


def time_text(seconds: float) -> str:
    """'45 s', '12 min', '3.4 h'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def outcome(stored: Json, store: Store, address: str, unmeasured: Iterable[str] = ()) -> None:
    """The end of a run: the states of the trials, reasons of failures, what to type next.

    address: of the store, as the user wrote it. unmeasured: finished trials that still lack metrics.
    """
    from sweeps.search import status as search_status

    where = "" if address == DEFAULT_STORE else f" --store {shlex.quote(address)}"
    states = missing_metrics.with_errors(store, progress.trial_states(store, stored), unmeasured)
    out = console()
    counts = Counter(state.state for state in states.values())
    failures = [search.failure for search in search_status.search_states(store, stored) if search.failure]
    kind = "without a result of their search" if failures else "waiting for a search"
    counts += Counter({kind: sum(1 for arm in stored["arms"] if not arm["trials"])})
    out.print(Text(", ".join(f"{count} {state}" for state, count in counts.items())))
    _failures(out, stored, states, where)
    for failure in failures:
        out.print(Text(f"{failure}; {AFTER_FAILURE}", style="red"))
    out.print(Text(f"sweeps report {stored['name']}{where} --out report", style="bold"))


def sweeps(statuses: Sequence[SweepStatus], uri: str) -> None:
    """One line for each sweep of the store at `uri`."""
    if not statuses:
        console().print(Text(f"no sweep in {uri}; start one with: sweeps run FILE"))
        return
    table = make_table("sweep", "trials", "done", "running", "failed", "open", "question")
    table.columns[0].no_wrap = True  # names are typed in the next command
    table.columns[0].overflow = "fold"
    table.columns[-1].no_wrap = table.expand = True  # a sweep is a line, however narrow the terminal is
    table.columns[-1].ratio = 1
    for sweep in statuses:
        count = Counter(state.state for state in sweep.trials.values())
        waiting = count["interrupted"] + count["damaged"] + count["queued"]
        cells = map(str, (len(sweep.trials), count["done"], count["running"], count["failed"], waiting))
        table.add_row(sweep.plan["name"], *cells, Text(sweep.plan["question"]))
    show(table)


def status(sweep: SweepStatus) -> None:
    """The state of each arm and seed, the searches, and the reasons of failures."""
    out, stored, states = console(), sweep.plan, sweep.trials
    out.print(Text(stored["name"], style="bold"), Text(stored["question"], style="dim"))
    without = {search.arm for search in sweep.searches if search.failure}
    table = make_table("arm", *(f"seed {seed}" for seed in stored["seeds"]))
    for arm in stored["arms"]:
        cells = []
        for seed in stored["seeds"] if arm["trials"] else ():
            trial = arm["trials"].get(str(seed))  # None: a look gave the arm no more seeds
            cells.append(_cell(states[trial["id"]], trial["epochs"]) if trial else Text(""))
        waiting = "search without a result" if arm["name"] in without else "search not finished"
        table.add_row(Text(arm["name"]), *(cells or [Text(waiting, style="dim")]))
    show(table)
    if any(_is_silent(state) for state in states.values()):
        out.print(
            Text(f"a silent trial counts as interrupted {LEASE_S:.0f} s after its last heartbeat", style="yellow")
        )
    for key, pinned in stored.get("pins", {}).items():
        out.print(Text(f"pinned: {format_value(pinned)} for {key}"))
    for note in sweep.notes:
        out.print(Text(note, style="yellow"))
    if stored.get("search"):
        _searches(out, stored["search"], sweep.searches)
    _failures(out, stored, states)


def _failures(out: Console, stored: Json, states: Mapping[str, TrialState], where: str = "") -> None:
    """Each error once, with its trials and what to do. where: the store's option for the next command."""
    arms = {trial["id"]: arm for arm in stored["arms"] for trial in arm["trials"].values()}
    for group in failures.grouped((trial, state.error) for trial, state in states.items() if state.error):
        first = group.trials[0]
        similar = "" if group.alike else "\n  (the others differ in numbers)"
        out.print(
            Text(f"{_listing(group.trials)} failed: {failures.text(group.error)}{similar}", style="red"),
            Text(f"  (sweeps show {first}{where})", style="dim"),
        )
        arm = arms.get(first, {})
        fix = failures.advice(group.error, arm.get("config", {}), arm.get("set", ()))
        if fix and fix.lower() not in failures.text(group.error).lower():
            out.print(Text(fix))
    if any(state.state == "failed" for state in states.values()):
        out.print(Text("Failed trials are run again with --retry only.", style="dim"))


def _searches(out: Console, spec: dict[str, Any], searches: Sequence[SearchState]) -> None:
    seeds = ", ".join(map(str, spec["tune_seeds"]))
    words = (
        f"search: {spec['trials']} suggestions per arm by {spec['sampler']} on seeds {seeds}, which are not reported"
    )
    out.print(Text(words))
    table = make_table("search of", "suggested", *SUGGESTION_STATES, "best", "epochs saved")
    for search in searches:
        counts = [str(search.counts[state]) for state in SUGGESTION_STATES]
        best = ", ".join(f"{value:.4g}" for value in search.best[0].values) if search.best else ""
        saved = f"{search.saved:,} of {search.full:,}" if search.full else ""
        table.add_row(Text(search.arm), f"{search.asked} of {search.budget}", *counts, best, saved)
    show(table)
    for search in searches:
        if search.failure:
            out.print(Text(f"{search.failure}; {AFTER_FAILURE}", style="red"))


def _cell(state: TrialState, target: int) -> Text:
    word = state.words(target)
    epoch = f" {state.epoch or 0}/{target}" if word in ("running", "interrupted", progress.EXTENDED) else ""
    silent = f", silent for {state.silent_s:.0f} s" if _is_silent(state) else ""
    return Text(word + epoch + silent, style=_STYLES[word])


def _is_silent(state: TrialState) -> bool:
    return state.silent_s is not None and state.silent_s > progress.QUIET_S
