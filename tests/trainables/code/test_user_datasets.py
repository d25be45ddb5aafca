"""Users' data sets: their splits and items, and what is refused."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.trainables.forgery.make_forged import forge
from trainables import schema
from trainables.code import references
from trainables.config.sections import DataConfig
from trainables.data import images
from trainables.data.section import read
from trainables.data.splits import SPLITS
from trainables.errors import TrialError
from trainables.forgery import forged_images
from trainables.forgery.config import resolve_forge

Write = Callable[[dict[str, str]], Path]
CIFAR = """
import torch
from PIL import Image
from torch.utils.data import Dataset
from trainables.data.sources.cifar import Cifar
from trainables.data.splits import hash_order

class Mine(Dataset):
    def __init__(self, split, root, count: int = 40):
        '''The same images as `cifar10`, at the indices that give the same order.'''
        self.image_n3hw = torch.empty(count, 3, 32, 32, dtype=torch.uint8)
        self.image_n3hw[list(hash_order(count))] = Cifar("cifar10", None, root).take(split, count, 32)

    def __len__(self):
        return len(self.image_n3hw)

    def __getitem__(self, index):
        return ITEM
"""
ITEMS = {
    "uint8": "self.image_n3hw[index]",
    "float": "self.image_n3hw[index] / 255",
    "with a label": "self.image_n3hw[index].double() / 255, 3",
    "array": "self.image_n3hw[index].permute(1, 2, 0).numpy()",
    "PIL": "Image.fromarray(self.image_n3hw[index].permute(1, 2, 0).numpy()), 'a caption'",
}


def section(folder: Path, **options: Any) -> dict[str, Any]:
    """The resolved `data` section that names the data set in `d.py`."""
    data = {"name": "./d.py", **options}
    config = {"data": data, "mask": {"name": "lines"}, "model": {"name": "mean_fill"}}
    found: dict[str, Any] = schema.resolve("inpaint", config, folder)["data"]
    return found


@pytest.mark.parametrize("item", ITEMS.values(), ids=ITEMS)
def test_images_that_are_those_of_cifar_have_its_fingerprint(write: Write, data_root: Path, item: str) -> None:
    mine = section(write({"d.py": CIFAR.replace("ITEM", item)}))
    counts = {"train": 40, "val": 40, "test": 40}
    ours = images.load({"name": "cifar10", **counts}, data_root)
    assert images.check(mine, data_root) == counts
    assert images.load(mine, data_root).fingerprint == ours.fingerprint
    few = images.load({**mine, "train": 7}, data_root)
    assert torch.equal(few.train, ours.train[:7]), "a subset is the beginning of the whole"
    other = images.load(
        section(write({"d.py": CIFAR.replace("ITEM", item).replace("[index]", "[-index]", 1)})), data_root
    )
    assert other.fingerprint != ours.fingerprint


def test_a_whole_set_is_split_by_a_hash(write: Write) -> None:
    text = (
        "import torch\ndef grey(n: int = 200): return [torch.full((3, 8, 8), i, dtype=torch.uint8) for i in range(n)]"
    )
    mine = section(write({"d.py": text}), size=8)
    loaded = images.load(mine, None)
    values = {split: getattr(loaded, split)[:, 0, 0, 0].tolist() for split in SPLITS}
    assert sorted(itertools.chain(*values.values())) == list(range(200))
    assert 140 < len(values["train"]) < 180
    more = images.load({**mine, "n": 240}, None)
    assert set(values["test"]) < set(more.test[:, 0, 0, 0].tolist()), "further items move no item to another split"
    names = images.source(read(DataConfig, mine), None).names("val", 0, 3)
    assert [int(name) for name in names] == values["val"][:3]


def test_items_of_any_size_become_squares_like_files(write: Write, tmp_path: Path) -> None:
    text = """
    import numpy as np
    from PIL import Image

    def photos(split, root):
        return [Image.open(path) for path in sorted((root / "photos").glob("*.png"))]
    """
    (tmp_path / "photos").mkdir()
    generator = np.random.default_rng(0)
    for i, size in enumerate(((20, 30), (9, 8), (64, 64))):
        Image.fromarray(generator.integers(0, 255, (*size, 3), np.uint8)).save(tmp_path / "photos" / f"{i}.png")
    mine = images.load(section(write({"d.py": text}), size=16), tmp_path)
    (tmp_path / "split.csv").write_text("file,split\n0.png,train\n1.png,val\n2.png,test\n")
    folder = {"name": "folder", "path": "photos", "split": "split.csv", "size": 16}
    ours = images.load(folder, tmp_path)
    for image in (ours.train[0], ours.val[0], ours.test[0]):
        assert any(torch.equal(image, own) for own in mine.train)


def test_the_options_are_checked_and_count(write: Write) -> None:
    folder = write({"d.py": CIFAR.replace("ITEM", ITEMS["uint8"])})
    assert section(folder, count=20)["count"] == 20
    with pytest.raises(TrialError, match="data 'cuont'") as error:
        section(folder, cuont=20)
    assert "count" in error.value.allowed
    with pytest.raises(TrialError, match=r"data\.count: 'many'"):
        section(folder, count="many")
    with pytest.raises(TrialError, match=r"data\.name: 'cifar11'|data 'count'"):
        section(folder, name="cifar11")


def test_code_and_options_are_part_of_the_identity_and_comments_are_not(write: Write) -> None:
    def identity(text: str, **options: Any) -> Any:
        config = {"data": {"name": "./d.py", **options}, "mask": {"name": "lines"}, "model": {"name": "mean_fill"}}
        return schema.identity("inpaint", schema.resolve("inpaint", config, write({"d.py": text})), 0)

    text = CIFAR.replace("ITEM", ITEMS["uint8"])
    first = identity(text)
    assert identity("# a remark\n" + text) == first
    assert identity(text, count=40) == first
    assert identity(text, count=41) != first
    assert identity(text.replace("[index]", "[index].flip(2)")) != first


def test_a_part_of_a_mixture(write: Write, data_root: Path) -> None:
    folder = write({"d.py": CIFAR.replace("ITEM", ITEMS["uint8"]).replace("split, root", "split, root, size")})
    given = {"name": "cifar10", "train": 20, "val": 4, "test": 4}
    mixed = section(folder, **given, train_on=[{"name": "own"}, {"name": "./d.py", "count": 30}])
    ours = images.load({**given, "train": 10}, data_root)
    loaded = images.load(mixed, data_root)
    assert torch.equal(loaded.train, torch.cat([ours.train, ours.train])), "its images are those of cifar10"
    assert torch.equal(loaded.test, ours.test)
    assert images.check(mixed, data_root) == {"train": 20, "val": 4, "test": 4}
    with pytest.raises(TrialError, match=r"data\.train_on\.0 'cuont'"):
        section(folder, **given, train_on=[{"name": "./d.py", "cuont": 3}])
    with pytest.raises(TrialError, match=r"data\.train_on\.0\.name: 'cifar11'"):
        section(folder, **given, train_on=[{"name": "cifar11"}])


def test_the_photographs_of_a_forged_set(write: Write, data_root: Path, tmp_path: Path) -> None:
    """An option of the data set may be called `use`, as one of folders is."""
    code = CIFAR.replace("ITEM", ITEMS["uint8"]).replace("count: int = 40", "count: int = 40, use: str = 'half'")
    folder = write({"d.py": code})
    block: dict[str, Any] = {"inpainters": [{"name": "telea"}], "mask": {"name": "box"}}
    found = {}
    for name, photographs in {
        "ours": {"name": "cifar10"},
        "mine": {"name": "./d.py", "count": 12, "use": "all"},
    }.items():
        section = {**photographs, "train": 6, "val": 2, "test": 2}
        config = {"data": {"forged": {**block, "images": section}}, "model": {"name": "majority"}}
        resolved = schema.resolve("detect", config, folder)
        forged = resolved["data"]["forged"]
        assert forged == resolve_forge({**block, "images": section}, folder)
        assert schema.needs("detect", resolved, 0).code == references.hashes([forged["images"]["name"]])
        forge(forged, tmp_path / name, data_root)
        train = forged_images.load(tmp_path / name).train
        found[name] = train.image_n3hw[train.label_n == 0]
    assert torch.equal(found["ours"], found["mine"])
    assert len(found["mine"]) == 6
    card = (tmp_path / "mine" / "card.md").read_text()
    assert "Photographs: the data set d of the user's code" in card


WRONG_WHEN_CHECKED = {
    "def d(train: bool): ...": "d has a parameter 'train', which is a key of every `data` section",
    "x = 1": "it defines no data set",
    "class A:\n    def __getitem__(self, i): ...": "A has no `__len__` and `__getitem__`",
    "def a(split): ...\ndef b(split): ...": "it defines a, b, and the name does not say which is meant",
    "raise OSError('no disk')": "importing it raised OSError: no disk (d.py:1)",
}


@pytest.mark.parametrize(("text", "says"), WRONG_WHEN_CHECKED.items())
def test_what_is_wrong_is_said_when_a_sweep_is_checked(write: Write, text: str, says: str) -> None:
    with pytest.raises(TrialError) as error:
        section(write({"d.py": text}))
    assert says in error.value.why
    assert error.value.given.startswith("data: ")


WRONG_AT_THE_START = {
    "return []": "it has no items for val",
    "return None": "NoneType has no `__len__` and `__getitem__`",
    "return (torch.ones(3, 8, 8) for _ in range(9))": "generator has no `__len__` and `__getitem__`",
    "return 1 / 0": "making it raised ZeroDivisionError: division by zero (d.py:3)",
    "return [torch.ones(3, 8, 8, dtype=torch.long)]": "is a tensor of torch.int64",
    "return [torch.ones(1, 8, 8)]": "is a tensor (1, 8, 8)",
    "return [torch.ones(8, 8, 3)]": "is a tensor (8, 8, 3)",
    "return [torch.ones(2, 3, 8, 8)]": "is a tensor (2, 3, 8, 8)",
    "return [torch.full((3, 8, 8), 7.0)]": "has values from 7 to 7",
    "return [-torch.ones(3, 8, 8)]": "has values from -1 to -1",
    "return [torch.full((3, 8, 8), torch.nan)]": "has NaN or infinity",
    "return [torch.ones(8, 8, 3).numpy()]": "is an array (8, 8, 3) of float32",
    "return ['photo.png']": "is str",
    "return Noise()": "item 0 of train is another image each time",
    "return {'a': torch.ones(3, 8, 8)}": "item 0 of train raised KeyError: 0",
}
NOISE = """
class Noise:
    def __len__(self): return 1
    def __getitem__(self, index): return torch.rand(3, 8, 8)
"""


@pytest.mark.parametrize(("body", "says"), WRONG_AT_THE_START.items())
def test_what_it_returns_is_checked_before_a_trial_starts(write: Write, body: str, says: str) -> None:
    mine = section(write({"d.py": f"import torch\ndef d(split):\n    {body}\n{NOISE}"}), name="./d.py:d")
    with pytest.raises(TrialError) as error:
        images.check(mine, None)
    assert says in error.value.why
    assert error.value.given.startswith("data.name: d (d.py:2)")
    assert error.value.allowed
    assert error.value.fix


def test_too_few_items_are_an_error_of_the_number(write: Write) -> None:
    mine = section(write({"d.py": "import torch\ndef d(split): return [torch.ones(3, 8, 8)] * 4"}), train=5)
    with pytest.raises(TrialError, match=r"data\.train: 5"):
        images.check(mine, None)
    whole = section(write({"d.py": "import torch\ndef d(): return [torch.ones(3, 8, 8)] * 2"}))
    with pytest.raises(TrialError, match=r"its 2 items leave none for"):
        images.check(whole, None)
