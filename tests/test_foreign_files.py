"""What this package has not written is passed over, in stores and in data, and told by `sweeps doctor` alone."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cluster.connection.doctor.store import check_foreign
from sweeps.cli.main import main
from sweeps.store import checkpoints, layout, listing
from sweeps.store import trials as stored_trials
from sweeps.store.local import FolderStore
from tests import foreign
from tests.golden import old_store
from tests.trainables.forgery import published_layouts
from trainables.code import cache
from trainables.command import files as program_files
from trainables.data import listing as data_listing
from trainables.data.image_files import digest, image_files
from trainables.forgery.public_file_lists import listing as images_of

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clean") / "store"
    old_store.unpack(folder)
    for name in ("golden-report", "golden-search"):  # stores the copy of the records, as the first report does
        assert (
            main(["report", name, "--store", str(folder), "--out", str(folder.parent / "out"), "--format", "csv"]) == 0
        )
    hashed = cache.files_hash({"net.py": b"x = 1"})
    store = FolderStore(folder)
    for key in (f"code/{hashed}/net.py", "modules/0123456789abcdef.json", "datasets/0123456789abcdef/shards/00000.tar"):
        store.put(key, b"{}")
    return folder


@pytest.fixture
def planted(clean: Path, tmp_path: Path) -> Path:
    shutil.copytree(clean, tmp_path / "store")
    foreign.plant(tmp_path / "store")
    (tmp_path / "store" / "notes.txt").write_text("mine")
    return tmp_path / "store"


def output(capsys: pytest.CaptureFixture[str], store: Path, *arguments: str) -> str:
    capsys.readouterr()
    assert main([*arguments, "--store", str(store)]) == 0, capsys.readouterr().err
    told = capsys.readouterr()
    return re.sub(r"\S*/store\b", "STORE", told.out + told.err)


def test_every_object_of_a_real_store_is_ours(clean: Path) -> None:
    assert list(listing.foreign(FolderStore(clean))) == []


def test_verbs_print_the_same_with_foreign_files(
    clean: Path, planted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = FolderStore(clean)
    trials = listing.children(store, "trials")
    [shown] = [next(t for t in trials if stored_trials.finished_epochs(store, t) and checkpoints.checkpoints(store, t))]
    verbs = [["status"], ["show", shown], ["claims", "golden-report"], ["compare", "golden-report", "golden-report"]]
    verbs += [["status", name] for name in ("golden-report", "golden-search", "golden-ray")]
    for verb in verbs:
        assert output(capsys, planted, *verb) == output(capsys, clean, *verb), verb


def test_reports_are_the_same_with_foreign_files(clean: Path, planted: Path, tmp_path: Path) -> None:
    made = {}
    for store in (clean, planted):
        out = tmp_path / f"report of {store.parent.name}"
        assert main(["report", "golden-search", "--store", str(store), "--out", str(out), "--format", "md,csv"]) == 0
        made[store] = {file.name: re.sub(rb"\S*/store\b", b"STORE", file.read_bytes()) for file in out.iterdir()}
    assert made[clean] == made[planted]


def test_gc_and_forgetting_leave_foreign_files(planted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = FolderStore(planted)
    before = set(listing.foreign(store))
    output(capsys, planted, "gc")
    for trial in listing.children(store, "trials"):
        stored_trials.forget(store, trial)
        assert checkpoints.checkpoints(store, trial) == []
    assert set(listing.foreign(store)) == before


def test_doctor_tells_of_them_once(clean: Path, planted: Path) -> None:
    assert list(check_foreign(FolderStore(clean))) == []
    (planted / "trials" / "elsewhere").symlink_to(planted)
    [told] = check_foreign(FolderStore(planted))
    count = sum(not listing.is_ours(key) for key in FolderStore(planted).keys("")) + 1
    assert told.state == "warning"
    assert f"{count:,} files or links" in told.what
    assert "ignored" in told.do


@pytest.mark.parametrize("name", foreign.NAMES)
@pytest.mark.parametrize(
    "folder",
    [
        *("", "trials", "trials/t", "trials/t/attempts", "trials/t/log", "trials/t/result", "trials/t/checkpoint"),
        *("trials/t/checkpoint/0001-a/3", "trials/t/samples/0001-a/3", "code", "code/0123456789abcdef", "modules"),
        *("sweeps", "sweeps/s", "sweeps/s/plans", "sweeps/s/search", "sweeps/s/search/a-0", "sweeps/s/pruned"),
        "sweeps/s/notes",
        *("sweeps/s/stops", "sweeps/s/pictures/t/3-a", "datasets", "datasets/d", "datasets/d/shards", "reports/s"),
    ],
)
def test_a_foreign_name_is_ours_in_no_folder(folder: str, name: str, tmp_path: Path) -> None:
    key = f"{folder}/{name}".lstrip("/")
    assert not listing.is_ours(key)
    store = FolderStore(tmp_path)
    store.put(key, b"junk")
    if folder:
        assert listing.children(store, folder) == []
        assert listing.find(store, [f"{folder}/"]) == {}
    assert list(listing.foreign(store)) == [key]


def test_both_packages_know_the_same_junk() -> None:
    """They import nothing of each other."""
    assert data_listing._FILES.pattern == listing.JUNK


LISTS = re.compile(r"\b(?:_?store|self)\b[^\n]*\.(?:keys|children)\([^)]|\bstore\.find\(")
OWN = ("sweeps/store/s3/", "sweeps/store/local.py", "sweeps/store/listing.py", "sweeps/store/forwarding.py")


def test_stores_are_listed_by_one_module() -> None:
    """Others ask a store for known keys only; `find` of known keys is one of these questions."""
    known = {
        "sweeps/store/record_cache.py": 1,  # versions of known keys
        "analysis/dashboard/data/reader.py": 1,  # versions of known results
        "analysis/dashboard/data/listed_store.py": 1,  # a store itself
        "cluster/connection/doctor/store.py": 1,  # its own probe
    }
    found = {}
    for top in ("sweeps", "cluster", "analysis"):
        for file in (ROOT / top).rglob("*.py"):
            name = file.relative_to(ROOT).as_posix()
            lines = [line for line in file.read_text(encoding="utf-8").splitlines() if LISTS.search(line)]
            lines = [line for line in lines if "listing." not in line and "def " not in line]
            if lines and not name.startswith(OWN) and len(lines) > known.get(name, 0):
                found[name] = lines
    assert found == {}


# --- data -------------------------------------------------------------------------------------------------------------


def images(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (number, 0, 0)).save(folder / name)


def test_images_and_their_hash_are_the_same_with_foreign_files(tmp_path: Path) -> None:
    images(tmp_path, "cat/1.png", "dog/2.png", "3.png")
    before = image_files(tmp_path, "data.path"), digest(tmp_path)
    foreign.plant(tmp_path)
    images(tmp_path, "@eaDir/1.png", "cat/__MACOSX/1.png", ".thumbnails/1.png")
    assert (image_files(tmp_path, "data.path"), digest(tmp_path)) == before


@pytest.mark.parametrize("layout", published_layouts.LAYOUTS)
def test_public_sets_are_the_same_with_foreign_files(tmp_path: Path, layout: str) -> None:
    make, section, _ = published_layouts.LAYOUTS[layout]
    grey = np.full((4, 4, 3), 99, np.uint8)
    make(tmp_path / "s", [(grey, grey, np.full((4, 4), 255, np.uint8))] * 3)
    path, authentic = tmp_path / section["path"], tmp_path / section.get("authentic", "s")
    before = images_of(layout)(path, authentic)
    foreign.plant(tmp_path)
    assert images_of(layout)(path, authentic) == before
    assert len(before) == 6


def test_code_of_a_program_is_the_same_with_foreign_files(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "train.py").write_text("x = 1")
    before = program_files.find(["code"], tmp_path)
    foreign.plant(tmp_path)
    assert program_files.find(["code", "code/*"], tmp_path) == before == ["code/train.py"]


def test_kept_code_is_unchanged_by_foreign_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    name = cache.keep({"net.py": b"x = 1"})
    foreign.plant(cache.cache_folder() / name)
    assert cache.is_kept(name)


# --- links in data ----------------------------------------------------------------------------------------------------


def test_a_linked_folder_of_a_class_is_read(tmp_path: Path) -> None:
    images(tmp_path, "elsewhere/cat/1.png", "mix/dog/2.png")
    (tmp_path / "mix" / "cat").symlink_to("../elsewhere/cat")
    assert image_files(tmp_path / "mix", "data.path") == ["cat/1.png", "dog/2.png"]


def test_a_folder_that_contains_itself_ends(tmp_path: Path) -> None:
    images(tmp_path, "mix/dog/2.png")
    (tmp_path / "mix" / "dog" / "again").symlink_to("..")
    assert image_files(tmp_path / "mix", "data.path") == ["dog/2.png"]


def test_a_link_that_leads_nowhere_is_told(tmp_path: Path) -> None:
    images(tmp_path, "mix/dog/2.png")
    (tmp_path / "mix" / "cat").symlink_to("../gone")
    (tmp_path / "mix" / "3.png").symlink_to("../gone.png")
    with pytest.warns(UserWarning, match="1 more: the symbolic link leads nowhere"):
        assert image_files(tmp_path / "mix", "data.path") == ["dog/2.png"]


def test_results_of_a_trial_are_found_beside_foreign_files(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    for epochs in (2, 10):
        store.put(layout.result_key("t", epochs), b"{}")
    foreign.plant(tmp_path)
    assert stored_trials.finished_epochs(store, "t") == [2, 10]
