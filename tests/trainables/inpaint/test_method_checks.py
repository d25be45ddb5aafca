"""Faulty code of a method: each mistake is an error in four parts that names the file and line, and no epoch is lost.

The methods are files written for the test and loaded from there.
"""

from __future__ import annotations

import importlib.util
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainables import registry, schema
from trainables.config.code_checks import check_config, check_network, source_place
from trainables.config.model_sections import ModelConfig
from trainables.errors import TrialError
from trainables.inpaint import method_checks
from trainables.inpaint import task as inpaint
from trainables.inpaint.batch import Batch
from trainables.training import checkpoint
from trainables.training.distributed import Workers
from trainables.training.loop import fit
from trainables.training.precision import Precision
from trainables.training.session import Goal, Machine, MemorySession

Load = Callable[[str], ModuleType]
Train = Callable[..., MemorySession]

HEAD = """
from typing import ClassVar

import torch
from pydantic import BaseModel, Field
from torch import nn

from trainables.config.model_sections import ModelConfig
from trainables.inpaint.method import Regression, TrainingOutput


"""
WHOLE = """
class Config(ModelConfig):
    width: int = Field(4, ge=1, description="channels")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, damaged_b3hw, mask_b1hw):
        image_b3hw = torch.sigmoid(self.last(torch.cat([damaged_b3hw, mask_b1hw], 1)))
        return image_b3hw


def build(config, size):
    return Net()
"""
"""A method without a mistake, to which each test makes one."""
OWN = '''
class Own:
    """A method that is no subclass of ours."""

    parameters = 1

    def __init__(self):
        self.value = torch.zeros(())

    def training_step(self, batch):
        return {"loss": (self.value.clone(), batch.part.images)}

    def fill(self, image_b3hw, mask_b1hw, tokens_bt=None, generator=None):
        return torch.zeros_like(image_b3hw)

    def state_dict(self):
        return {"value": self.value}

    def load_state_dict(self, state):
        self.value = state["value"]

    def inference_weights(self):
        return {"value": self.value}


def method(setup):
    return Own()
'''


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Write a module into the working directory, and import it from there."""
    monkeypatch.chdir(tmp_path)

    def load(text: str) -> ModuleType:
        file = tmp_path / "mine.py"
        file.write_text(textwrap.dedent(text))
        spec = importlib.util.spec_from_file_location("mine", file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "mine", module)
        with monkeypatch.context() as patched:  # a file of the same size and second would be read from old bytecode
            patched.setattr(sys, "dont_write_bytecode", True)
            spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def train(load: Load, monkeypatch: pytest.MonkeyPatch, data_root: Path) -> Train:
    """Train the method `mine` of a text for two epochs of two steps."""
    find, names = registry.find, registry.names

    def train(text: str, **keys: Any) -> MemorySession:
        module = load(text)
        code = registry.Code("method", "mine", check_config(module, "mine"), "mine")
        monkeypatch.setattr(registry, "find", lambda kind, name: code if name == "mine" else find(kind, name))
        monkeypatch.setattr(registry, "names", lambda kind: (*names(kind), *["mine"] * (kind == "method")))
        data = {"name": "cifar10", "size": 8, "train": 8, "val": 4, "test": 4}
        config = {"data": data, "mask": {"name": "lines"}, "model": {"name": "mine"}, "batch": 4, "epochs": 2, **keys}
        trial = {**schema.resolve("inpaint", config), "seed": 0}
        session = MemorySession(Goal(trial["epochs"]), Machine(data_root=data_root))
        fit(inpaint, trial, session)
        return session

    return train


def line_of(text: str, words: str) -> int:
    """The line of a text that has these words, counted from 1."""
    return next(number for number, line in enumerate(text.splitlines(), 1) if words in line)


def assert_explained(error: TrialError, place: str, why: str) -> None:
    assert place in error.given
    assert why in error.why
    assert error.allowed
    assert error.fix
    assert error.key == "model.name"


def changed(old: str, new: str) -> str:
    assert old in WHOLE
    return HEAD + WHOLE.replace(old, new)


# --- Config -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "why", "fix"),
    [
        ("class Config:\n    width = 4\n", "no subclass of ModelConfig", "class Config(ModelConfig)"),
        ("class Config(BaseModel):\n    width: int = 4\n", "no subclass of ModelConfig", "class Config(ModelConfig)"),
        ("Config = {'width': 4}\n", "of type dict", "class Config(ModelConfig)"),
        ("class Config(ModelConfig):\n    name: str = 'x'\n", "`name` names the model", "rename"),
        (
            "class Config(ModelConfig):\n    terms: ClassVar = ('kl')\n",
            "not of type tuple",
            "ClassVar[tuple[str, ...]]",
        ),
        ("class Config(ModelConfig):\n    width: int = 'wide'\n", "default is not allowed", "change the default"),
        ("class Config(ModelConfig):\n    width: int = Field(0, ge=1)\n", "greater than or equal to 1", "bounds"),
        ("class Config(ModelConfig):\n    act: object = nn.ReLU\n", "its default is of type type", "`build`"),
    ],
)
def test_a_config_that_cannot_be_used(load: Load, text: str, why: str, fix: str) -> None:
    module = load(HEAD + text)
    with pytest.raises(TrialError) as caught:
        check_config(module, "mine")
    assert_explained(caught.value, f"(mine.py:{line_of(HEAD + text, text.splitlines()[0])})", why)
    assert fix in caught.value.fix


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("x = 1\n", "class Config(ModelConfig): ..."),
        ("class Options(ModelConfig):\n    pass\n", "rename class Options to Config"),
    ],
)
def test_a_module_without_config(load: Load, text: str, fix: str) -> None:
    module = load(HEAD + text)
    with pytest.raises(TrialError) as caught:
        check_config(module, "mine")
    assert_explained(caught.value, "Config of mine (mine.py:1)", "no class `Config`")
    assert caught.value.fix == fix


@pytest.mark.filterwarnings("ignore:Field name:UserWarning")
def test_a_constant_of_the_base_is_no_field(load: Load) -> None:
    text = HEAD + "class Config(ModelConfig):\n    terms: tuple[str, ...] = ('kl',)\n"
    module = load(text)
    with pytest.raises(TrialError) as caught:
        check_config(module, "mine")
    place = f"`terms` in the Config of mine (mine.py:{line_of(text, 'class Config')})"
    assert_explained(caught.value, place, "it is a field")
    assert caught.value.fix == "terms: ClassVar[tuple[str, ...]] = ..."


def test_a_field_may_be_required(load: Load) -> None:
    module = load(HEAD + "class Config(ModelConfig):\n    path: str\n    width: int = 4\n")
    assert check_config(module, "mine") is module.Config


def test_the_registry_checks_every_config(monkeypatch: pytest.MonkeyPatch) -> None:
    from trainables.inpaint.methods.mean_fill import config

    monkeypatch.delattr(config, "Config")
    with pytest.raises(TrialError, match=r"mean_fill.*config\.py:1"):
        registry.find.__wrapped__("method", "mean_fill")


# --- build and method -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "line", "why"),
    [
        ("def build(", "def make(", "", "no function `build`"),
        ("def build(config, size)", "def build(config)", "def build", "it is `build(config)`"),
        ("def build(config, size)", "def build(config, size, depth)", "def build", "`build(config, size)`"),
        ("    return Net()\n", "    return Net()\n\n\nbuild = 3\n", "build = 3", "of type int"),
        ("    return Net()\n", "    return Net()\n\n\ndef method():\n    pass\n", "def method", "`method(setup)`"),
    ],
)
def test_a_module_without_its_functions(load: Load, old: str, new: str, line: str, why: str) -> None:
    text = changed(old, new)
    module = load(text)
    with pytest.raises(TrialError) as caught:
        check_network(module, "mine")
    assert_explained(caught.value, f"(mine.py:{line_of(text, line) if line else 1})", why)


def test_the_functions_are_checked_before_the_trials(train: Train) -> None:
    text = changed("def build(", "def make(")
    with pytest.raises(TrialError, match="no function `build`"):
        train(text)
    with pytest.raises(TrialError, match="no function `build`"):
        method_checks.check_code("mine", None)
    config = schema.resolve(
        "inpaint", {"data": {"name": "cifar10"}, "mask": {"name": "lines"}, "model": {"name": "mine"}}
    )
    assert (method_checks.check_code, "mine") in inpaint.checks(config)


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        (changed("    return Net()", "    Net()"), "def build", "it returned None"),
        (
            HEAD + WHOLE + "\n\ndef method(setup):\n    pass\n",
            "def method",
            "returned None, which has no training_step",
        ),
        (HEAD + WHOLE + OWN.replace("def fill", "def filled"), "def method", "returned Own, which has no fill"),
        (HEAD + WHOLE + OWN.replace("    parameters = 1\n", ""), "def method", "has no parameters"),
    ],
)
def test_a_function_that_returns_something_else(train: Train, text: str, line: str, why: str) -> None:
    with pytest.raises(TrialError) as caught:
        train(text)
    assert_explained(caught.value, f"(mine.py:{line_of(text, line)})", why)


# --- outputs ----------------------------------------------------------------------------------------------------------

FAULTS = {
    "image_b3hw[:, :1]": "the shape (2, 1, 8, 8) for images of shape (2, 3, 8, 8)",
    "image_b3hw[..., :4]": "the shape (2, 3, 8, 4) for images of shape (2, 3, 8, 8)",
    "image_b3hw, mask_b1hw": "it returned tuple",
    "None": "it returned None",
    "image_b3hw.double()": "it returned torch.float64 for images of torch.float32",
    "image_b3hw.bfloat16()": "it returned torch.bfloat16",
    "image_b3hw.to('meta')": "it returned a tensor on meta for images on cpu",
}


@pytest.mark.parametrize("returned", FAULTS)
def test_an_output_unlike_the_images_ends_the_first_step(train: Train, returned: str) -> None:
    text = changed("return image_b3hw", f"return {returned}")
    with pytest.raises(TrialError) as caught:
        train(text)
    place = f"Net.forward (mine.py:{line_of(text, 'def forward')})"
    assert_explained(caught.value, place, FAULTS[returned].replace("(2, ", "(4, "))


@pytest.mark.parametrize("returned", FAULTS)
def test_an_output_that_is_wrong_in_evaluation_mode_alone(train: Train, returned: str) -> None:
    """It ends the trial in the first step, and not after an epoch."""
    text = changed("return image_b3hw", f"return image_b3hw if self.training else ({returned})")
    text = text.replace(
        "def forward(self, damaged_b3hw, mask_b1hw):",
        "def forward(self, damaged_b3hw, mask_b1hw):\n        STEPS.append(self.training)",
    )
    with pytest.raises(TrialError) as caught:
        train(text + "\n\nSTEPS = []\n")
    assert_explained(caught.value, f"Net.forward (mine.py:{line_of(text, 'def forward')})", FAULTS[returned])
    assert sys.modules["mine"].STEPS == [True, False]


def test_an_exception_in_evaluation_mode_ends_the_first_step(train: Train) -> None:
    text = changed("return image_b3hw", "STEPS.append(1)\n        assert self.training\n        return image_b3hw")
    with pytest.raises(AssertionError):
        train(text + "\n\nSTEPS = []\n")
    assert len(sys.modules["mine"].STEPS) == 2


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_first_output_that_is_not_finite(train: Train, value: str) -> None:
    text = changed("return image_b3hw", f"return image_b3hw * float('{value}')")
    with pytest.raises(TrialError) as caught:
        train(text)
    assert_explained(caught.value, f"Net.forward (mine.py:{line_of(text, 'def forward')})", "NaN or infinite")


def test_a_fill_without_training_that_is_not_finite(train: Train) -> None:
    text = HEAD + (
        "class Config(ModelConfig):\n    trains: ClassVar[bool] = False\n\n\n"
        "class Net(nn.Module):\n    def forward(self, damaged_b3hw, mask_b1hw):\n        return damaged_b3hw / 0\n\n\n"
        "def build(config, size):\n    return Net()\n"
    )
    with pytest.raises(TrialError) as caught:
        train(text)
    assert_explained(caught.value, f"Net.forward (mine.py:{line_of(text, 'def forward')})", "NaN or infinite")
    train(text.replace("/ 0", "/ 2"))


def test_build_is_named_if_the_class_of_the_network_is_from_another_package(train: Train) -> None:
    """Such as a `torch.nn.Sequential`."""
    made = "network = nn.CosineSimilarity()\n    network.weight = nn.Parameter(torch.ones(()))\n    return network"
    text = changed("return Net()", made)
    with pytest.raises(TrialError) as caught:
        train(text)
    assert_explained(caught.value, f"build (mine.py:{line_of(text, 'def build')})", "the shape (4, 8, 8)")


PREDICT = """
class Mine(Regression):
    def predict(self, batch):
        return {}


