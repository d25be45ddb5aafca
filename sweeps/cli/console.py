"""What the verbs print. Everything shown here is in the store or the plan; nothing is computed but counts."""

from __future__ import annotations

import json
import shlex
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sweeps.errors import SweepError
from sweeps.results import progress
from sweeps.spec.dependencies import PENDING, is_pending, users
from sweeps.spec.plan import Arm, Plan, flatten
from sweeps.store import attempts as stored_attempts
from sweeps.store import checkpoints, layout
from sweeps.store import plans as stored_plans
from sweeps.store import trials as stored_trials
from sweeps.store.base import Store

if TYPE_CHECKING:
    from sweeps.results.cost import Estimate, Line, Speed
    from sweeps.results.progress import TrialState
    from sweeps.search.status import SearchState

TRY_STATES = ("complete", "pruned", "failed", "running")
_FAILED_SHOWN = 20
_LOG_LINES = 30

_STYLES = {"done": "green", "running": "cyan", "failed": "red", "interrupted": "yellow", "queued": "dim"}


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Rich would exit with 1, which here means failed trials; the command ends quietly (`sweeps status | head`)."""
        raise BrokenPipeError


def console() -> Console:
    return _Console(highlight=False, soft_wrap=True)


def show(renderable: Any) -> None:
    """Print something that rich can render."""
    _Console(highlight=False).print(renderable)


def _table(*columns: str) -> Table:
    return Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")


def check(plan: Plan, arms: Sequence[Arm]) -> None:
    """The resolved configuration of each arm, where each value comes from, and its trials."""
    out = console()
    for arm in arms:
        out.print(Text(arm.name, style="bold"), Text(f"compared with {arm.baseline}", style="dim"))
        table = _table("key", "value", "from")
        for key, value in flatten(arm.config).items():
            origin = arm.origins[key]
            style = "dim" if origin == "default" else ""
            table.add_row(key, Text(_short(value)), Text(origin), style=style)
        show(table)
        ids = " ".join(f"{seed}:{trial.id}" for seed, trial in arm.trials.items())
        out.print(Text(f"trials (seed:id)  {ids or 'none yet: a search finds its values first'}\n"))
    out.print(_sizes(plan))


def first(plan: Plan, names: Sequence[str]) -> None:
    """Which sweeps a plan waits for, and that their trials' ids are not known yet."""
    if names:
        console().print(
            Text(f"{plan.name} takes trials from {', '.join(names)}: sweeps run runs what is left of it first")
        )
    if is_pending(plan.sweep):
        console().print(Text(f"trials called {PENDING}... are known then; so are the ids of those that use them"))


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _sizes(plan: Plan) -> Text:
    runs = plan.runs()
    arms = sum(1 for arm in plan.arms if arm.trials)
    words = f"{plan.name}: {arms} arms x {len(plan.sweep.spec.seed_list)} seeds = {len(runs)} different trials"
    waiting = len(plan.arms) - arms
    return Text(words + (f"; {waiting} more arms wait for what a search finds" if waiting else ""))


def plan(work: Any, estimate: Estimate | None = None) -> None:
    """What there is to run, what the store has of it, and what the rest costs. work: a `cluster.driver.driver.Work`."""
    out = console()
    counts = f"{work.cached} done before, {len(work.jobs)} to run"
    out.print(_sizes(work.plan), Text(counts + (f", {len(work.failed)} failed" if work.failed else ""), style="dim"))
    for tuning in work.searches:
        out.print(Text(_budget(tuning)))
    for job in work.failed[:_FAILED_SHOWN]:
        out.print(Text(f"failed before, left alone: {job.label} ({job.trial_id}); --retry tries it again", style="red"))
    if len(work.failed) > _FAILED_SHOWN:
        out.print(Text(f"and {len(work.failed) - _FAILED_SHOWN} more that failed before", style="red"))
    if work.nothing:
        out.print(Text("nothing to run"))
    elif estimate is not None:
        _cost(out, estimate)


def _budget(tuning: Any) -> str:
    """A search in one line. tuning: a `sweeps.search.arm_search.Tuning`."""
    spec, asked = tuning.spec, len(tuning.search.asks())
    seeds = f"{_count(len(spec.tune_seeds), 'seed')} ({', '.join(map(str, spec.tune_seeds))})"
    words = f"search of {tuning.arm.name!r}: {spec.trials} tries by {spec.sampler} x {seeds}"
    stopping = spec.early_stopping.name
    words += f", {stopping} from epoch {spec.early_stopping.grace_epochs}" if stopping != "none" else ""
    return f"{words}; {asked} asked before; its best {spec.report_best} run on the reporting seeds"


