"""Any object of a store may be damaged: verbs say so, and neither end with a traceback nor show other numbers."""

from __future__ import annotations

import hashlib
import itertools
import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from safetensors.numpy import load_file

from sweeps.spec import expand, loader
from sweeps.store import layout, record_cache
from sweeps.store import plans as stored_plans
from sweeps.store.local import FolderStore
from tests.cluster import damage
from tests.cluster.small import run
from trainables import schema

NAME = "damaged"
SWEEP = f"""\
# Which learning rate is best?
name: {NAME}
task: inpaint
base:
  data: {{name: cifar10, train: 32, val: 16, test: 16}}
  mask: {{name: lines}}
  model: {{name: vanilla_autoencoder, width: 4}}
  optimiser: {{name: adam, lr: 1.0e-3}}
  batch: 16
  epochs: 2
seeds: 2
arms:
  - {{name: mean fill, set: {{model: {{name: mean_fill}}}}}}
report: {{metrics: [test/psnr_db]}}
search:
  space: {{optimiser.lr: {{float: [1.0e-5, 1.0e-1], log: true}}}}
  trials: 3
  sampler: random
  metric: val/psnr_db
  goal: max
  early_stopping: {{name: asha, grace_epochs: 1, reduction_factor: 2}}
  tune_seeds: [100]
claims:
  - {{text: it learns, metric: test/psnr_db, better: "tuned #1", than: mean fill}}
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, data_root: Path) -> FolderStore:
    """The store of a finished sweep with a search."""
    folder = tmp_path_factory.mktemp("damage")
    file = folder / "sweep.yaml"
    file.write_text(SWEEP)
    store = FolderStore(folder / "store")
    run(expand.expand(loader.load(file), schema), store, data_root)
    return store


@pytest.fixture
def copied(finished: FolderStore, tmp_path: Path) -> FolderStore:
    shutil.copytree(finished.root, tmp_path / "store")
    return FolderStore(tmp_path / "store")


def tuned(store: FolderStore) -> str:
    """The id of a finished trial."""
    stored = stored_plans.newest_plan(store, NAME)
    assert stored is not None
    return str(next(arm for arm in stored["arms"] if arm["name"] == "tuned #1")["trials"]["0"]["id"])


def verbs(store: FolderStore) -> list[list[str]]:
    where = ["--store", store.uri]
    names = (["status"], ["status", NAME], ["report", NAME], ["claims", NAME], ["compare", NAME, NAME])
    return [*([*name, *where] for name in names), ["show", tuned(store), *where]]


def objects(store: FolderStore) -> list[str]:
    """The keys of all objects but pictures and logs."""
    return [key for key in store.keys("") if not key.endswith((".png", ".txt"))]


def faults(store: FolderStore, cases: list[tuple[str, damage.Damage]], chance: random.Random) -> list[str]:
    """What goes wrong with the verbs when the objects are damaged, one at a time."""
    commands = verbs(store)
    clean = [damage.verb(*command) for command in commands]
    assert all(outcome.code == 0 for outcome in clean), [outcome.err for outcome in clean]
    found = []
    for key, kind in cases:
        with damage.damaged(store, key, kind, chance):
            for command, before in zip(commands, clean, strict=True):
                wrong = damage.judge(before, damage.verb(*command))
                found += [f"{command[0]} with {kind.__name__} of {key}: {wrong}"] if wrong else []
    return found


def test_no_verb_hides_a_damaged_object(copied: FolderStore) -> None:
    """One damage to an object of each kind; the slow test has all of them."""
    chance = random.Random(0)
    keys = {f"{key.split('/')[0]} {key.split('.', 1)[-1]} {'/result/' in key}": key for key in objects(copied)}
    assert len(keys) >= 8
    cases = [(key, chance.choice(damage.DAMAGES)) for key in keys.values()]
    assert faults(copied, cases, chance) == []


@pytest.mark.slow
def test_no_damage_to_any_object_is_hidden(copied: FolderStore) -> None:
    chance = random.Random(1)
    cases = [(key, kind) for key in objects(copied) for kind in damage.DAMAGES]
    assert faults(copied, cases, chance) == []


def test_a_run_mends_results_plans_trials_and_outcomes(copied: FolderStore, tmp_path: Path, data_root: Path) -> None:
    """As after a power cut: the same command writes again what was lost, with the same numbers."""
    before = damage.verb("report", NAME, "--store", copied.uri)
    trial = tuned(copied)
    (result,) = copied.keys(f"trials/{trial}/result/")
    (tell,) = [key for key in copied.keys(f"sweeps/{NAME}/search/") if key.endswith("0000.tell.json")]
    newest = list(copied.keys(f"sweeps/{NAME}/plans/"))[-1]
    for key in (result, tell, newest, layout.trial_key(trial), f"sweeps/{NAME}/records.parquet"):
        (copied.root / key).write_bytes(b"")
    status = damage.verb("status", NAME, "--store", copied.uri)
    assert status.crash == ""
    assert newest in status.err
    file = tmp_path / "sweep.yaml"
    file.write_text(SWEEP)
    ran = damage.verb(
        *("run", str(file), "--store", copied.uri, "--data", str(data_root), "--address", "in-process", "--quiet")
    )
    assert (ran.code, ran.crash) == (0, "")
    for key in (result, tell, layout.trial_key(trial)):
        assert layout.get_json(copied, key) is not None, key
    after = damage.verb("report", NAME, "--store", copied.uri)
    assert (after.code, after.numbers) == (0, before.numbers)


def test_a_damaged_result_is_left_out_of_the_report_and_listed(copied: FolderStore) -> None:
    (result,) = copied.keys(f"trials/{tuned(copied)}/result/")
    (copied.root / result).write_bytes(b"{}")
    report = damage.verb("report", NAME, "--store", copied.uri)
    assert report.code == 0
    assert "1 damaged" in " ".join(report.out.split())
    assert "damaged" in damage.verb("status", NAME, "--store", copied.uri).out


def test_an_altered_trial_is_not_trained(copied: FolderStore) -> None:
    """Also one without a checksum, as older versions wrote it."""
    from cluster.worker.trial_config import checked_config
    from sweeps.store import trials as stored_trials

    key = layout.trial_key(tuned(copied))
    sealed = copied.get(key)
    copied.put(key, sealed.replace(b'"batch":16', b'"batch":17'))
    with pytest.raises(layout.DamagedError, match="checksum"):
        stored_trials.read_trial(copied, tuned(copied))
    body = layout.load(key, sealed)
    body["config"]["batch"] = 17
    with pytest.raises(layout.DamagedError, match="its id stands for"):
        checked_config(tuned(copied), body, 2)
    body["identity"]["batch"] = 17
    copied.put(key, layout.dump(body))
    with pytest.raises(layout.DamagedError, match="not that of its key"):
        stored_trials.read_trial(copied, tuned(copied))


def test_no_flipped_bit_of_the_copied_records_is_read(copied: FolderStore) -> None:
    chance, key = random.Random(2), record_cache.key_of(NAME)
    whole = copied.get(key)
    for _ in range(200):
        assert not record_cache._is_intact(damage.flip_bit(whole, chance))
        assert not record_cache._is_intact(damage.cut_short(whole, chance))
    assert record_cache._is_intact(whole)


# --- verbs that use networks, and forged sets -------------------------------------------------------------------------

FORGE = """\
images: {{name: cifar10, train: 6, val: 3, test: 3}}
mask: {{name: box}}
inpainters: [{{trial: {trial}}}, {{name: mean_fill}}]
reals: paired
"""


class Users:
    """Runs the verbs that use the network of a trial, and compares what they write."""

    def __init__(self, store: FolderStore, folder: Path, data_root: Path) -> None:
        self.folder, self.trial = folder, tuned(store)
        Image.new("RGB", (40, 40), (200, 100, 50)).save(folder / "image.png")
        (folder / "forge.yaml").write_text(FORGE.format(trial=self.trial))
        where, data = ("--store", store.uri), ("--data", str(data_root))
        self.verbs: dict[str, list[str]] = {
            "predict": [self.trial, str(folder / "image.png"), "--mask", "8,8,8,8", *where],
            "export": [self.trial, "--format", "safetensors", *where],
            "reproduce": [NAME, "--cell", "tuned #1", "--seed", "0", *where, *data],
            "forge": [str(folder / "forge.yaml"), *where, *data],
        }

    def run(self, name: str) -> damage.Outcome:
        out = self.folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        options = ["--out", str(out)] if name in ("predict", "export") else []
        outcome = damage.verb(name, *self.verbs[name], *options)
        tensors = [(name, array) for file in out.rglob("*.safetensors") for name, array in load_file(file).items()]
        contents = [file.read_bytes() for file in sorted(out.rglob("*.png"))]
        contents += [array.tobytes() for _, array in sorted(tensors, key=lambda item: item[0])]
        written = [hashlib.sha256(content).hexdigest() for content in contents]
        return replace(outcome, out="\n".join([outcome.out, *written]))


@pytest.fixture
def users(copied: FolderStore, tmp_path: Path, data_root: Path) -> Users:
    return Users(copied, tmp_path, data_root)


def used(store: FolderStore, trial: str) -> list[str]:
    """The keys that the verbs may read: of the trial, of the forged set, and of the sweep's plan."""
    return [key for key in objects(store) if key.startswith((f"trials/{trial}/", "datasets/", f"sweeps/{NAME}/plans/"))]


