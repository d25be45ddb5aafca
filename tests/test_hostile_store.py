"""A store is data: nothing in it is executed, and nothing is written outside it, until its reader asks for that."""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.util import calc_hash

from analysis.dashboard import app, settings
from analysis.dashboard.settings import DashboardSettings
from sweeps.cli.main import main
from sweeps.store import layout
from sweeps.store import plans as stored_plans
from sweeps.store.local import FolderStore
from tests import hostile
from tests.apptests import AppTest
from tests.golden import old_store
from trainables import registry
from trainables.code import cache, loading, references
from trainables.errors import TrialError

LONGEST_S = 60.0
PAGES = ("", "sweep", "trial", "report", "compare", "try")


class Victim:
    """A store, and a file that a hostile value would create."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out, self.marker = folder, folder / "out", folder / "marker"
        self.store = hostile.make(folder / "store")
        code = folder / "code" / "evil.py"
        code.parent.mkdir()
        code.write_text(f"from pathlib import Path\nPath({str(self.marker)!r}).touch()\ndef main(): ...\n")
        self.values = hostile.values(self.marker, code)
        self.trial = next(iter(self.plan["arms"][0]["trials"].values()))["id"]

    @property
    def plan(self) -> layout.Json:
        return layout.load(hostile.PLAN, self.store.get(hostile.PLAN))

    def places(self) -> list[tuple[str, hostile.Place]]:
        keys = hostile.kinds(self.store)
        return [(key, place) for key in keys for place in hostile.texts(layout.load(key, self.store.get(key)))]

    def call(self, *arguments: str) -> int:
        """Run a verb. An exception that is no four-part error is raised, with its traceback."""
        began = time.monotonic()
        try:
            code = main([*arguments, "--store", self.store.uri])
        except SystemExit as end:  # the parser refuses the arguments
            code = int(end.code or 0)
        assert time.monotonic() - began < LONGEST_S, arguments
        return code

    def check(self) -> None:
        assert not self.marker.exists()
        there = {path.name for path in self.folder.iterdir()}
        assert there <= {"store", "out", "code", "cache"}, there


@pytest.fixture
def victim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Victim]:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    yield Victim(home)
    assert {path.name for path in tmp_path.iterdir()} == {"home"}


def reading(victim: Victim, key: str) -> list[tuple[str, ...]]:
    """The verbs that read an object and run nothing."""
    name = key.split("/")[1] if key.startswith("sweeps/") else old_store.REPORTED
    trial = key.split("/")[1] if key.startswith("trials/") else victim.trial
    return [("status",), ("status", name), ("show", trial), ("claims", name), ("compare", name, name)]


NAMES = (  # objects by their folder, and the texts that are used as a name of code, of an object or of an arm
    ("/trial.json", ("config", "model", "name")),
    ("/trial.json", ("task",)),
    ("/result/", ("attempt",)),
    ("sweeps/", ("name",)),
    ("sweeps/", ("baseline",)),
    ("sweeps/", ("arms", 0, "config", "model", "name")),
)


@pytest.mark.parametrize(("folder", "place"), NAMES)
def test_a_hostile_name_is_refused(victim: Victim, folder: str, place: hostile.Place) -> None:
    keys = (key for key in victim.store.keys("") if folder in key and key.endswith(".json"))
    key = hostile.PLAN if folder == "sweeps/" else next(k for k in keys if victim.trial in k)
    for value in victim.values[::3]:
        before = hostile.plant(victim.store, key, place, value)
        for verb in (("status", old_store.REPORTED), ("show", victim.trial), ("claims", old_store.REPORTED)):
            assert victim.call(*verb) in (0, 1, 2)
        victim.store.put(key, before)
    victim.check()


@pytest.mark.parametrize(
    "place", [("arms", 0, "trials", "1", "id"), ("name",), ("baseline",), ("report", "correction")]
)
def test_a_plan_that_names_what_it_does_not_have_is_refused_by_its_key(
    victim: Victim, place: hostile.Place, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile.plant(victim.store, hostile.PLAN, place, "../../../evil")
    assert victim.call("status", old_store.REPORTED) == 2
    assert hostile.PLAN in capsys.readouterr().err


def test_names_of_models_in_a_stored_trial_are_looked_up(victim: Victim) -> None:
    """Verbs that run networks refuse a name that is not in the registry before they use it."""
    key = layout.trial_key(victim.trial)
    for value in victim.values:
        before = hostile.plant(victim.store, key, ("config", "model", "name"), value)
        assert victim.call("export", victim.trial, "--out", str(victim.out)) == 2, value
        victim.store.put(key, before)
    victim.check()


@pytest.mark.slow
@pytest.mark.parametrize("part", range(8))
def test_no_hostile_value_in_any_field_runs_or_writes(
    victim: Victim, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every text of every kind of object; the values, and the pages of the dashboard, take turns."""
    chosen = random.Random(0)
    places = victim.places()
    assert len(places) > 80
    value = itertools.cycle(chosen.sample(victim.values, len(victim.values)))
    page = itertools.cycle(PAGES)
    for key, place in chosen.sample(places, len(places))[part::8]:
        before = hostile.plant(victim.store, key, place, next(value))
        name = key.split("/")[1] if key.startswith("sweeps/") else old_store.REPORTED
        trial = key.split("/")[1] if key.startswith("trials/") else victim.trial
        for verb in reading(victim, key):
            victim.call(*verb)
        victim.call("report", name, "--out", str(victim.out), "--format", "md")
        victim.call("predict", trial, str(victim.folder / "none.png"), "--mask", "0,0,4,4", "--out", str(victim.out))
        open_page(victim, next(page), monkeypatch, sweep=name, trial=trial)
        victim.check()
        victim.store.put(key, before)


