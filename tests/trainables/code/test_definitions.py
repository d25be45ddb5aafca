"""What a user's file may define, what its options are, and what is refused when a sweep is checked."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from trainables import registry, schema
from trainables.code import references
from trainables.config.model_sections import DetectorConfig
from trainables.errors import TrialError

Write = Callable[[dict[str, str]], Path]
NETWORK = """
from torch import nn

class Part(nn.Module):
    def forward(self, x):
        return x

class Net(nn.Module):
    def __init__(self, width: int = 8, bias=True, name_of_it: str | None = None):
        super().__init__()
        self.layer = nn.Conv2d(4, 3, 1)

    def forward(self, image, mask):
        return image
"""


def resolved(folder: Path, model: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    config = {
        "data": {"name": "cifar10"},
        "mask": {"name": "lines"},
        "model": model or {"name": "mean_fill"},
        **changes,
    }
    return schema.resolve("inpaint", config, folder)


# --- methods ----------------------------------------------------------------------------------------------------------


def test_the_only_class_that_takes_image_and_mask_is_meant(write: Write) -> None:
    config = resolved(write({"net.py": NETWORK}), {"name": "./net.py", "width": 4})
    section = config["model"]
    assert {key: section[key] for key in ("width", "bias", "name_of_it")} == {
        "width": 4,
        "bias": True,
        "name_of_it": None,
    }
    assert section["name"].startswith("net.py#")
    assert config["user_code"] == {"./net.py": section["name"]}
    assert schema.resolve("inpaint", config) == config, "what is resolved needs no files"
    network = registry.model(section["name"]).load().build(registry.model(section["name"]).options(section), 32)
    assert type(network).__name__ == "Net"


def test_a_function_may_build_the_network_for_a_size(write: Write) -> None:
    text = "from torch import nn\ndef build_it(size, depth: int = 2):\n    return nn.Linear(size, depth)\n"
    section = resolved(write({"net.py": text}), {"name": "./net.py:build_it"})["model"]
    code = registry.model(section["name"])
    assert code.load().build(code.options(section), 24).in_features == 24
    assert code.config.trains


def test_a_function_of_image_and_mask_is_a_fill_without_training(write: Write) -> None:
    text = "def white(image, mask, level: float = 1.0):\n    return image + level * mask\n"
    config = resolved(write({"fill.py": text}), {"name": "./fill.py:white", "level": 0.5}, epochs=7)
    assert config["epochs"] == 0
    code = registry.model(config["model"]["name"])
    network = code.load().build(code.options(config["model"]), 8)
    assert torch.equal(network(torch.zeros(1, 3, 8, 8), torch.ones(1, 1, 8, 8)), torch.full((1, 3, 8, 8), 0.5))
    assert schema.identity("inpaint", config, 0) == schema.identity("inpaint", config, 1)


def test_a_file_may_be_like_a_package_of_ours(write: Write) -> None:
    text = """
        from pydantic import Field
        from torch import nn
        from trainables.config.model_sections import ModelConfig

        class Config(ModelConfig):
            width: int = Field(8, ge=1, description="channels")

        def build(config, size):
            return nn.Conv2d(4, config.width, 1)
    """
    section = resolved(write({"net.py": text}), {"name": "./net.py"})["model"]
    assert section["width"] == 8
    with pytest.raises(TrialError, match=r"model\.width: 0"):
        resolved(write({}), {"name": "./net.py", "width": 0})


def test_a_detector_of_the_users_own(write: Write) -> None:
    text = """
        from trainables.config.model_sections import DetectorConfig

        class Config(DetectorConfig):
            pass

        def build(config, size):
            raise NotImplementedError
    """
    folder = write({"finder.py": text})
    forged = {"images": {"name": "cifar10"}, "inpainters": [{"name": "telea"}]}
    config = {"data": {"forged": forged}, "model": {"name": "./finder.py"}}
    name = schema.resolve("detect", config, folder)["model"]["name"]
    assert registry.model(name).kind == "detector"
    assert issubclass(registry.model(name).config, DetectorConfig)
    with pytest.raises(TrialError, match="is of type int"):
        resolved(write({"other.py": "Config = 3\ndef build(config, size): pass"}), {"name": "./other.py"})


def test_an_entry_point_of_an_installed_package(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(
        {
            "theirs/__init__.py": "",
            "theirs/nets.py": NETWORK,
            "theirs-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: theirs\nVersion: 1\n",
            "theirs-1.dist-info/entry_points.txt": "[inpaint_sweeps.methods]\ntheir_net = theirs.nets:Net\n",
        }
    )
    monkeypatch.syspath_prepend(str(folder))
    assert importlib.metadata.entry_points(group="inpaint_sweeps.methods")
    names = [resolved(folder, {"name": name})["model"]["name"] for name in ("their_net", "theirs.nets:Net")]
    assert names[0] == names[1]
    assert names[0].startswith("theirs/nets.py:Net#")


def test_a_package_is_found_though_it_is_installed_while_the_program_runs(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The metadata of installed packages, which takes 0.1 s to read, is read again only after such a change."""
    folder = write({"theirs/__init__.py": "", "theirs/nets.py": NETWORK})
    monkeypatch.syspath_prepend(str(folder))
    assert "their_net" not in references.installed("method")
    assert references.installed("method") is references.installed("method")
    write(
        {
            "theirs-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: theirs\nVersion: 1\n",
            "theirs-1.dist-info/entry_points.txt": "[inpaint_sweeps.methods]\ntheir_net = theirs.nets:Net\n",
        }
    )
    assert references.installed("method")["their_net"].value == "theirs.nets:Net"