def faults_of_users(
    users: Users, store: FolderStore, cases: list[tuple[str, damage.Damage, list[str]]], chance: random.Random
) -> list[str]:
    """As `faults`, for cases with the verbs to run. No verb changes the forged set, but to mend what was damaged."""
    clean = {name: users.run(name) for name in users.verbs}
    assert all(outcome.code == 0 for outcome in clean.values()), [outcome.err for outcome in clean.values()]
    whole = {key: store.get(key) for key in store.keys("datasets/")}
    found = []
    for key, kind, verbs in cases:
        with damage.damaged(store, key, kind, chance):
            for name in verbs:
                outcome = users.run(name)
                wrong = damage.judge(clean[name], outcome)
                found += [f"{name} with {kind.__name__} of {key}: {wrong}"] if wrong else []
        after = {key: store.get(key) for key in store.keys("datasets/")}
        found += [f"forge with {kind.__name__} of {key}: another set"] if after != whole else []
    return found


def test_no_verb_that_uses_a_network_hides_damage(copied: FolderStore, users: Users) -> None:
    """One damage to an object of each kind; the slow test has all of them."""
    assert users.run("forge").code == 0
    chance = random.Random(3)
    keys = {key.split("/")[0] + key.rpartition("/")[2].lstrip("0123456789"): key for key in used(copied, users.trial)}
    assert len(keys) >= 10
    verb = itertools.cycle(users.verbs)
    cases = [(key, chance.choice(damage.DAMAGES), [next(verb)]) for key in sorted(keys.values())]
    assert faults_of_users(users, copied, cases, chance) == []