def method(setup):
    return Mine(setup)
"""


@pytest.mark.parametrize(
    ("returned", "why"),
    [
        ("super().predict(batch).image_b3hw", "it returned Tensor, not a TrainingOutput"),
        ("TrainingOutput(super().predict(batch).image_b3hw[:1])", "the shape (1, 3, 8, 8)"),
        ("TrainingOutput(super().predict(batch).image_b3hw / 0)", "NaN or infinite"),
    ],
)
def test_an_own_predict_is_checked(train: Train, returned: str, why: str) -> None:
    text = HEAD + WHOLE + PREDICT.format(returned)
    with pytest.raises(TrialError) as caught:
        train(text)
    assert_explained(caught.value, f"Mine.predict (mine.py:{line_of(text, 'def predict')})", why)


def test_a_fill_of_a_method_of_another_kind_is_checked(train: Train) -> None:
    good = HEAD + WHOLE + OWN
    assert len(train(good).rows) == 2
    text = good.replace("torch.zeros_like(image_b3hw)", "torch.zeros_like(mask_b1hw)")
    with pytest.raises(TrialError) as caught:
        train(text)
    assert_explained(caught.value, f"Own.fill (mine.py:{line_of(text, 'def fill')})", "the shape (2, 1, 8, 8)")


def test_bfloat16_is_allowed_where_the_trial_asks_for_it() -> None:
    network, image_b3hw = nn.Conv2d(3, 3, 1), torch.rand(2, 3, 8, 8)
    method_checks.check_output(network, image_b3hw.bfloat16(), image_b3hw, Precision("bf16"))
    with pytest.raises(TrialError):
        method_checks.check_output(network, image_b3hw.half(), image_b3hw, Precision("bf16"))


# --- the try of a fill ------------------------------------------------------------------------------------------------


def test_a_network_may_keep_tensors_from_its_first_call(train: Train) -> None:
    """Those of a fill have no gradients: if the fill came before the first step, the step could not use them."""
    keeps = "self.__dict__.setdefault('kept', torch.ones(3, 1, 1) * 2)"
    assert len(train(changed("return image_b3hw", f"return image_b3hw * {keeps}")).rows) == 2


class Noise:
    """A method that fills with noise from torch's global generator."""

    parameters = 1

    def fill(self, image_b3hw: Tensor, *_: Any) -> Tensor:
        return torch.rand_like(image_b3hw)