def _cost(out: Console, estimate: Estimate) -> None:
    table = _table("left to run", "trials", "epochs", "s/epoch", "time", "from")
    for line in estimate.lines:
        speed = line.speed
        known = ("?", "?", "nothing known") if speed is None else _known(line, speed)
        source = f"{known[2]}, on {speed.hardware}" if speed and len(estimate.hardware) > 1 else known[2]
        epochs = f"{'up to ' if line.most else ''}{line.epochs:,}" if line.trains else "none"
        table.add_row(Text(_some(line.labels)), f"{line.trials:,}", epochs, known[0], known[1], Text(source))
    show(table)
    total = f"{'up to ' if estimate.most else ''}{estimate.epochs:,} epochs"
    unknown = estimate.unknown
    if unknown and not estimate.computing_s:
        out.print(Text(f"{total}; time unknown: sweeps plan FILE --measure", style="bold"))
    else:
        at_once = f"{_count(estimate.at_once, 'trial')} at once ({estimate.where})"
        words = f"{total}, {_time(estimate.computing_s)} of computing; about {_time(estimate.wall_s)} with {at_once}"
        out.print(Text(words, style="bold"))
        if estimate.hardware:
            other = estimate.here and estimate.hardware != [estimate.here]
            elsewhere = f"; here it is {estimate.here}" if other else ""
            out.print(Text(f"times are of {', '.join(estimate.hardware)}{elsewhere}", style="dim"))
        if unknown:
            words = f"without {len(unknown)} of {len(estimate.lines)} kinds of trials, of which nothing is known"
            out.print(Text(f"{words}: sweeps plan FILE --measure", style="yellow"))
    for warning in estimate.warnings:
        out.print(Text(f"warning: {warning}", style="yellow"))


def _known(line: Line, speed: Speed) -> tuple[str, str, str]:
    return (f"{speed.epoch_s:.3g}" if line.trains else "-", _time(line.seconds or 0.0), speed.source)


def _some(names: Sequence[str], most: int = 3) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def outcome(stored: dict[str, Any], states: dict[str, TrialState], store: str) -> None:
    """The last words of a run: how the trials stand, why any failed, what to type next."""
    where = "" if store == "./store" else f" --store {shlex.quote(store)}"
    out = console()
    counts = Counter(state.state for state in states.values())
    counts += Counter({"waiting for a search": sum(1 for arm in stored["arms"] if not arm["trials"])})
    out.print(Text(", ".join(f"{count} {state}" for state, count in counts.items())))
    for trial_id, state in states.items():
        if state.error:
            words = f"{trial_id} failed: {state.error['type']}: {state.error['message']}"
            out.print(
                Text(words.partition("\n")[0], style="red"), Text(f"  (sweeps show {trial_id}{where})", style="dim")
            )
    out.print(Text(f"sweeps report {stored['name']}{where} --out report", style="bold"))


def sweeps(store: Store, names: Sequence[str]) -> None:
    """One line a sweep."""
    newest = {name: plan for name in names if (plan := stored_plans.newest_plan(store, name))}
    if not newest:
        console().print(Text(f"no sweep in {store.uri}; sweeps run FILE starts one"))
        return
    table = _table("sweep", "trials", "done", "running", "failed", "open", "question")
    for name, stored in newest.items():
        states = progress.trial_states(store, stored)
        count = Counter(state.state for state in states.values())
        waiting = count["interrupted"] + count["queued"]
        cells = [name, *map(str, (len(states), count["done"], count["running"], count["failed"], waiting))]
        table.add_row(*cells, Text(stored["question"]))
    show(table)


def status(stored: dict[str, Any], states: dict[str, TrialState], searches: Sequence[SearchState] = ()) -> None:
    """Arms by seeds, each cell with its state; failures with their reason; the searches."""
    out = console()
    out.print(Text(stored["name"], style="bold"), Text(stored["question"], style="dim"))
    table = _table("arm", *(f"seed {seed}" for seed in stored["seeds"]))
    for arm in stored["arms"]:
        cells = []
        for seed in stored["seeds"] if arm["trials"] else ():
            trial = arm["trials"][str(seed)]
            cells.append(_cell(states[trial["id"]], trial["epochs"]))
        table.add_row(Text(arm["name"]), *(cells or [Text("search not finished", style="dim")]))
    show(table)
    for key, pinned in stored.get("pins", {}).items():
        out.print(Text(f"pinned: {_short(pinned)} for {key}"))
    if stored.get("search"):
        _searches(out, stored["search"], searches)
    for trial_id, state in states.items():
        if state.error:
            out.print(Text(f"{trial_id}: {state.error['type']}: {state.error['message']}", style="red"))


def _searches(out: Console, spec: dict[str, Any], searches: Sequence[SearchState]) -> None:
    seeds = ", ".join(map(str, spec["tune_seeds"]))
    out.print(Text(f"search: {spec['trials']} tries an arm by {spec['sampler']} on seeds {seeds}, which never report"))
    table = _table("search of", "asked", *TRY_STATES, "best", "epochs saved")
    for search in searches:
        counts = [str(search.counts[state]) for state in TRY_STATES]
        best = ", ".join(f"{value:.4g}" for value in search.best[0].values) if search.best else ""
        saved = f"{search.saved:,} of {search.full:,}" if search.full else ""
        table.add_row(Text(search.arm), f"{search.asked} of {search.budget}", *counts, best, saved)
    show(table)