@pytest.mark.slow
def test_no_damage_is_hidden_from_those_who_use_a_network(copied: FolderStore, users: Users) -> None:
    assert users.run("forge").code == 0
    chance = random.Random(4)
    cases = [(key, kind, list(users.verbs)) for key in used(copied, users.trial) for kind in damage.DAMAGES]
    assert faults_of_users(users, copied, cases, chance) == []


def test_a_forged_set_that_is_damaged_is_completed_again(copied: FolderStore, users: Users) -> None:
    """The same bytes again, and the advice of a refused set works: remove the damaged file, forge again."""
    assert users.run("forge").code == 0
    whole = {key: copied.get(key) for key in copied.keys("datasets/")}
    [done] = [key for key in whole if key.endswith("done.json")]
    [*shards] = [key for key in whole if "/shards/" in key]
    for lost in (shards[:1], shards[1:2], [done.replace("done", "index")]):
        copied.delete(lost)
        assert users.run("forge").code == 0
        assert {key: copied.get(key) for key in copied.keys("datasets/")} == whole
    for key in (done, next(key for key in shards if key.endswith(".json"))):
        copied.put(key, whole[key].replace(b'"train', b'"trqin', 1))
        copied.delete([done] if key != done else [])
        outcome = users.run("forge")
        assert (outcome.code, outcome.crash) == (0, "")
        assert key in outcome.err, "it is named"
        assert {key: copied.get(key) for key in copied.keys("datasets/")} == whole