# --- losses and masks -------------------------------------------------------------------------------------------------


def test_terms_of_a_loss_by_the_names_of_their_parameters(write: Write) -> None:
    folder = write({"terms.py": "def l5(target, prediction, mask):\n    return (prediction - target).pow(5).mean()\n"})
    config = resolved(folder, {"name": "vanilla_autoencoder"}, loss={"l2": 1.0, "./terms.py": 0.5})
    (name,) = [term for term in config["loss"] if term != "l2"]
    assert registry.find("loss", name).inputs == ("target_b3hw", "prediction_b3hw", "mask_b1hw")


def test_the_identity_of_a_trial_is_that_of_the_code_wherever_its_file_is(write: Write) -> None:
    folder = write({"net.py": NETWORK, "below/net.py": "# the same\n" + NETWORK})
    configs = [resolved(folder, {"name": name}) for name in ("./net.py", "./below/net.py")]
    assert configs[0]["user_code"] != configs[1]["user_code"]
    assert schema.identity("inpaint", configs[0], 0) == schema.identity("inpaint", configs[1], 0)


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name", "says"),
    [
        ("", "./gone.py", r"there is no file .*gone\.py"),
        ("", "../net.py", "outside the folder of the sweep file"),
        ("", "./net.py", "it defines no network with forward"),
        (NETWORK + NETWORK.replace("Net(", "Other("), "./net.py", "it defines Net, Other"),
        (NETWORK, "./net.py:Nett", "it does not define Nett"),
        (NETWORK, "./net.py:Part", r"Part\.forward takes 1 argument"),
        ("raise RuntimeError('no GPU')", "./net.py", r"raised RuntimeError: no GPU \(net\.py:1\)"),
        ("import nowhere_to_be_found", "./net.py", r"net\.py:1 imports nowhere_to_be_found"),
        ("def f(image, mask, name=1): ...", "./net.py:f", "an option cannot be called 'name'"),
        ("import torch\ndef f(size, x: torch.nn.Module = None): ...", "./net.py:f", "a type that no YAML value has"),
        ("class Config: pass\ndef build(config, size): ...", "./net.py", "is no subclass of ModelConfig"),
        ("", "no_such_package.module:Net", "there is no module no_such_package"),
    ],
)
def test_what_cannot_be_used_is_refused_when_it_is_checked(write: Write, text: str, name: str, says: str) -> None:
    with pytest.raises(TrialError, match=says) as caught:
        resolved(write({"net.py": text}), {"name": name})
    assert all((caught.value.given, caught.value.why, caught.value.allowed, caught.value.fix))
    assert caught.value.given.startswith("model: "), caught.value.given


