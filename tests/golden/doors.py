"""All that the golden tests import from the package; everything else goes through the command line and files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any


def command(arguments: Sequence[str]) -> int:
    """Run `sweeps ...` in this process; its exit code."""
    from sweeps.cli.main import main

    return main(arguments)


def model_names() -> set[str]:
    """Everything that `model.name` may be, over all tasks."""
    from trainables import registry

    return {name for kind in registry.MODELS for name in registry.names(kind)}


def mask_names() -> set[str]:
    """Everything that `mask.name` may be."""
    from trainables import registry

    return set(registry.names("mask"))


def loss_names() -> set[str]:
    """Every loss term of the tasks `inpaint` and `detect`."""
    from trainables import registry
    from trainables.inpaint import config

    return {
        *registry.names("loss"),
        *config.adversarial_names(),
        *config.discriminator_names(),
        *config.network_names(),
        *registry.names("detection_loss"),
    }


def trials_of(file: Path, tiny: bool) -> Iterator[tuple[str, list[str], dict[str, Any]]]:
    """For every arm of a sweep file: its name, the ids of its trials, its resolved configuration."""
    from sweeps.spec import dependencies, expand, loader
    from trainables import schema

    sweep = dependencies.pin(loader.load(file, "tiny" if tiny else "full"), file.parent, None, pending=True)
    for arm in expand.expand(sweep, schema).arms:
        yield arm.name, [trial.id for trial in arm.trials.values()], arm.config
