"""`protocol` in a sweep file: fills are rated as by `sweeps score`, and hashes are not mixed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

import sweeps as sw
from analysis import studies
from analysis.claims import not_tested
from analysis.dashboard.screens.compare import ComparedItem, _rated_differently
from analysis.report import answer, tables
from analysis.study import Study
from cluster.driver import cost_measurement
from sweeps.api.protocols import named, scoring
from sweeps.cli.main import main
from sweeps.cli.programs import result_json
from sweeps.errors import SweepError
from sweeps.protocols import identity, results
from sweeps.spec import loader
from sweeps.spec.expand import expand
from sweeps.spec.plan import Plan
from sweeps.store import checkpoints, plans
from sweeps.store.local import FolderStore
from trainables import schema
from trainables.errors import TrialError
from trainables.protocols.protocol import evaluation_hash
from trainables.training import checkpoint
from trainables.training.networks import build_network

PROTOCOL = """\
about: A test.
paper: none
equality: own
evidence: none
images: {size: 64, fit: shorter_side, crop: centre, filter: bicubic}
masks: {name: brush, seed: 0, strokes: [1, 2], vertices: [4, 5], width: [6, 9]}
metrics: {psnr_db: 1, ssim: 1, l1_seam: 1}
"""
SWEEP = """\
# Is a wider autoencoder better?
name: small
task: inpaint
protocol: {name: ./thin.yaml, images: photographs}
base:
  data: {name: cifar10, train: 64, val: 16, test: 16}
  mask: {name: lines}
  model: {name: vanilla_autoencoder, width: 8}
  optimiser: {name: adam, lr: 1.0e-3}
  batch: 32
  epochs: 1
seeds: 1
arms:
  - {name: mean fill, set: {model: {name: mean_fill}}}
claims:
  - {text: trained is better, metric: test/psnr_db_on_protocol, better: base, than: mean fill}
"""
COLUMN = "test/psnr_db_on_protocol"
Write = Callable[..., Path]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, data_root: Path) -> Path:
    """A data root with CIFAR-10 and six small photographs."""
    made = tmp_path_factory.mktemp("data")
    (made / "cifar-10-batches-py").symlink_to(data_root / "cifar-10-batches-py")
    (made / "photographs").mkdir()
    for number in range(1, 7):
        with Image.open(data_root / "kodak24" / f"kodim{number:02d}.png") as image:
            image.resize((image.width // 8, image.height // 8)).save(made / "photographs" / f"{number}.png")
    return made


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write the sweep with replaced texts, and its protocols: `write(("thin", "thick"))`."""
    (tmp_path / "thin.yaml").write_text(PROTOCOL)
    (tmp_path / "thick.yaml").write_text(PROTOCOL.replace("width: [6, 9]", "width: [12, 16]"))
    (tmp_path / "own.yaml").write_text(PROTOCOL.replace("size: 64", "size: 32"))
    (tmp_path / "detect.yaml").write_text(
        "about: A test.\npaper: none\nequality: own\nevidence: none\ntask: detect\n"
        "maps: {unmanipulated: zero}\nmetrics: {pixel_f1: 1}\n"
    )

    def run(*replaced: tuple[str, str], name: str = "small.yaml") -> Path:
        text = SWEEP
        for old, new in replaced:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return run


def plan(file: Path) -> Plan:
    return expand(loader.load(file), schema)


def run(file: Path, root: Path, **changes: Any) -> FolderStore:
    """Run a sweep file without Ray in a store beside it."""
    store = FolderStore(file.parent / "store")
    options = sw.RunOptions(address="in-process", data=root)
    assert sw.run(sw.load(file, **changes), store, options).complete
    return store


