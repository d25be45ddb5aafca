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

from sweeps import ledger, progress
from sweeps.errors import SweepError
from sweeps.plan import Arm, Plan, flatten
from sweeps.store import Store

if TYPE_CHECKING:
    from sweeps.progress import TrialState

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
        out.print(Text(f"trials (seed:id)  {ids}\n"))
    out.print(_sizes(plan))


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _sizes(plan: Plan) -> Text:
    runs = plan.runs()
    seeds = len(plan.sweep.spec.seed_list)
    return Text(f"{plan.name}: {len(plan.arms)} arms x {seeds} seeds = {len(runs)} different trials")


def plan(work: Any) -> None:
    """What there is to run and what the store has of it. work: a `cluster.drive.Work`."""
    out = console()
    out.print(_sizes(work.plan), Text(f"{work.cached} done before, {len(work.jobs)} to run", style="dim"))
    for tuning in work.searches:
        asked, spec = len(tuning.search.asks()), tuning.spec
        words = f"search of {tuning.arm.name!r}: {spec.trials} tries by {spec.sampler} x {len(spec.tune_seeds)} seeds"
        out.print(Text(f"{words}, {asked} asked before"))
    for job in work.failed:
        out.print(Text(f"failed before, left alone: {job.label} ({job.trial_id}); --retry tries it again", style="red"))
    if work.nothing:
        out.print(Text("nothing to run"))


def outcome(stored: dict[str, Any], states: dict[str, TrialState], store: str) -> None:
    """The last words of a run: how the trials stand, why any failed, what to type next."""
    where = "" if store == "./store" else f" --store {shlex.quote(store)}"
    out = console()
    counts = Counter(state.state for state in states.values())
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
    newest = {name: plans[-1] for name in names if (plans := ledger.read_plans(store, name))}
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


def status(stored: dict[str, Any], states: dict[str, TrialState]) -> None:
    """Arms by seeds, each cell with its state; failures with their reason."""
    out = console()
    out.print(Text(stored["name"], style="bold"), Text(stored["question"], style="dim"))
    table = _table("arm", *(f"seed {seed}" for seed in stored["seeds"]))
    for arm in stored["arms"]:
        cells = []
        for seed in stored["seeds"]:
            trial = arm["trials"][str(seed)]
            cells.append(_cell(states[trial["id"]], trial["epochs"]))
        table.add_row(Text(arm["name"]), *cells)
    show(table)
    for trial_id, state in states.items():
        if state.error:
            out.print(Text(f"{trial_id}: {state.error['type']}: {state.error['message']}", style="red"))


def _cell(state: TrialState, target: int) -> Text:
    word = state.at(target)
    epoch = f" {state.epoch or 0}/{target}" if word in ("running", "interrupted") else ""
    return Text(word + epoch, style=_STYLES[word])


def trial(store: Store, prefix: str) -> None:
    """One trial whole: configuration, attempts, records, provenance."""
    trial_id = _find(store, prefix)
    out = console()
    body = ledger.read_trial(store, trial_id)
    out.print(Text(f"trial {trial_id}", style="bold"), Text(f"task {body['task']}, seed {body['seed']}", style="dim"))
    configuration = _table("key", "value")
    for key, value in flatten(body["config"]).items():
        configuration.add_row(key, Text(_short(value)))
    show(configuration)
    _attempts(store, trial_id, out)
    for name in sorted(store.children(f"trials/{trial_id}/result"), key=lambda n: int(n.removesuffix(".json"))):
        _result(ledger.get_json(store, f"trials/{trial_id}/result/{name}"), out)


def _find(store: Store, prefix: str) -> str:
    ids = [name for name in store.children("trials") if name.startswith(prefix)]
    if len(ids) != 1:
        why = "several trials begin so" if ids else "no trial begins so"
        raise SweepError(
            f"trial {prefix!r}", why, ", ".join(ids[:8]) or "an id from `sweeps status NAME`", "one whole id"
        )
    return ids[0]


def _attempts(store: Store, trial_id: str, out: Console) -> None:
    table = _table("attempt", "began", "on", "ended", "checkpoints")
    saved = ledger.checkpoints(store, trial_id)
    errors = []
    for attempt in ledger.attempts(store, trial_id):
        claim = ledger.get_json(store, attempt.key("attempts", f"{attempt.number:04d}.json")) or {}
        end = ledger.get_json(store, attempt.end_key) or {"state": "-", "error": None}
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
