"""The dashboard in a real browser, on sweeps with real trials: watch, stop, resume, try."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from PIL import Image

from sweeps.cli.main import main
from sweeps.results import progress
from sweeps.spec import expand, loader
from sweeps.store import attempts as stored_attempts
from sweeps.store import checkpoints, layout
from sweeps.store import plans as stored_plans
from sweeps.store.local import FolderStore
from tests.analysis.dashboard import accessible, browsing
from tests.analysis.dashboard.browsing import Reader
from trainables import schema

SMALL = """\
# Does a wider network fill better?
name: {name}
task: inpaint
base:
  data: {{name: cifar10, train: 64, val: 32, test: 32}}
  mask: {{name: centre, fraction: 0.15}}
  model: {{name: vanilla_autoencoder}}
  optimiser: {{name: adam, lr: 1.0e-3}}
  batch: {batch}
  epochs: {epochs}
seeds: {seeds}
arms: [{arms}]
claims: [{claims}]
report: {{metrics: [test/psnr_db]}}
tiny: {{set: {{data.test: 32}}}}
"""
ARMS = "{name: mean fill, set: {model.name: mean_fill}}, {name: wild, set: {optimiser.lr: 1.0e+20}}"
CLAIM = '{text: "mean fill is best", metric: test/psnr_db, better: mean fill, than: base}'


def sweep_file(folder: Path, name: str, epochs: int, seeds: int, arms: str = "", claims: str = "") -> Path:
    file = folder / f"{name}.yaml"
    batch = 16 + len(name)  # so that sweeps share no trials
    file.write_text(SMALL.format(name=name, batch=batch, epochs=epochs, seeds=seeds, arms=arms, claims=claims))
    return file


def planned(store: FolderStore, file: Path, *changes: str) -> None:
    """Plan a sweep without running it."""
    from cluster.driver import driver

    driver.write(expand.expand(loader.load(file, "tiny", changes=changes), schema), store, ("sweeps", "run", str(file)))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, data_root: Path) -> FolderStore:
    """A store with a sweep that has run and has failed trials, and a sweep that is only planned."""
    browsing.programs()
    folder = tmp_path_factory.mktemp("dashboard")
    found = FolderStore(folder / "store")
    small = sweep_file(folder, "small", 2, 2, ARMS, CLAIM)
    with contextlib.redirect_stdout(io.StringIO()):
        code = main(["run", str(small), "--tiny", "--store", found.uri, "--data", str(data_root), "--quiet"])
    assert code == 1, "the wild arm fails"
    planned(found, sweep_file(folder, "long", 100_000, 1))
    return found


@pytest.fixture(scope="module")
def reader(store: FolderStore, data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    with (
        browsing.dashboard(store.uri, "--token", browsing.TOKEN, "--data", str(data_root)) as served,
        browsing.chromium(tmp_path_factory.mktemp("chromium")) as browser,
    ):
        yield Reader(browser, served.address)


def trial_of(store: FolderStore, sweep: str, arm: str, seed: str = "0") -> str:
    stored = stored_plans.newest_plan(store, sweep)
    assert stored is not None
    return str(next(one for one in stored["arms"] if one["name"] == arm)["trials"][seed]["id"])


def test_addresses_behave_as_those_of_web_pages(reader: Reader) -> None:
    """Back, a reload with the token, the menu, titles; and nothing is requested from another server."""

    def at(path: str) -> None:
        reader.until(lambda: path in reader.browser.current_url and reader.state() == "notRunning", f"{path} in:")

    reader.shows("Means over seeds", "sweep", sweep="small-tiny", view="Curves")
    assert reader.browser.title == "small-tiny · inpaint-sweeps"
    assert "token" not in reader.browser.current_url
    before = reader.browser.execute_script("return history.length")
    reader.browser.execute_script("[...document.querySelectorAll('a')].find(a => a.innerText == 'Compare').click()")
    at("/compare?sweep=small-tiny")
    assert reader.browser.execute_script("return history.length") == before + 1
    reader.browser.back()
    at("/sweep?sweep=small-tiny&view=Curves")
    reader.says("Means over seeds")
    reader.browser.refresh()
    reader.says("Means over seeds")
    requested = "return performance.getEntriesByType('resource').map(e => e.name)"
    icon = "return [...document.querySelectorAll('link[rel*=icon]')].map(e => e.href)"
    for name in [*reader.browser.execute_script(requested), *reader.browser.execute_script(icon)]:
        assert name.startswith((reader.address, "data:", "blob:")), name
    caption = "return getComputedStyle(document.querySelector('[data-testid=stCaptionContainer] p')).color"
    assert reader.browser.execute_script(caption) == "rgb(87, 96, 106)", "its contrast on white is 6.4"


def test_a_saved_view_is_a_link_and_back_ends_where_it_began(reader: Reader) -> None:
    """Back goes through the pages, not through each view of a page, and loses no choice of the page before."""
    reader.shows("2 sweeps")
    reader.shows("Means over seeds", "sweep", sweep="small-tiny", view="Curves")
    begun = reader.browser.current_url
    reader.unfold("Saved views (0)")
    reader.write("Title of the view as it is now", "the curves")
    reader.press("Save view")
    reader.says("Saved views (1)")
    for view, words in (("Table", "Differences from"), ("Claims", "mean fill is best")):
        reader.press(view)
        reader.says(words)
    at = reader.browser.current_url
    reader.unfold("Saved views (1)")
    reader.follow("the curves")
    reader.says("Means over seeds")
    reader.until(lambda: reader.browser.current_url == begun, begun)
    reader.browser.back()
    reader.says("mean fill is best")
    reader.until(lambda: reader.browser.current_url == at, at)
    reader.browser.back()
    reader.until(lambda: "2 sweeps" in reader.text(), "the list of sweeps")


LOOKS = (
    (("light", accessible.WIDE), ("dark", accessible.PHONE)),
    (("dark", accessible.WIDE), ("light", accessible.PHONE)),
)
"""Each pair has both schemes and both widths."""


def readable(reader: Reader, looks: Sequence[tuple[str, int]]) -> None:
    """Check the page in these schemes and widths, beginning with the one that it is shown in, if that is the last."""
    for scheme, width in looks if accessible.shown(reader) != looks[-1] else reversed(looks):
        accessible.look(reader, scheme, width)
        assert accessible.violations(reader) == [], f"{reader.browser.current_url}, {scheme}, {width} px"


each_look = pytest.mark.parametrize("looks", [LOOKS[0], pytest.param(LOOKS[1], marks=pytest.mark.slow)])
"""All four in two tests, of which one is in every run. Together, the tests with this mark open every page."""


@each_look
def test_list_and_sweep_meet_wcag(reader: Reader, looks: Sequence[tuple[str, int]]) -> None:
    reader.shows("2 sweeps")
    reader.until(lambda: "small-tiny" in reader.cells(), "the list")
    readable(reader, looks)
    reader.shows("Does a wider network fill better?", "sweep", sweep="small-tiny")
    reader.says("2 trials: Diverged")
    reader.says("Lower the learning rate")
    readable(reader, looks)
    for view, words in (
        ("Table", "Differences from"),
        ("Curves", "Means over seeds"),
        ("Pictures", "wipe or blink"),
        ("Claims", "mean fill is best"),
    ):
        reader.press(view)
        reader.says(words)
        readable(reader, looks)
    accessible.reset(reader)


@each_look
def test_trials_and_comparisons_meet_wcag(reader: Reader, store: FolderStore, looks: Sequence[tuple[str, int]]) -> None:
    trial = trial_of(store, "small-tiny", "base")
    reader.shows("Loss terms by step", "trial", trial=trial_of(store, "small-tiny", "wild"), sweep="small-tiny")
    reader.says("Diverged")
    assert "Traceback" not in reader.text()
    readable(reader, looks)
    reader.shows("Rows from the top", "trial", trial=trial, sweep="small-tiny", view="Pictures")
    for view in ("Configuration", "Attempts", "Provenance"):
        reader.press(view)
        readable(reader, looks)
    reader.shows("are marked.", "compare", sweep="small-tiny", view="Configuration")
    readable(reader, looks)
    reader.press("Pictures")
    reader.says("Below each image is its error map")
    readable(reader, looks)
    blinks(reader)
    reader.shows("Worst images of", "compare", sweep="small-tiny", view="Worst images", single="true")
    readable(reader, looks)
    accessible.reset(reader)


@each_look
def test_report_and_try_meet_wcag(reader: Reader, store: FolderStore, looks: Sequence[tuple[str, int]]) -> None:
    reader.shows("LaTeX", "report", sweep="small-tiny")
    reader.browser.switch_to.frame(reader.element("iframe"))
    reader.until(lambda: "Ablation report" in reader.browser.page_source, "the report")
    reader.browser.switch_to.default_content()
    readable(reader, looks)
    reader.shows("Upload", "try", trial=trial_of(store, "small-tiny", "base"))
    readable(reader, looks)
    accessible.reset(reader)


def blinks(reader: Reader) -> None:
    """The two images on top of each other alternate once that is asked for."""
    browser = reader.browser
    browser.switch_to.frame(reader.element("iframe"))
    share = "return document.getElementById('both').style.getPropertyValue('--at')"
    assert browser.execute_script(share) == "", "not before it is asked for"
    browser.execute_script("document.getElementById('blink').click()")
    seen: set[str] = set()

    def both() -> bool:
        seen.add(browser.execute_script(share))
        return seen == {"0%", "100%"}

    reader.until(both, "both images")
    browser.switch_to.default_content()


def test_resume_watch_stop_and_finish_a_sweep(reader: Reader, store: FolderStore) -> None:
    trial = trial_of(store, "long-tiny", "base")
    reader.open("sweep", sweep="long-tiny")
    reader.press("Resume")
    reader.says("sweeps resume long-tiny")
    reader.press("Resume")
    reader.says("1 running")
    reached = progress.states_of(store, {trial: (100_000,)})[trial].epoch or 0
    reader.until(lambda: f"▶ {reached}/" not in reader.cells() and "▶" in reader.cells(), "a later epoch")
    reader.press("Stop")
    reader.says("each saves a checkpoint after the current epoch")
    reader.press("Stop")
    reader.says("1 interrupted")
    reader.says("Resume: ended")
    target = checkpoints.checkpoints(store, trial)[-1][1] + 2
    planned(store, Path(store.root).parent / "long.yaml", f"epochs={target}")
    reader.open("sweep", sweep="long-tiny")
    reader.press("Resume")
    reader.says("Runs 1 interrupted trial")
    reader.press("Resume")
    reader.says("1 of 1 trials done")
    reader.says("Resume: done")
    result = layout.get_json(store, layout.result_key(trial, target))
    assert result is not None
    assert result["history"]["epoch"] == list(range(1, target + 1))
    assert len(stored_attempts.attempts(store, trial)) == 2


def test_a_click_on_a_cell_opens_its_trial(reader: Reader) -> None:
    from selenium.common.exceptions import StaleElementReferenceException
    from selenium.webdriver.common.action_chains import ActionChains

    def arrived() -> bool:
        """Click the cell again and again, because clicks are lost until the table is complete."""
        with contextlib.suppress(StaleElementReferenceException):
            canvas = reader.element("[data-testid=stDataFrame] canvas")
            across, down = canvas.size["width"] // 2 - 60, 20 - canvas.size["height"] // 2 + 36
            ActionChains(reader.browser).move_to_element_with_offset(canvas, across, down).click().perform()
        time.sleep(2)
        return "/trial" in reader.browser.current_url

    reader.open("sweep", sweep="small-tiny")
    reader.until(arrived, "the trial's page in:")
    reader.says("Stop this trial")
    assert "/trial" in reader.browser.current_url
    assert "sweep=small-tiny" in reader.browser.current_url


def test_draw_a_hole_on_an_image_and_fill_it(reader: Reader, store: FolderStore, tmp_path: Path) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    Image.linear_gradient("L").resize((96, 64)).convert("RGB").save(tmp_path / "given.png")
    reader.open("try", trial=trial_of(store, "small-tiny", "base"))
    reader.until(lambda: bool(reader.browser.find_elements("css selector", "input[type=file]")), "a file input in:")
    reader.browser.find_element("css selector", "input[type=file]").send_keys(str(tmp_path / "given.png"))
    reader.says("Draw the hole on the image")
    canvas = reader.within_shadow("canvas")
    hand = ActionChains(reader.browser, duration=20).move_to_element(canvas)
    hand.click_and_hold().move_by_offset(60, 30).move_by_offset(-90, 20).release().perform()
    reader.until(lambda: "Draw the hole" not in reader.text(), "the drawn hole in:")
    reader.press("Fill")
    reader.says("filled")
    width = "return document.querySelector('[alt=filled]')?.naturalWidth"
    reader.until(lambda: reader.browser.execute_script(width) == 96, "the filled image in:")
    reader.within_shadow(".undo").click()
    reader.says("Draw the hole on the image")
