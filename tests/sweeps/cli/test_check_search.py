"""A search that cannot run is refused by every verb with the same words, before anything is planned or stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from sweeps import api
from sweeps.search.history import SAMPLERS
from tests.sweeps.cli.test_cli import Command, command

__all__ = ["command"]
BASE = {
    "name": "searching",
    "task": "inpaint",
    "base": {
        "data": {"name": "cifar10"},
        "mask": {"name": "centre", "fraction": 0.15},
        "model": {"name": "vanilla_autoencoder"},
        "loss": {"l2": 1.0, "l1": 0.5},
        "optimiser": {"name": "adam", "lr": 1.0e-3},
        "batch": 8,
        "epochs": 1,
    },
    "seeds": 1,
}
SEARCH = {"space": {"batch": {"int": [2, 8]}}, "trials": 3, "metric": "val/psnr_db", "goal": "max"}
BROKEN = {
    "a goal": {"goal": "low"},
    "a goal and a sampler": {"goal": "low", "sampler": "grid"},
    "a sampler": {"sampler": "TPE"},
    "goals": {"metric": ["val/psnr_db", "val/l2"], "report_best": 0},
    "cmaes with two objectives": {
        **{"metric": ["val/psnr_db", "val/l2"], "goal": ["max", "min"], "report_best": 0, "sampler": "cmaes"}
    },
    "cmaes without numbers": {"space": {"optimiser.name": {"choice": ["adam", "sgd"]}}, "sampler": "cmaes"},
    "a point": {"points": [{"batch": 64}]},
}
SPACES = {
    "no choices": {"batch": {"choice": []}},
    "choices that are no list": {"batch": {"choice": 3}},
    "one choice twice": {"batch": {"choice": [4, 4]}},
    "a log scale with 0": {"batch": {"int": [0, 16], "log": True}},
    "a log scale that is negative": {"optimiser.lr": {"float": [-1.0, 1.0], "log": True}},
    "ends in the wrong order": {"batch": {"int": [8, 2]}},
    "equal ends": {"batch": {"int": [8, 8]}},
    "one end": {"batch": {"int": [8]}},
    "ends that are text": {"optimiser.lr": {"float": ["low", "high"]}},
    "a float for an int": {"batch": {"int": [2.5, 8]}},
    "a step of 0": {"batch": {"int": [2, 8], "step": 0}},
    "a step that is too large": {"batch": {"int": [2, 8], "step": 100}},
    "an unknown kind": {"batch": {"integer": [2, 8]}},
    "two kinds": {"batch": {"int": [2, 8], "float": [0, 1]}},
    "an unknown option": {"batch": {"int": [2, 8], "scale": "log"}},
    "no mapping": {"batch": [2, 8]},
    "nothing": {},
    "an unknown key": {"optimiser.foo": {"float": [0, 1]}},
    "an unknown section": {"foo.bar": {"float": [0, 1]}},
    "a value that is too small": {"batch": {"int": [0, 8]}},
    "a value of the wrong type": {"batch": {"float": [2.5, 8.0]}},
    "a name that is not there": {"model.name": {"choice": ["unet", "vanilla_autoencoder"]}},
    "a condition on nothing": {"batch": {"int": [2, 8], "when": {"model.name": "unet"}}},
    "keys that overlap": {"optimiser": {"choice": [{"name": "sgd"}]}, "optimiser.lr": {"float": [0.1, 1.0]}},
    "a simplex of one": {"loss": {"simplex": ["l2"]}},
    "a ratio of three": {"loss": {"ratio": ["l2", "l1", "tv"]}},
}
BROKEN |= {name: {"space": space} for name, space in SPACES.items()}


def written(folder: Path, search: dict[str, Any]) -> str:
    file = folder / "searching.yaml"
    file.write_text("# Which is best?\n" + yaml.safe_dump({**BASE, "search": {**SEARCH, **search}}))
    return str(file)


@pytest.mark.parametrize("what", BROKEN)
def test_check_refuses_what_cannot_be_searched(command: Command, tmp_path: Path, what: str) -> None:
    said = command("check", written(tmp_path, BROKEN[what]))
    assert said.code == 2, "before, `check` accepted it, and `plan` did not"
    assert "search" in said.err
    assert all(part in said.err for part in ("why:", "allowed:", "do:"))


@pytest.mark.parametrize("what", ["a goal and a sampler", "no choices", "an unknown key"])
def test_every_verb_refuses_it_with_the_same_words(
    command: Command, tmp_path: Path, data_root: Path, what: str
) -> None:
    file, store = written(tmp_path, BROKEN[what]), tmp_path / "store"
    places = ["--store", str(store), "--data", str(data_root)]
    said = [command("check", file), command("plan", file, *places), command("run", file, *places)]
    assert [one.code for one in said] == [2, 2, 2]
    assert len({one.err for one in said}) == 1
    assert not store.exists()
    if what == "a goal and a sampler":  # the others are beyond what the JSON schema says of a space
        assert not Draft7Validator(api.json_schema()).is_valid(yaml.safe_load(Path(file).read_text()))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_is_accepted(command: Command, tmp_path: Path, sampler: str) -> None:
    assert command("check", written(tmp_path, {"sampler": sampler})).code == 0