def test_the_try_of_a_fill_leaves_the_random_state_as_it_was() -> None:
    learner = inpaint.InpaintLearner(Noise(), ModelConfig(), Workers())  # type: ignore[arg-type]
    batch = Batch.of(torch.rand(3, 3, 8, 8), torch.ones(3, 1, 8, 8))
    before = torch.get_rng_state()
    learner.try_fill(batch)
    assert learner.filled
    assert torch.equal(torch.get_rng_state(), before)


# --- the state --------------------------------------------------------------------------------------------------------


def with_extra_state(state: str) -> str:
    functions = (
        f"def get_extra_state(self):\n        return {state}\n\n    def set_extra_state(self, state):\n        pass"
    )
    return changed("    def forward", f"    {functions}\n\n    def forward")


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ("lambda: 0", "state_dict()['network']['_extra_state'] is function"),
        ("{'a': [1, self]}", "state_dict()['network']['_extra_state']['a'][1] is Net"),
        ("torch.Generator()", "is Generator"),
    ],
)
def test_a_state_that_cannot_be_stored_is_found_before_training(train: Train, state: str, why: str) -> None:
    text = with_extra_state(state)
    with pytest.raises(TrialError) as caught:
        train(text)
    assert_explained(caught.value, f"Net (mine.py:{line_of(text, 'class Net')})", why)