GOOD = {
    "model": "def it(image, mask):\n    return image\n",
    "mask": "def it(n, size, generator):\n    return None\n",
    "loss": "def it(prediction, target):\n    return 0\n",
}


def named(folder: Path, kind: str, name: str) -> dict[str, Any]:
    if kind == "loss":
        return resolved(folder, {"name": "vanilla_autoencoder"}, loss={"l2": 1.0, name: 0.5})
    return resolved(folder, **{kind: {"name": name}})


def _large_source(folder: Path, good: str) -> None:
    (folder / "net.py").write_text(good + "X = [\n" + "    0.123456789,\n" * 600_000 + "]\n")


def _large_sum(folder: Path, good: str) -> None:
    names = [f"part{number}" for number in range(5)]
    (folder / "net.py").write_text("\n".join(f"import {name}" for name in names) + "\n" + good)
    for name in names:
        (folder / f"{name}.py").write_text(f"TEXT = '{'x' * 2_500_000}'\n")


def _large_data(folder: Path, good: str) -> None:
    (folder / "net.py").write_text(good + "from pathlib import Path\nHERE = Path(__file__).parent / 'weights'\n")
    (folder / "weights").mkdir()
    with (folder / "weights" / "huge.bin").open("wb") as file:
        file.truncate(1 << 40)  # a terabyte, of which nothing is read


def _link_outside(folder: Path, good: str) -> None:
    (folder.parent / "outside.py").write_text(good)
    (folder / "net.py").symlink_to(folder.parent / "outside.py")


def _linked_folder_outside(folder: Path, good: str) -> None:
    (folder.parent / "elsewhere").mkdir()
    (folder.parent / "elsewhere" / "net.py").write_text(good)
    (folder / "below").symlink_to(folder.parent / "elsewhere")
    (folder / "net.py").symlink_to(folder / "below" / "net.py")


def _link_to_itself(folder: Path, _: str) -> None:
    (folder / "net.py").symlink_to(folder / "net.py")


def _folder(folder: Path, _: str) -> None:
    (folder / "net.py").mkdir()


def _two(folder: Path, good: str) -> None:
    (folder / "net.py").write_text(good + good.replace("it(", "that("))


def _hides_ours(folder: Path, good: str) -> None:
    (folder / "net.py").write_text("from analysis.mine import x\n" + good)
    (folder / "analysis").mkdir()
    (folder / "analysis" / "mine.py").write_text("x = 1\n")


def _hides_installed(folder: Path, good: str) -> None:
    (folder / "net.py").write_text("import numpy\n" + good)
    (folder / "numpy.py").write_text("")


def _hides_python(folder: Path, good: str) -> None:
    (folder / "net.py").write_text("import json\n" + good)
    (folder / "json.py").write_text("")


def _opens_outside(folder: Path, good: str) -> None:
    (folder.parent / "table.txt").write_text("1")
    read = "from pathlib import Path\n(Path(__file__).parents[1] / 'table.txt').read_text()\n"
    (folder / "net.py").write_text(read + good)


def _binary(folder: Path, _: str) -> None:
    (folder / "net.py").write_bytes(b"\x00\xff\xfe")


BAD = {
    "10 MB in one file": (_large_source, r"10\.\d MB together; the largest is net\.py"),
    "10 MB in five files": (_large_sum, r"12\.5 MB together"),
    "a terabyte of data": (_large_data, r"MB together; the largest is weights/huge\.bin"),
    "a link to a file outside": (_link_outside, "outside the folder of the sweep file"),
    "a link through a folder outside": (_linked_folder_outside, "outside the folder of the sweep file"),
    "a link to itself": (_link_to_itself, "there is no file|cannot be read|symbolic link"),
    "a folder": (_folder, "there is no file .*, but something else of this name"),
    "two of a kind": (_two, "it defines it, that, and the name does not say which is meant"),
    "a name of ours": (_hides_ours, "would hide the module analysis of this package"),
    "the name of a package": (_hides_installed, "would hide the module numpy of an installed package"),
    "a name of Python": (_hides_python, "would hide the module json of Python"),
    "a file outside that it opens": (_opens_outside, r"FileNotFoundError.*\(net\.py:2\)"),
    "no text": (_binary, "does not parse"),
}