def open_page(victim: Victim, page: str, monkeypatch: pytest.MonkeyPatch, **address: str) -> None:
    token = "a-token-of-the-tests"
    given = DashboardSettings(victim.store.uri, token, False)
    monkeypatch.setenv(settings.VARIABLE, json.dumps(given.__dict__))
    shown = AppTest.from_file(str(Path(app.__file__)), default_timeout=LONGEST_S)
    for key, value in {**address, "token": token}.items():
        shown.query_params[key] = value
    if page:
        shown._page_hash = calc_hash(page)
    shown.run()
    assert not shown.exception, (page, [one.message for one in shown.exception])


# --- code of users ----------------------------------------------------------------------------------------------------

SWEEP = """\
# Does code of a store run?
name: mine
task: inpaint
base:
  data: {name: cifar10, train: 8, val: 4, test: 4}
  mask: {name: centre}
  model: {name: ./filling.py}
seeds: 1
report: {metrics: [test/psnr_db]}
"""


def test_code_in_a_store_runs_only_where_it_is_asked_for(
    tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker, store = tmp_path / "marker", FolderStore(tmp_path / "store")
    source = (
        f"from pathlib import Path\nPath({str(marker)!r}).touch()\ndef grey(image, mask):\n    return image + mask\n"
    )
    (tmp_path / "filling.py").write_text(source)
    (tmp_path / "mine.yaml").write_text(SWEEP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "first"))
    told = ("--store", store.uri, "--data", str(data_root))
    assert main(["run", "mine.yaml", *told, "--address", "in-process", "--quiet"]) == 0
    assert marker.exists()
    marker.unlink()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "second"))  # as on the machine of another reader
    registry.find.cache_clear()
    [trial] = store.children("trials")
    for verb in (["status"], ["status", "mine"], ["show", trial], ["claims"], ["compare", "mine", "mine"], ["gc"]):
        assert main([*verb, "--store", store.uri]) == 0
    assert main(["report", "mine", "--store", store.uri, "--out", str(tmp_path / "out")]) == 0
    assert not marker.exists(), "a verb that reads has run code of the store"
    assert main(["export", trial, "--store", store.uri]) == 2  # after asking what it is: there is nothing to export
    assert marker.exists(), "export asks for it"