def test_weights_are_tensors(train: Train) -> None:
    extra = (
        "    def get_extra_state(self):\n        return 3\n\n    def set_extra_state(self, state):\n        pass\n\n"
    )
    text = changed("    def forward", f"{extra}    def forward")
    with pytest.raises(TrialError) as caught:
        train(text)
    why = "inference_weights()['_extra_state'] is int, not a tensor"
    assert_explained(caught.value, f"Net (mine.py:{line_of(text, 'class Net')})", why)


def test_a_state_that_its_method_does_not_load(train: Train) -> None:
    text = HEAD + WHOLE + OWN.replace('state["value"]', 'state["values"]')
    with pytest.raises(TrialError) as caught:
        train(text)
    place = f"Own.load_state_dict (mine.py:{line_of(text, 'def load_state_dict')})"
    assert_explained(caught.value, place, "load_state_dict(state_dict()) raised KeyError: 'values'")


def test_a_state_that_becomes_wrong_in_training_ends_the_first_checkpoint(train: Train) -> None:
    text = (
        HEAD
        + WHOLE
        + OWN.replace('return {"loss"', 'self.value = print\n        return {"loss"').replace(
            "self.value.clone()", "torch.ones(())"
        )
    )
    with pytest.raises(TrialError) as caught:
        train(text)
    place = f"Own.inference_weights (mine.py:{line_of(text, 'def inference_weights')})"
    assert_explained(caught.value, place, "is builtin_function_or_method")