@pytest.mark.parametrize("kind", GOOD)
@pytest.mark.parametrize("fault", BAD)
def test_every_kind_of_bad_code_is_refused_for_every_kind(write: Write, kind: str, fault: str) -> None:
    folder = write({"README": ""})
    make, says = BAD[fault]
    make(folder, GOOD[kind])
    with pytest.raises(TrialError, match=says) as caught:
        named(folder, kind, "./net.py")
    error = caught.value
    assert all((error.given, error.why, error.allowed, error.fix))
    assert "net.py" in error.given


@pytest.mark.parametrize("kind", GOOD)
def test_a_sibling_may_be_a_link_and_counts_by_its_content(write: Write, tmp_path: Path, kind: str) -> None:
    folder = write({"net.py": "import helper\n" + GOOD[kind]})
    (tmp_path / "shared.py").write_text("x = 1\n")
    (folder / "helper.py").symlink_to(tmp_path / "shared.py")
    first = named(folder, kind, "./net.py")
    (tmp_path / "shared.py").write_text("x = 2\n")
    assert named(folder, kind, "./net.py") != first


@pytest.mark.parametrize("kind", GOOD)
def test_a_package_that_a_node_lacks_is_named(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The machine that plans has it; the node has only the code, from the store."""
    installed = tmp_path / "site-packages"
    (installed / "rare_package").mkdir(parents=True)
    (installed / "rare_package" / "__init__.py").write_text("")
    folder = write({"net.py": "import helper\n" + GOOD[kind], "helper.py": "\nimport rare_package.part\n"})
    (installed / "rare_package" / "part.py").write_text("")
    with monkeypatch.context() as here:
        here.syspath_prepend(str(installed))
        name = named(folder, kind, "./net.py")["user_code"]["./net.py"]
    for module in [one for one in sys.modules if one.partition(".")[0] in ("rare_package", "net", "helper")]:
        monkeypatch.delitem(sys.modules, module)
    registry.find.cache_clear()
    with pytest.raises(TrialError, match=r"No module named 'rare_package' \(helper\.py:2\)") as caught:
        registry.find("method" if kind == "model" else kind, name)
    assert caught.value.fix == "pip install rare_package there"


def test_an_unknown_option_names_those_there_are(write: Write) -> None:
    with pytest.raises(TrialError) as caught:
        resolved(write({"net.py": NETWORK}), {"name": "./net.py", "widht": 4})
    assert caught.value.key == "model.widht"
    assert "width" in caught.value.fix


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def f(output, target):\n    return 0\n", "a parameter 'output', which is no input of a loss term"),
        ("def l2(prediction, target):\n    return 0\n", "there is another loss term l2"),
    ],
)
def test_a_loss_that_cannot_be_used(write: Write, text: str, says: str) -> None:
    folder = write({"terms.py": text})
    name = "./terms.py:" + text.split()[1].partition("(")[0]
    with pytest.raises(TrialError, match=says):
        resolved(folder, {"name": "vanilla_autoencoder"}, loss={name: 1.0})


def test_a_mask_that_takes_other_arguments(write: Write) -> None:
    folder = write({"holes.py": "def f(size):\n    return 0\n"})
    with pytest.raises(TrialError, match=r"f takes \(size\)"):
        resolved(folder, mask={"name": "./holes.py"})


def test_a_symlink_out_of_the_folder(write: Write, tmp_path: Path) -> None:
    folder = write({"net.py": NETWORK})
    (tmp_path / "outside.py").write_text(NETWORK)
    (folder / "link.py").symlink_to(tmp_path / "outside.py")
    with pytest.raises(TrialError, match="outside the folder"):
        resolved(folder, {"name": "./link.py"})


def test_resolved_names_of_code_that_is_not_here(write: Write) -> None:
    with pytest.raises(TrialError, match="not on this machine"):
        resolved(write({}), {"name": "net.py#0123456789abcdef"})