def _cell(state: TrialState, target: int) -> Text:
    word = state.at(target)
    epoch = f" {state.epoch or 0}/{target}" if word in ("running", "interrupted") else ""
    return Text(word + epoch, style=_STYLES[word])


def trial(store: Store, prefix: str) -> None:
    """One trial whole: configuration, attempts, records, provenance."""
    trial_id = find_trial(store, prefix)
    out = console()
    body = stored_trials.read_trial(store, trial_id)
    out.print(Text(f"trial {trial_id}", style="bold"), Text(f"task {body['task']}, seed {body['seed']}", style="dim"))
    configuration = _table("key", "value")
    for key, value in flatten(body["config"]).items():
        configuration.add_row(key, Text(_short(value)))
    show(configuration)
    for name, key in users(store, trial_id):
        out.print(Text(f"{name} takes it for {key}"))
    _attempts(store, trial_id, out)
    _log(store, trial_id, out)
    for name in sorted(store.children(f"trials/{trial_id}/result"), key=lambda n: int(n.removesuffix(".json"))):
        _result(layout.get_json(store, f"trials/{trial_id}/result/{name}"), out)


def find_trial(store: Store, prefix: str) -> str:
    """The whole id of a trial of which the beginning is given. SweepError where none, or several, begin so."""
    ids = [name for name in store.children("trials") if name.startswith(prefix)]
    if len(ids) != 1:
        why = "several trials begin so" if ids else "no trial begins so"
        raise SweepError(
            f"trial {prefix!r}", why, ", ".join(ids[:8]) or "an id from `sweeps status NAME`", "one whole id"
        )
    return ids[0]


def _attempts(store: Store, trial_id: str, out: Console) -> None:
    table = _table("attempt", "began", "on", "ended", "checkpoints")
    saved = checkpoints.checkpoints(store, trial_id)
    errors = []
    for attempt in stored_attempts.attempts(store, trial_id):
        claim = layout.get_json(store, attempt.key("attempts", f"{attempt.number:04d}.json")) or {}
        end = layout.get_json(store, attempt.end_key) or {"state": "-", "error": None}
        host = claim.get("provenance", {}).get("hardware", {}).get("host", "?")
        epochs = ", ".join(str(epoch) for name, epoch in saved if name == attempt.name)
        table.add_row(attempt.name, _moment(claim.get("claimed_at")), host, end["state"], epochs)
        if end["error"]:
            errors.append(
                f"{attempt.name}: {end['error']['type']}: {end['error']['message']}\n{end['error']['traceback']}"
            )
    show(table)
    for error in errors:
        out.print(Text(error, style="red"))


def _log(store: Store, trial_id: str, out: Console) -> None:
    """The end of the newest attempt's log."""
    attempt = stored_attempts.newest_attempt(store, trial_id)
    lines = stored_attempts.read_log(store, attempt).splitlines() if attempt else []
    if attempt and lines:
        rest = f"the last {_LOG_LINES} of {len(lines)} lines" if len(lines) > _LOG_LINES else ""
        out.print(Text(f"log of attempt {attempt.name}", style="bold"), Text(rest, style="dim"))
        out.print(Text("\n".join(lines[-_LOG_LINES:])))


def _moment(seconds: float | None) -> str:
    return "?" if seconds is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _result(result: dict[str, Any] | None, out: Console) -> None:
    assert result is not None
    history = result["history"]
    last = {name: values[-1] for name, values in history.items()}
    minutes = (result["ended_at"] - result["started_at"]) / 60
    out.print(
        Text(f"result at epoch {result['epochs']}", style="bold"), f"{minutes:.1f} min, attempt {result['attempt']}"
    )
    for note in result.get("notes", []):
        out.print(Text(note, style="dim"))
    records = _table("epoch", *(name for name in _shown(history)))
    for row in _thinned(len(history["epoch"])):
        cells = (history[name][row] for name in _shown(history))
        records.add_row(str(history["epoch"][row]), *("" if cell is None else f"{cell:.5g}" for cell in cells))
    show(records)
    final = _table("column", "at the end")
    for name, value in last.items():
        final.add_row(name, "" if value is None else f"{value:.6g}")
    show(final)
    provenance = _table("provenance", "")
    for key, value in flatten({**result["facts"], **result["provenance"]}).items():
        provenance.add_row(key, Text(_short(value)))
    show(provenance)


def _shown(history: dict[str, Any]) -> list[str]:
    wanted = ("train/loss", "val/psnr_db", "val/l2", "test/psnr_db", "sys/time_s", "sys/images_per_s")
    return [name for name in wanted if name in history]


def _thinned(rows: int, most: int = 20) -> list[int]:
    """Row numbers to print: all of a short history, else evenly spread ones with the last."""
    if rows <= most:
        return list(range(rows))
    return sorted({round(i * (rows - 1) / (most - 1)) for i in range(most)})