@pytest.mark.parametrize("name", ["./filling.py", "filling:grey", "./weighted.py"])
def test_a_stored_plan_chooses_no_code_and_no_file_of_the_reader(
    name: str, tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name that the plan has not pinned means nothing, even if the working directory has such a file."""
    marker, store = tmp_path / "marker", FolderStore(tmp_path / "store")
    code = f"from pathlib import Path\nPath({str(marker)!r}).touch()\ndef grey(image, mask"
    (tmp_path / "filling.py").write_text(f"{code}):\n    return image + mask\n")
    (tmp_path / "weighted.py").write_text(f"{code}, file: Path = Path('secret')):\n    return image + mask\n")
    (tmp_path / "secret").write_text("any")
    (tmp_path / "mine.yaml").write_text(SWEEP.replace("./filling.py", name))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "first"))
    told = ("--store", store.uri, "--data", str(data_root), "--address", "in-process")
    assert main(["run", "mine.yaml", *told, "--quiet"]) == 0
    [key] = store.keys("sweeps/mine/plans/")
    body = layout.load(key, store.get(key))
    for arm in body["arms"]:
        pins = arm["config"].pop("user_code")
        if name == "./weighted.py":  # the code is pinned, the file that is the default of its option is not
            arm["config"]["user_code"] = {name: pins[name]}
    store.put(key, layout.dump(body))
    marker.unlink()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "second"))
    capsys.readouterr()
    for verb in (["resume", "mine", *told], ["reproduce", "mine", *told]):
        assert main(verb) == 2
        assert "the stored plan does not say" in capsys.readouterr().err
    assert name == "./weighted.py" or not marker.exists()


@pytest.mark.parametrize(
    "name",
    [
        "../evil.py#0123456789abcdef",
        "/etc/evil.py:Net#0123456789abcdef",
        "a/../../evil.py#0123456789abcdef",
        "./evil.py#0123456789abcdef",
        "evil.py#0123456789abcdef\n",
        "a//evil.py#0123456789abcdef",
        "evil.py#0123456789ABCDEF",
    ],
)
def test_a_name_that_leaves_its_code_is_no_resolved_name(name: str) -> None:
    assert references.parse(name) is None
    with pytest.raises(TrialError):
        registry.model(name)


@pytest.mark.parametrize(
    "path", ["../x.py", "/x.py", "a\\b.py", "C:x.py", "a//b.py", "./x.py", "__pycache__/x.pyc", ""]
)
def test_a_file_of_code_that_leaves_its_folder_is_refused(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(TrialError):
        cache.keep({path: b"x = 1"})
    assert list(tmp_path.rglob("*")) == []


def test_only_modules_of_the_code_are_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    name = cache.keep({"net.py": b"x = 1"})
    with pytest.raises(TrialError, match="no such file"):
        loading.load(name, "os")
    for other in ("..", "../code", f"{name}/..", "", "0" * 17):
        assert not cache.is_kept(other)


def test_a_link_in_the_cache_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    name = cache.keep({"net.py": b"x = 1"})
    folder = cache.cache_folder() / name
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    assert not cache.is_kept(name)
    assert cache.keep({"net.py": b"x = 1"}) == name
    assert cache.is_kept(name)
    assert not folder.is_symlink()
    (folder / "net.py").unlink()
    (folder / "net.py").symlink_to(tmp_path / "elsewhere" / "net.py")
    assert not cache.is_kept(name)


def test_a_stop_request_names_one_trial(victim: Victim) -> None:
    hostile.plant(victim.store, hostile.PLAN, ("arms", 0, "trials", "1", "id"), "a/b")
    assert victim.call("stop", old_store.REPORTED, "--trial", "a/b") == 2
    assert not stored_plans.stop_requests(victim.store, old_store.REPORTED)