def fill_all(task: Path, out: Path, fill: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Path:
    """Write what a function makes of each damaged image and its mask, as arrays hw3 and hw."""
    out.mkdir()
    for file in sorted((task / "damaged").glob("*.png")):
        damaged, mask = (np.asarray(Image.open(task / kind / file.name)) for kind in ("damaged", "masks"))
        Image.fromarray(fill(damaged, mask if mask.ndim == 2 else mask[..., 0])).save(out / file.name)
    return out


def navier_stokes(damaged_hw3: np.ndarray, mask_hw: np.ndarray) -> np.ndarray:
    return cv2.inpaint(damaged_hw3, mask_hw, 3, cv2.INPAINT_NS)


def trained(store: FolderStore, arm: Mapping[str, Any]) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The network of an arm's first trial from its checkpoint, as any program would apply it."""
    saved = checkpoints.latest_checkpoint(store, arm["trials"]["0"]["id"], 1)
    assert saved is not None
    network = build_network(arm["config"]["model"], 32).eval()
    network.load_state_dict(checkpoint.unpack(saved.files)[0]["network"])

    def fill(damaged_hw3: np.ndarray, mask_hw: np.ndarray) -> np.ndarray:
        known_13hw = torch.from_numpy(damaged_hw3.copy()).permute(2, 0, 1)[None].float() / 255
        mask_11hw = torch.from_numpy(mask_hw.copy())[None, None].float() / 255
        with torch.inference_mode():
            filled = network(known_13hw, mask_11hw)[0].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()
        return np.where(mask_hw[..., None] > 0, filled, damaged_hw3)

    return fill


def test_a_sweep_and_score_give_the_same_numbers_to_the_last_bit(write: Write, root: Path, tmp_path: Path) -> None:
    """For a network in training, a fill without training, and the files of another program."""
    store = run(write(), root)
    task, protocol = tmp_path / "task", tmp_path / "thin.yaml"
    named.export_protocol(protocol, root / "photographs", task)
    arm = plans.require_plan(store, "small")["arms"][0]
    fills = {"net": [fill_all(task, tmp_path / "net", trained(store, arm))]}
    fills["theirs"] = [fill_all(task, tmp_path / "ns", navier_stokes)]
    scores = scoring.score(fills, protocol, task)
    rows = {row.name: row.cells for row in scoring.score_table(scores).rows}

    sw.export_test(store, "small", tmp_path / "test", data=root)
    theirs = fill_all(tmp_path / "test", tmp_path / "outputs", navier_stokes)
    run(write(("arms:", f"arms:\n  - {{name: theirs, outputs: {theirs}}}")), root)
    found = studies.read(store, "small")
    assert found.metrics == [f"test/{name}_on_protocol" for name in ("psnr_db", "ssim", "l1_seam")], "by default"
    for arm_name, row in {"base": "net", "mean fill": "mean_fill", "theirs": "theirs"}.items():
        for metric in ("psnr_db", "ssim", "l1_seam"):
            cell = rows[row][metric]
            assert cell is not None
            assert found.values(arm_name, f"test/{metric}_on_protocol") == {0: cell.mean}, (arm_name, metric)
    assert found.values("base", "test/psnr_db") != found.values("base", COLUMN), "the sweep's own test images stay"

    facts = [result["facts"]["protocol"] for result in found.results.values()]
    tested = scores.tested
    expected = {"images": tested.count, "pixels": tested.pixels, "masks": tested.masks}
    assert facts == [{"name": "thin", "hash": scores.hash, **expected}] * 3
    assert f"rated on 6 images by protocol thin, hash {scores.hash}." in " ".join(found.notes)


def test_the_test_images_of_a_sweep_are_rated_where_they_have_the_size(
    write: Write, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """CIFAR-10 at 32 px, with a protocol of one's own; the hole of image 3 is that of a photograph called 00003."""
    file = write(("{name: ./thin.yaml, images: photographs}", "./own.yaml"))
    found = studies.read(run(file, root), "small")
    [tested] = results.tested(found.results.values())
    assert tested["images"] == 16
    task = file.parent / "task"
    export = ("export-test", "small", "--store", str(file.parent / "store"), "--data", str(root), "--protocol")
    assert main([*export, "--out", str(task)]) == 0
    assert f"sweeps score FOLDER --protocol ./own.yaml --truth {task}\n" in capsys.readouterr().out
    assert (task / "images" / "00003.png").exists()
    rated = scoring.score({"ns": [fill_all(task, file.parent / "ns", navier_stokes)]}, file.parent / "own.yaml", task)
    assert (rated.tested.pixels, rated.tested.masks) == (tested["pixels"], tested["masks"])
    assert main([*export, "--out", str(task)]) == 2, "it is not empty"
    row = next(row for row in scoring.score_table(rated).rows if row.name == "mean_fill")
    assert row.cells["psnr_db"] is not None
    assert found.values("mean fill", COLUMN) == {0: row.cells["psnr_db"].mean}


def test_identity_has_the_hash_and_not_the_name(write: Write) -> None:
    def ids(file: Path) -> list[str]:
        return [trial.id for trial, _ in plan(file).runs()]

    thin = ids(write())
    without = write(("protocol: {name: ./thin.yaml, images: photographs}\n", ""), ("psnr_db_on_protocol", "psnr_db"))
    none = ids(without)
    assert "protocol" not in plan(without).arms[0].config
    file = write(("./thin.yaml", "./renamed.yaml"))
    (file.parent / "renamed.yaml").write_text(PROTOCOL.replace("A test.", "Another sentence."))
    assert ids(file) == thin
    section, origins = plan(file).arms[0].config["protocol"], plan(file).arms[0].origins
    assert evaluation_hash(section["evaluation"]) == identity.evaluation_hash(section["evaluation"]) == section["hash"]
    assert origins["protocol.evaluation.masks.width"].startswith("small.yaml:4")
    assert not {*thin} & {*ids(write(("./thin", "./thick")))}, "another hash"
    assert not {*thin} & {*none}


def test_a_stored_sweep_goes_on_without_the_file_of_its_protocol(write: Write, root: Path) -> None:
    file = write()
    store = run(file, root)
    before = studies.read(store, "small")
    (file.parent / "thin.yaml").unlink()
    options = sw.RunOptions(address="in-process", data=root)
    sw.resume(store, "small", options, changes=["seeds=2"])
    after = studies.read(store, "small")
    assert after.protocol == before.protocol
    assert after.values("base", COLUMN)[0] == before.values("base", COLUMN)[0]
    assert len(after.values("base", COLUMN)) == 2
    (file.parent / "thin.yaml").write_text(PROTOCOL.replace("seed: 0", "seed: 1"))
    with pytest.raises(SweepError, match=r"protocol\.evaluation\.masks\.seed was 0 and is 1"):
        run(file, root)


def test_lookalike_tables_are_not_compared(
    write: Write, root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two sweeps with the same columns, of other masks, and of other photographs under the same protocol."""
    monkeypatch.setenv("COLUMNS", "200")
    store = run(write(), root)
    run(write(("name: small", "name: other"), ("./thin", "./thick")), root)
    run(write(("name: small", "name: cifar"), ("./thin.yaml, images: photographs", "./own.yaml")), root)
    place = ("--store", store.uri)
    assert main(["compare", "small", "other", *place]) == 2
    said = capsys.readouterr().err
    thin, thick = (named.find_protocol(store.root.parent / f"{name}.yaml").hash for name in ("thin", "thick"))
    assert "small and other" in said
    assert f"protocol thin, hash {thin} and thick, hash {thick}" in said
    assert "differ in masks.width: [6,9] and [12,16]; tested.masks: " in said
    assert "tested.pixels" not in said, "the photographs are the same"
    assert main(["compare", "small", "cifar", *place]) == 2
    assert "images.size: 64 and 32; tested.images: 6 and 16; tested.pixels" in capsys.readouterr().err

    configs = {name: plans.require_plan(store, name)["arms"][0]["config"] for name in ("small", "other")}
    items = [ComparedItem(name, "", "", config) for name, config in configs.items()]
    [words] = _rated_differently(items)
    assert words.endswith(f"other by thick, hash {thick}, which differ in masks.width: [6,9] and [12,16].")
    assert _rated_differently([items[0], items[0]]) == []

    main(["compare", "small", "other", "--mix", *place])
    said = capsys.readouterr().out
    assert said.count("NOT COMPARABLE") == 1, "one sentence with all fields"
    assert "NOT COMPARABLE: small and other differ in masks.width: [6,9] and [12,16]; tested.masks: " in said
    main(["compare", "small", "other", "--mix", "--json", *place])
    compared = result_json.CompareOutput.model_validate_json(capsys.readouterr().out)
    assert compared.mixed[0].startswith("NOT COMPARABLE: ")
    assert main(["compare", "small", "small", "--json", *place]) == 0, "one protocol, the same images"
    assert result_json.CompareOutput.model_validate_json(capsys.readouterr().out).mixed == []


def test_every_table_names_protocol_and_hash(
    write: Write, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    file = write()
    store = run(file, root)
    expected = {"name": "thin", "hash": named.find_protocol(tmp_path / "thin.yaml").hash}
    place = ("--store", store.uri)

    def said(*arguments: object) -> str:
        capsys.readouterr()
        assert main([*map(str, arguments)]) == 0
        return capsys.readouterr().out

    for verb in (("report", "small", *place), ("claims", "small", *place), ("claims", "small", "--csv", *place)):
        assert f"protocol thin, hash {expected['hash']}" in " ".join(said(*verb).split()), verb
    assert f"protocol thin, hash {expected['hash']}" in said("status", "small", *place)
    assert f"protocol thin {expected['hash']}" in said("check", file, "--data", root)
    assert f"protocol thin {expected['hash']}" in said("plan", file, *place, "--data", root)
    assert "protocol thin on 6 photographs of photographs" in said("check", file, "--data", root)
    said("report", "small", "--out", tmp_path / "out", "--format", "html,md,tex,csv", *place)
    for suffix in ("html", "md", "tex", "csv"):
        [written] = (tmp_path / "out").rglob(f"*.{suffix}")
        assert expected["hash"] in written.read_text(), suffix
    tables = (tmp_path / "out" / "small.tex").read_text().count("\\begin{tabular}")
    assert (tmp_path / "out" / "small.tex").read_text().count(expected["hash"]) == tables == 2, "every table has it"
    for verb in (("status", "small", *place), ("check", file, "--data", root)):
        assert json.loads(said(*verb, "--json"))["protocol"] == expected, verb
    assert json.loads(said("plan", file, "--json", *place, "--data", root))["sweep"]["protocol"] == expected
    assert json.loads(said("report", "small", "--json", *place))["reports"][0]["protocol"] == expected
    assert json.loads(said("claims", "small", "--json", *place))["claims"][0]["protocol"] == expected


@pytest.mark.parametrize(
    ("replaced", "why"),
    [
        (("./thin.yaml", "lama-thik-256"), "did you mean `lama-thick-256`"),
        (("./thin.yaml", "./nothing.yaml"), "there is no file "),
        (("./thin.yaml", "./detect.yaml"), "it is a protocol of detections, and this task fills images"),
        (
            ("{name: ./thin.yaml, images: photographs}", "./thin.yaml"),
            "it rates squares of 64 px, and these images have 32",
        ),
        (("{name: ./thin.yaml, images: photographs}", "''"), "string should have at least 1 character"),
        (("images: photographs", "images: ''"), "string should have at least 1 character"),
        (("photographs}", "photographs, masks: ''}"), "string should have at least 1 character"),
        (("photographs}", "photographs, hash: '0123'}"), "it was edited, or is that of another version"),
        (("photographs}", "photographs, masks: holes}"), "the masks of this protocol are not read from files"),
        (("photographs}", "photographs, truth: x}"), "there is no such name"),
        (("name: ./thin.yaml", "named: ./thin.yaml"), "did you mean `name`?"),
        (("{name: ./thin.yaml, images: photographs}", "./small.yaml"), "small.yaml is a sweep file"),
        (
            ("{name: ./thin.yaml, images: photographs}", "pconv-6"),
            "protocol: {name: pconv-6, images: FOLDER, masks: FOLDER}",
        ),
        (("./thin.yaml", "pconv-6"), "protocol: {name: pconv-6, images: photographs, masks: FOLDER}"),
        (
            ("{name: ./thin.yaml, images: photographs}", "{name: pconv-6, masks: holes}"),
            "protocol: {name: pconv-6, images: FOLDER, masks: holes}",
        ),
        (("test/psnr_db_on", "test/l2_on"), "the protocol thin does not have this metric"),
        (("test/psnr_db_on", "test/psnr_on"), "did you mean `test/psnr_db_on_protocol`?"),
        (("{model: {name: mean_fill}}", "{protocol.name: ./thick.yaml}"), "all arms of a sweep are rated by one"),
        (("protocol: {name: ./thin.yaml, images: photographs}\n", ""), "the sweep names no protocol"),
        (("{model: {name: mean_fill}}", "{protocol: ./thick.yaml}"), "all arms of a sweep are rated by one"),
        (("  batch: 32", "  protocol: ./thin.yaml\n  batch: 32"), "all arms of a sweep are rated by one"),
        (("seeds: 1", "seeds: 1\nreport: {at: best(val/psnr_db)}"), "after the last epoch alone"),
        (("better: base, than: mean fill", "arm: base, above: test/psnr_db"), "which do not compare"),
        (("  batch: 32", "  test_masks: {protocol: {name: lines}}\n  batch: 32"), "and are not `protocol`"),
    ],
)
def test_what_no_protocol_can_rate_is_refused_before_anything_runs(
    replaced: tuple[str, str], why: str, write: Write
) -> None:
    with pytest.raises(SweepError) as raised:
        plan(write(replaced))
    assert why in f"{raised.value} {raised.value.fix}"
    assert raised.value.given.startswith("small.yaml:"), "where it stands"


@pytest.mark.parametrize("verb", ["check", "run"])
def test_a_missing_folder_is_named_with_its_place(
    verb: str, write: Write, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(("images: photographs", "images: photos"))
    store = ("--store", str(tmp_path / "store"), "--address", "in-process") if verb == "run" else ()
    assert main([verb, str(file), "--data", str(root), *store]) == 2
    assert "small.yaml:4: protocol.images: 'photos'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("ssim: 1", "ssim: 2", "the installed code has version 1 of ssim, not 2"),
        ("size: 64", "size: 48", "vanilla_autoencoder halves the image down to one pixel"),
        ("width: [6, 9]", "width: 6", "input should be a valid list"),
    ],
)
def test_a_protocol_that_does_not_fit_is_refused(old: str, new: str, why: str, write: Write) -> None:
    file = write()
    (file.parent / "thin.yaml").write_text(PROTOCOL.replace(old, new))
    with pytest.raises(SweepError, match=why) as raised:
        plan(file)
    assert raised.value.given.startswith("small.yaml:4: protocol")


def test_check_finds_a_network_that_cannot_take_the_squares(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """Its sizes are powers of two, and it is built for one of them."""
    file = write(("vanilla_autoencoder, width: 8", "context_encoder_alexnet"), ("./thin.yaml", "./large.yaml"))
    (file.parent / "large.yaml").write_text(PROTOCOL.replace("size: 64", "size: 128"))
    assert main(["check", str(file)]) == 2
    said = capsys.readouterr().err
    assert "the network cannot fill squares of 128 px" in said
    assert "protocol large with model context_encoder_alexnet of 32 px" in said
    with pytest.raises(TrialError, match="cannot fill squares of 128 px"):
        sw.plan(sw.load(file))


@pytest.mark.parametrize("task", ["detect", "match", "stack"])
def test_other_tasks_are_told_what_rates_them(task: str, tmp_path: Path) -> None:
    text = f"name: x\ntask: {task}\nprotocol: benco-pixels\nbase: {{}}\n"
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(SweepError, match="do not fill images, which a protocol rates") as raised:
        plan(tmp_path / "x.yaml")
    assert "sweeps score" in raised.value.allowed


def test_trials_that_were_rated_on_different_images_decide_no_claim(write: Write, root: Path) -> None:
    found = studies.read(run(write(), root), "small")
    key = next(iter(found.results))
    facts = found.results[key]["facts"]
    other = {**found.results[key], "facts": {**facts, "protocol": {**facts["protocol"], "pixels": "0" * 16}}}
    mixed = replace(found, results={**found.results, key: other})
    claim = found.plan["claims"][0]
    assert not_tested.why(found, claim, ["base", "mean fill"]) == ""
    assert "rated on different images (checksums 0000000000000000" in not_tested.why(
        mixed, claim, ["base", "mean fill"]
    )
    assert any("NOT COMPARABLE" in note for note in results.notes(found.protocol, mixed.results.values()))


def test_arms_that_were_rated_on_different_images_are_not_ranked_together(write: Write, root: Path) -> None:
    found = studies.read(run(write(), root), "small")
    assert found.groups == found.groups_in(COLUMN) == [["base", "mean fill"]]
    together = tables.build(found).rows[1].entries[COLUMN]
    assert together.difference is not None
    key = found.arm("mean fill").trials[0]
    facts = found.results[key]["facts"]

    def with_facts(changed: Mapping[str, Any]) -> Study:
        other = {**found.results[key], "facts": {**facts, "protocol": changed}}
        return replace(found, results={**found.results, key: other})

    mixed = with_facts({**facts["protocol"], "masks": "0" * 16})
    assert mixed.groups == mixed.groups_in(COLUMN) == [["base"], ["mean fill"]]
    assert mixed.groups_in("test/psnr_db") == [["base", "mean fill"]], "the sweep's own test images are the same"
    [first, second] = (row.entries[COLUMN] for row in tables.build(mixed).rows)
    assert (first.mark, second.mark, second.difference, second.comparison) == ("", "", None, None)
    said = answer.answer(replace(mixed, plan={**mixed.plan, "claims": []}), [])
    assert said[0].startswith("Under the conditions of “base”: ")
    assert said[1].startswith("Under the conditions of “mean fill”: ")
    assert "--fresh" not in " ".join(results.notes(mixed.protocol, mixed.results.values()))
    assert with_facts({}).groups == [["base", "mean fill"]], "an arm whose images are not known yet"


def test_the_measured_cost_counts_the_images_of_the_protocol(write: Write, root: Path) -> None:
    """Six squares of 64 px have the pixels of 24 images of 32 px; the test images of the sweep are 16."""
    config = plan(write()).arms[0].config
    assert cost_measurement._protocol_images(config, root, 16) == 24
    own = plan(write(("{name: ./thin.yaml, images: photographs}", "./own.yaml"))).arms[0].config
    assert cost_measurement._protocol_images(own, root, 16) == 16
    assert cost_measurement._protocol_images({**own, "protocol": None}, root, 16) == 0


@pytest.mark.parametrize("damaged", ["thin", 3, [], {"name": "thin"}, {"name": "thin", "hash": 1, "evaluation": {}}])
def test_a_damaged_protocol_of_a_stored_plan_is_passed_over(damaged: object) -> None:
    stored = {"task": "inpaint", "arms": [{"config": {"protocol": damaged}}]}
    assert plans.protocol(stored) is None
    assert results.tested([{"facts": {"protocol": damaged}}, {"facts": None}]) == []
