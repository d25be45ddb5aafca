"""The options of models and masks are those of their code, read without torch; errors for wrong configurations."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
import typing
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from trainables import registry, schema
from trainables.config import fast_bf16
from trainables.errors import TrialError
from trainables.inpaint import config as inpaint_config
from trainables.inpaint import losses
from trainables.masks import families as masks

ROOT = Path(__file__).resolve().parents[3]
INTERFACE = {
    "task",
    "trains",
    "adversarial",
    "bf16_parity",
    "discriminator_terms",
    "terms",
    "takes_text",
    "samples",
    "splits",
    "inputs",
}
"""What a model's `Config` may set for the class, besides its options."""
BASE = {"data": {"name": "cifar10"}, "mask": {"name": "lines"}, "model": {"name": "vanilla_autoencoder", "width": 8}}


# --- what is listed is what is imported -------------------------------------------------------------------------------


def test_models_are_the_packages_of_the_folders():
    folders = [ROOT / "trainables" / registry.FOLDERS[kind] for kind in registry.MODELS]
    entries = [path for folder in folders for path in folder.iterdir()]
    packages = [p.name for p in entries if p.name not in ("__init__.py", "__pycache__")]
    assert sorted(packages) == list(registry.models()), "nothing else in these folders, no name twice"
    assert packages


@pytest.mark.parametrize("name", registry.models())
def test_a_models_package_has_options_and_a_network(name):
    module, config = registry.model(name).load(), registry.model(name).config
    package = importlib.import_module(registry.model(name).module.rpartition(".")[0])
    assert config.__module__ == f"{package.__name__}.config"
    assert module.__name__ == f"{package.__name__}.network"
    assert package.__doc__, "the source of the method, and what is unusual"
    assert not {*config.adversarial, *config.terms} & set(registry.names("loss")), "a term has one meaning"
    assert all(field.description for field in config.model_fields.values()), "one line of meaning a field"
    assert config(**({"path": "/filled"} if name == "outputs" else {})), "every other option has a default"
    assert config.__class_vars__ <= INTERFACE, "a constant of a model is a constant of its module"


@pytest.mark.parametrize("name", registry.models())
def test_a_models_network_is_built_from_its_options(name):
    module, config = registry.model(name).load(), registry.model(name).config
    assert list(inspect.signature(module.build).parameters) == ["config", "seed" if config.task == "stack" else "size"]
    assert typing.get_type_hints(module.build)["config"] is config
    assert hasattr(module, "build_discriminator") == bool(config.adversarial)
    if config.adversarial:
        assert list(inspect.signature(module.build_discriminator).parameters) == ["config", "size", "term"]
        assert typing.get_type_hints(module.build_discriminator)["config"] is config


def test_masks_are_the_functions_that_return_a_draw():
    functions = [(n, f) for n, f in inspect.getmembers(masks, inspect.isfunction) if f.__module__ == masks.__name__]
    returning = {n for n, f in functions if typing.get_type_hints(f).get("return") is masks.MaskDraw}
    assert set(registry.names("mask")) == returning - {"draw"}


@pytest.mark.parametrize("name", registry.names("mask"))
def test_a_masks_options_are_those_that_its_function_takes(name):
    config = registry.find("mask", name).config
    assert list(inspect.signature(getattr(masks, name)).parameters) == ["n", "canvas", "generator", "options"]
    assert typing.get_type_hints(getattr(masks, name))["options"] is config
    for option, field in config.model_fields.items():
        assert field.description, f"{name}.{option} has no line of meaning"
        if not field.is_required():
            TypeAdapter(field.annotation).validate_python(field.default, strict=True)


def test_losses_are_the_public_functions():
    public = [n for n, f in inspect.getmembers(losses, inspect.isfunction) if not n.startswith("_")]
    assert sorted(registry.names("loss")) == sorted(public)


