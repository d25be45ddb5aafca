"""`sweeps report --redraw`: every arm's pictures of the test images on which the arms disagree."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeps.store.base import Store


def redraw(store: Store, built: Any, data_root: str | None) -> None:
    """Fill the disputed images by each arm's final checkpoint, and keep the strips where the report looks for them.

    built: an `analysis.report.content.Report`.
    What was drawn before, of the same images and trials, stays. An arm without a checkpoint of its last epoch is named
    and left out.
    """
    from analysis.report.sections import images
    from sweeps.store import checkpoints
    from sweeps.store import trials as stored_trials
    from trainables.inference import redraw
    from trainables.training.session import Machine

    study, found = built.study, built.images
    if found is None or found.disputed is None:
        print(f"{study.name}: nothing to redraw, as no two arms have the values of single test images")
        return
    machine = Machine(data_root=Path(data_root).resolve() if data_root else None)
    folders = {arm: images.redrawn_folder(study, arm, seed, found.disputed.images) for arm, seed in found.seeds.items()}
    drawn = store.exists_many(f"{folder}/composite.png" for folder in folders.values())
    made = 0
    for arm, folder in folders.items():
        if f"{folder}/composite.png" in drawn:
            continue
        trial, epochs = study.arm(arm).trials[found.seeds[arm]]
        saved = checkpoints.latest_checkpoint(store, trial, epochs) if study.arm(arm).trains else None
        if study.arm(arm).trains and (saved is None or saved.epoch != epochs):
            print(f"{arm}: not drawn, as the store has no checkpoint of epoch {epochs} of trial {trial}")
            continue
        body = stored_trials.read_trial(store, trial)
        config = {**body["config"], "epochs": epochs, "seed": body["seed"]}
        strips = redraw.strips(config, saved.files if saved else None, found.disputed.images, machine)
        for name in ("truth.png", "damaged.png", "composite.png"):  # the one that is looked for comes last
            store.put(f"{folder}/{name}", strips[name])
        made += 1
    print(f"{study.name}: {len(found.disputed.images)} disputed images drawn by {made} arms, {len(drawn)} had them")