def test_plain_data_is_what_a_checkpoint_reads_back() -> None:
    values = [1, 0.5, True, "x", b"x", None, torch.Size([1]), torch.float32, torch.device("cpu")]
    assert {type(value) for value in values} == set(checkpoint.PLAIN)
    state = {
        "list": values,
        "tuple": tuple(values),
        "dict": {1: torch.ones(2)},
        "weights": nn.Linear(1, 1).state_dict(),
    }
    method_checks.check_state(None, state)
    read, _, _ = checkpoint.unpack(checkpoint.pack(state, [], None))
    assert (read["list"], read["tuple"]) == (values, tuple(values))


# --- places -----------------------------------------------------------------------------------------------------------


def test_a_place_is_found_without_the_module_being_registered(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    text = HEAD + WHOLE
    module = load(text)
    assert source_place(module.Net) == f"mine.py:{line_of(text, 'class Net')}"
    monkeypatch.delitem(sys.modules, "mine")
    assert source_place(module.Net) == f"mine.py:{line_of(text, 'def __init__')}"
    assert source_place(module.Net.forward) == f"mine.py:{line_of(text, 'def forward')}"
    assert source_place(len) == "builtins"


def test_a_place_outside_the_working_directory_is_absolute() -> None:
    assert source_place(textwrap.dedent).startswith(str(Path(textwrap.__file__).resolve()))