def test_it_imports_no_torch():
    """Neither for a configuration nor for the options of any model."""
    code = """
import sys
from trainables import registry, schema
schema.resolve("inpaint", {key: {"name": name} for key, name in
                           (("data", "cifar10"), ("mask", "lines"), ("model", "vanilla_autoencoder"))})
assert all(registry.model(name).config.model_json_schema() for name in registry.models())
heavy = ("torch", "torchvision", "cv2", "numpy", "sklearn", "scipy", "pandas")
print([name for name in heavy if name in sys.modules])
print([name for name in sys.modules if name.startswith("trainables.") and name.endswith(".network")])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "[]"]


# --- resolving --------------------------------------------------------------------------------------------------------


def test_defaults_are_filled_in():
    resolved = schema.resolve("inpaint", BASE)
    assert resolved["model"] == {"name": "vanilla_autoencoder", "width": 8, "see_mask": False}
    assert resolved["mask"] == {"name": "lines", "count": [1, 10], "thickness": [1, 3]}
    assert resolved["loss"] == {"l2": 1.0}
    assert resolved["optimiser"]["lr"] == 1e-3
    assert schema.resolve("inpaint", resolved) == resolved


def test_a_model_without_parameters_has_no_epochs_seed_or_optimiser():
    fill = schema.resolve("inpaint", {**BASE, "model": {"name": "telea"}, "epochs": 5})
    assert fill["epochs"] == 0
    assert schema.identity("inpaint", fill, 1) == schema.identity("inpaint", fill, 2)


def test_identity_leaves_out_epochs_and_what_is_off():
    one, two = (schema.resolve("inpaint", {**BASE, "epochs": epochs}) for epochs in (1, 2))
    assert schema.identity("inpaint", one, 0) == schema.identity("inpaint", two, 0)
    assert schema.identity("inpaint", one, 0) != schema.identity("inpaint", one, 1)
    assert "path" not in schema.identity("inpaint", one, 0)["data"]


def test_compiling_is_part_of_a_trial_and_its_key_absent_otherwise():
    plain, off, on = (
        schema.resolve("inpaint", {**BASE, **changes}) for changes in ({}, {"compile": False}, {"compile": True})
    )
    assert plain == off
    assert "compile" not in plain
    assert on == {**plain, "compile": True}
    assert schema.identity("inpaint", on, 0) == {**schema.identity("inpaint", plain, 0), "compile": True}
    fill = schema.resolve("inpaint", {**BASE, "model": {"name": "mean_fill"}, "compile": True})
    assert "compile" not in fill, "nothing is trained"


@pytest.mark.parametrize(("parity", "fast", "chosen"), [(True, True, "bf16"), (True, False, None), (False, True, None)])
def test_auto_is_bf16_where_the_method_is_as_good_in_it_and_the_machine_fast(monkeypatch, parity, fast, chosen):
    monkeypatch.setattr(registry.model("vanilla_autoencoder").config, "bf16_parity", parity)
    monkeypatch.setattr(inpaint_config, "fast_bf16", lambda: fast)
    given = {**BASE, "model": {"name": "vanilla_autoencoder"}}
    resolved = schema.resolve("inpaint", {**given, "precision": "auto"})
    assert resolved == schema.resolve("inpaint", {**given, "precision": chosen})
    assert schema.resolve("inpaint", resolved) == resolved, "a stored trial keeps what was chosen"


def test_instructions_for_bf16_are_read_from_cpuinfo():
    epyc = "processor : 0\nmodel name : AMD EPYC\nflags : fpu avx512f avx512_bf16 vaes\n"
    assert fast_bf16.cpu_has_bf16(epyc)
    assert fast_bf16.cpu_has_bf16("processor : 0\nFeatures : fp asimd bf16\n")
    assert not fast_bf16.cpu_has_bf16(epyc.replace("avx512_bf16", "avx512_vnni"))
    assert not fast_bf16.cpu_has_bf16("")
    assert isinstance(fast_bf16.fast_bf16(), bool)


def test_the_precision_is_part_of_a_trial_where_it_is_not_float32():
    def identity(**changes):
        return schema.identity("inpaint", schema.resolve("inpaint", {**BASE, **changes}), 0)

    assert identity(precision=None) == identity(precision="float32") == identity()
    assert identity(precision="bf16") == {**identity(), "precision": "bf16"}
    with pytest.raises(TrialError) as caught:
        schema.resolve("inpaint", {**BASE, "precision": "fp16"})
    assert "bf16" in caught.value.allowed


@pytest.mark.parametrize(
    ("change", "given", "hint"),
    [
        ({"model": {"name": "vanila_autoencoder"}}, "vanila_autoencoder", "vanilla_autoencoder"),
        ({"model": {"name": "new"}}, "new", "sweeps new method ./new.py"),
        ({"model": {"name": "telea", "radios": 3}}, "radios", "radius"),
        ({"model": {"name": "telea", "radius": 0}}, "model.radius: 0", "radius"),
        ({"model": {"name": "telea", "radius": "3"}}, "model.radius: '3'", "radius"),
        ({"model": "telea"}, "telea", "name"),
        ({"mask": {"name": "line"}}, "line", "lines"),
        ({"mask": {"name": "draw"}}, "draw", ""),
        ({"mask": {"name": "lines", "count": [3, 1]}}, "mask.count: [3, 1]", "count"),
        ({"mask": {"name": "lines", "count": [1]}}, "mask.count: [1]", "count"),
        ({"mask": {"name": "lines", "count": [1.5, 2]}}, "1.5", "count"),
        ({"mask": {"name": "centre", "fraction": 1.0}}, "mask.fraction: 1.0", "fraction"),
        ({"mask": {"name": "rectangle", "fraction": [0.0, 0.5]}}, "0.0", "fraction"),
        ({"mask": {"name": "irregular"}}, "`path`", "path"),
        ({"mask": {"name": "irregular", "path": ""}}, "mask.path: ''", "path"),
        ({"mask": {"name": "irregular", "path": None}}, "mask.path: None", "path"),
        ({"mask": {"name": "irregular", "path": "p", "hole": "grey"}}, "mask.hole: 'grey'", "hole"),
        ({"data": {"name": "cifar10", "path": "p"}}, "data", ""),
        ({"data": {"name": "folder"}}, "data", ""),
        ({"data": {"name": "cifar10", "train": 1}}, "data.train: 1", "train"),
        ({"loss": {"l3": 1.0}}, "l3", "l"),
        ({"loss": {"l2": 0.0}}, "loss", "l2"),
        ({"loss": {"l2": -1.0}}, "loss.l2: -1.0", "l2"),
        ({"optimiser": {"name": "adam", "lr": "1e-5"}}, "optimiser.lr: '1e-5'", "lr"),  # YAML 1.1 reads 1e-5 as text
        ({"optimiser": {"name": "sgd", "betas": [0.9, 0.9]}}, "betas", ""),
        ({"batch": 0}, "batch: 0", "batch"),
        ({"epochs": 1.5}, "epochs: 1.5", "epochs"),
        ({"augment": True}, "augment", ""),
    ],
)
def test_a_mistake_is_told_in_four_parts(change, given, hint):
    with pytest.raises(TrialError) as caught:
        schema.resolve("inpaint", {**BASE, **change})
    error = caught.value
    assert all((error.given, error.why, error.allowed, error.fix)), error
    assert given in error.given
    assert hint in f"{error.allowed} {error.fix}"


def test_values_are_never_changed():
    resolved = schema.resolve("inpaint", {**BASE, "optimiser": {"name": "adam", "lr": 1e-5}})
    assert resolved["optimiser"]["lr"] == 1e-5
    with pytest.raises(ValidationError):
        registry.model("telea").config(radius=True)
