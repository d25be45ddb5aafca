"""Users' tasks as sweep files name them: options, columns, identity, and what mistakes get."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainables import own_catalogue, registry, schema
from trainables.code import cache
from trainables.errors import TrialError

Write = Callable[[dict[str, str]], Path]
COLUMNS = "metrics = {'val/x': 'max', 'test/x': 'max'}\n"
TASK = COLUMNS + "def train(context, lr: float = 0.1, steps: int = 3):\n    yield {}\n"
WITH_CONFIG = (
    COLUMNS
    + "from pydantic import BaseModel, Field\nclass Config(BaseModel):\n"
    + "    lr: float = Field(0.1, gt=0, description='a')\n"
    + "def learn(config, context):\n    yield {}\n"
)


def resolved(write: Write, text: str, name: str = "./t.py", **base: Any) -> dict[str, Any]:
    return schema.resolve(name, base, write({"t.py": text}))


def identity(config: dict[str, Any]) -> dict[str, Any]:
    return schema.identity(next(iter(config["user_code"].values())), config, 0)


@pytest.mark.parametrize(("text", "parameters"), [(TASK, {"lr": 0.2, "steps": 3}), (WITH_CONFIG, {"lr": 0.2})])
def test_keys_of_the_base_are_options_and_resolving_again_changes_nothing(
    write: Write, text: str, parameters: dict[str, Any]
) -> None:
    found = resolved(write, text, lr=0.2, epochs=4)
    assert found["parameters"] == parameters
    assert found["metrics"] == {"val/x": "max", "test/x": "max"}
    name = found["user_code"]["./t.py"]
    assert schema.resolve(name, found, None)["parameters"] == parameters
    assert schema.trains(found)
    assert identity(found) == {"task": name, "seed": 0, "parameters": parameters, "epochs": 4}


def test_the_code_is_part_of_the_identity_and_needed_where_it_runs(write: Write) -> None:
    first = resolved(write, TASK)
    assert identity(resolved(write, "# the same\n" + TASK)) == identity(first)
    assert identity(resolved(write, TASK.replace("0.1", "0.2"), lr=0.1)) != identity(first)
    name = first["user_code"]["./t.py"]
    for folder in cache.cache_folder().iterdir():  # another machine
        for file in folder.glob("*.*"):
            file.unlink()
    assert schema.needs(name, first, 0).code == (name.partition("#")[2],)
    assert schema.identity(name, first, 0) == identity(first)


def test_epochs_are_no_part_of_the_identity_if_the_file_extends(write: Write) -> None:
    configs = [resolved(write, f"extend = True\n{TASK}", epochs=epochs) for epochs in (2, 5)]
    assert identity(configs[0]) == identity(configs[1])


def test_a_file_option_is_kept_with_the_code(write: Write) -> None:
    folder = write({"weights.bin": "12"})
    text = COLUMNS + "from pathlib import Path\ndef train(context, weights: Path):\n    yield {}\n"
    found = resolved(write, text, weights="weights.bin")
    pinned = found["parameters"]["weights"]
    assert pinned.startswith("weights.bin#")
    assert found["user_code"]["weights.bin"] == pinned
    (folder / "weights.bin").write_text("13")
    assert resolved(write, text, weights="weights.bin")["parameters"]["weights"] != pinned


def test_two_tasks_of_a_file_have_columns_of_their_own(write: Write) -> None:
    text = "".join(
        f"def {name}(context):\n    yield {{}}\n{name}.metrics = {{'val/{name}': 'min'}}\n" for name in ("one", "two")
    )
    assert resolved(write, text, "./t.py:two")["metrics"] == {"val/two": "min"}
    with pytest.raises(TrialError) as error:
        resolved(write, text)
    assert "it defines one, two, and the name does not say which is meant" in error.value.why
    assert error.value.fix == "name one of them: ./t.py:one"


def test_it_is_described(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(
        write(
            {"t.py": WITH_CONFIG.replace("def learn(config, context):", "def learn(config, context):\n    'Learn x.'")}
        )
    )
    (entry,) = own_catalogue.entries("./t.py")
    assert (entry.kind, entry.meaning, entry.use) == ("tasks", "Learn x.", "task: ./t.py")
    assert [option.key for option in entry.options] == ["lr", "epochs", "reads"]
    assert dict(entry.facts)["columns"] == "val/x (max), test/x (max)"


def test_a_file_without_torch_is_checked_without_torch(write: Write) -> None:
    folder = write({"t.py": TASK})
    code = (
        "import sys; from pathlib import Path; from trainables import schema\n"
        f"schema.resolve('./t.py', {{}}, Path({str(folder)!r})); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False", done.stderr


def test_the_names_of_our_tasks_are_those_that_sweep_files_know() -> None:
    from sweeps.spec.schema import TASKS

    assert sorted(TASKS) == sorted(registry.names("task"))


WRONG = {
    "": "it defines no function with a parameter `context`",
    "def train(context): yield {}": "it declares no `metrics`",
    "metrics = ['val/x']\ndef train(context): yield {}": "`metrics` is ['val/x']",
    "metrics = {'train/x': 'max'}\ndef train(context): yield {}": "`metrics` has 'train/x': 'max'",
    "metrics = {'val/x': 'up'}\ndef train(context): yield {}": "`metrics` has 'val/x': 'up'",
    COLUMNS + "def train(context): return {}": "train does not yield",
    COLUMNS + "def train(config, context): yield {}": "the module has no class `Config`",
    COLUMNS + "Config = 3\ndef train(config, context): yield {}": "`Config` is of type int",
    COLUMNS + "def train(context, epochs: int = 3): yield {}": "an option cannot be called 'epochs'",
    COLUMNS + "def train(context, name: str = ''): yield {}": "an option cannot be called 'name'",
    WITH_CONFIG.replace("config, context", "context"): "the file defines `Config`, and the function does not take it",
    WITH_CONFIG.replace(
        "config, context", "config, context, lr=2"
    ): "the function has a parameter 'lr' beside `config`",
    WITH_CONFIG.replace("Field(0.1", "Field(-1.0"): "its default is not allowed",
    "extend = 'yes'\n" + TASK: "`extend` is 'yes'",
    TASK + "1 / 0\n": "importing it raised ZeroDivisionError",
    TASK + "import sys\nsys.exit(3)\n": "importing it raised SystemExit: 3",
    TASK + "def (\n": "does not parse",
    TASK + "import no_such_package\n": "imports no_such_package, which is neither beside the file nor installed",
}


@pytest.mark.parametrize(("text", "says"), WRONG.items())
def test_what_is_wrong_is_said_when_a_sweep_is_checked(write: Write, text: str, says: str) -> None:
    with pytest.raises(TrialError) as error:
        resolved(write, text)
    assert says in error.value.why
    assert all((error.value.given, error.value.allowed, error.value.fix))


@pytest.mark.parametrize(
    ("base", "says"),
    [
        ({"lrr": 0.1}, "there is no such name"),
        ({"lr": "high"}, "input should be a valid number"),
        ({"epochs": 0}, "input should be greater than or equal to 1"),
        ({"metrics": {"val/y": "max"}}, "the file of the task declares it"),
        ({"extend": True}, "the file of the task declares it"),
        ({"reads": "images"}, "input should be a valid list"),
    ],
)
def test_a_wrong_key_is_refused(write: Write, base: dict[str, Any], says: str) -> None:
    with pytest.raises(TrialError) as error:
        resolved(write, TASK, **base)
    assert says in error.value.why
    assert error.value.key == next(iter(base))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("./gone.py", "there is no file"),
        ("./t.py:gone", "it does not define gone"),
        ("./t.py:metrics", "metrics is not a function"),
        ("impaint", "there is no such name"),
        ("no_such_package.tasks:train", "there is no module no_such_package"),
    ],
)
def test_a_wrong_name_is_refused(write: Write, name: str, says: str) -> None:
    with pytest.raises(TrialError) as error:
        resolved(write, TASK, name)
    assert says in error.value.why
