"""The dashboard's pages on synthetic stores, run by Streamlit's AppTest."""

from __future__ import annotations

import io
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from streamlit.util import calc_hash

from analysis.dashboard import app, context, settings
from analysis.dashboard.data.reader import Reader
from analysis.dashboard.processes import optuna_server, predict_upload
from analysis.dashboard.processes.predictor import PredictorProcess
from analysis.dashboard.settings import DashboardSettings
from analysis.dashboard.widgets import buttons, cells, code, optimisation
from sweeps.results import notes
from sweeps.search.search import Search, SearchSpec
from sweeps.search.space import parse
from sweeps.spec.trial import Trial
from sweeps.store import attempts as stored_attempts
from sweeps.store import code as stored_code
from sweeps.store import layout
from sweeps.store import plans as stored_plans
from sweeps.store import trials as stored_trials
from sweeps.store.local import FolderStore
from tests.analysis import make_store
from tests.analysis.make_store import ArmSpec
from tests.analysis.report.test_searches import SPEC, searched, whole, with_search
from tests.apptests import AppTest

TOKEN = "a-token-of-the-tests"
Open = Callable[..., AppTest]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderStore:
    monkeypatch.setattr(make_store, "NOW", time.time())
    return make_store.make_store(tmp_path / "store", seeds=range(8))


@pytest.fixture
def visit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Open a page of a dashboard on `tmp_path / store`, with an address and with or without the token."""

    def open_page(page: str = "", known: bool = True, closed: bool = False, **address: str) -> AppTest:
        given = DashboardSettings(str(tmp_path / "store"), TOKEN, closed)
        monkeypatch.setenv(settings.VARIABLE, json.dumps(given.__dict__))
        found = AppTest.from_file(str(Path(app.__file__)), default_timeout=20)
        for key, value in address.items():
            found.query_params[key] = value
        if known:
            found.query_params["token"] = TOKEN
        if page:
            found._page_hash = calc_hash(page)
        return found.run()

    return open_page


def words(page: AppTest) -> str:
    """All text of a page, without Markdown's backslashes."""
    texts = [element.value for element in (*page.title, *page.markdown, *page.caption, *page.text, *page.code)]
    return "\n".join(map(str, texts)).replace("\\", "")


def button(page: AppTest, label: str) -> Any:
    return next(one for one in page.button if one.label == label)


# --- pages ------------------------------------------------------------------------------------------------------------


def test_the_list_has_every_sweep(store: FolderStore, visit: Open, tmp_path: Path) -> None:
    make_store.make_store(tmp_path / "store", arms=[ArmSpec("base", 25.0)], seeds=range(2), name="other", claims=[])
    page = visit()
    table = page.dataframe[0].value
    assert sorted(table["Sweep"]) == ["other", "partial-conv"]
    assert "18 of 20 trials done in 2 sweeps" in words(page) or "of 20 trials" in words(page)
    for _ in range(60):
        page = visit()
        table = page.dataframe[0].value.set_index("Sweep")
        if "…" not in set(table["Best so far"]):
            break
        time.sleep(0.1)
    assert table.loc["partial-conv", "Best so far"].startswith("partial convolution: 27.")
    assert {table["Cost"].dtype, table["Last change"].dtype} == {np.dtype(float)}, "they sort as numbers"
    shown = pa.ipc.open_stream(page.dataframe[0].proto.arrow_data.styler.display_values).read_pandas().to_string()
    assert " min" in shown, "and read as durations"
    assert layout.get_json(store, layout.summary_key("other")) is not None, "a finished sweep's summary is stored"
    assert layout.get_json(store, layout.summary_key("partial-conv")) is None, "an unfinished one's is not"


def test_numbers_of_cells_sort_as_texts() -> None:
    found = [cells.GridCell("a", 0, "x", "done", f"✓ {number}", float(number)) for number in ("9.5", "10.25", "100.00")]
    failed = cells.GridCell("a", 1, "y", "failed", "✕ failed", None)
    padded = [cell.text for cell in cells.sortable([*reversed(found), failed])]
    assert sorted(padded[:3]) == ["✓    9.5", "✓  10.25", "✓ 100.00"]
    assert padded[3] == "✕ failed"


@pytest.mark.usefixtures("store")
def test_a_sweep_page_shows_its_answer_and_the_errors_of_failed_trials(visit: Open) -> None:
    page = visit("sweep", sweep="partial-conv")
    said = words(page)
    assert not page.exception
    assert "“partial convolution” has the best test PSNR" in said
    assert "1 failed" in said
    assert "1 running" in said
    assert "In use by the running trial: 1.5 CPUs, 88 % of the GPU's time." in said
    assert "1 trial: Diverged: the loss is not finite in epoch 3, step 41" in said.replace("*", "")
    assert "Lower the learning rate: --set optimiser.lr=0.0001 (now 0.001)" in said
    grid = page.dataframe[0].value
    assert grid.loc["partial convolution", "seed 6"] == "✕ failed"
    assert grid.loc["partial convolution", "seed 7"].startswith("▶ 12/20")
    assert grid.loc["telea", "seed 0"].startswith("✓ 25.1")


def test_notes_tags_stars_and_views_are_kept_with_their_author(store: FolderStore, visit: Open) -> None:
    trial = stored_plans.require_plan(store, "partial-conv")["arms"][0]["trials"]["0"]["id"]
    at = {"sweep": "partial-conv", "view": "Cells"}
    assert not [one for one in visit("sweep", known=False, **at).button if one.label in ("Add note", "Save view")]
    page = visit("sweep", **at)
    page.text_area[0].set_value("Try <b>wider</b> nets.")
    next(one for one in page.text_input if one.label.startswith("Tags")).set_value("paper, Edges")
    next(one for one in page.text_input if one.label == "Your name").set_value("Ada")
    button(page, "Add note").click().run()
    page = visit("sweep", **at, arm="telea")
    page.text_input(key="name_of_author").set_value("Ada")
    next(one for one in page.text_input if one.label.startswith("Title")).set_value("by SSIM")
    button(page, "Save view").click().run()
    visited = visit("trial", trial=trial, sweep="partial-conv")
    button(visited, "Star").click().run()
    found = {note.kind: note for note in notes.read(store, ["partial-conv"])["partial-conv"]}
    assert (found["note"].author, found["note"].text) == ("Ada", "Try <b>wider</b> nets.")
    assert found["note"].tags == ["paper", "edges"]
    assert (found["view"].author, found["view"].text, found["view"].page) == ("Ada", "by SSIM", "sweep")
    assert found["view"].address["arm"] == "telea"
    assert found["star"].trial == trial
    page = visit("sweep", **at)
    assert "Ada" in words(page)
    assert "Try <b>wider</b> nets." in words(page)
    assert page.dataframe[0].value.loc["blind autoencoder", "seed 0"].endswith("★")
    assert visit().dataframe[0].value.set_index("Sweep").loc["partial-conv", "Tags"] == "edges, paper"
    button(visit("trial", trial=trial, sweep="partial-conv"), "Remove star").click().run()
    assert notes.starred(notes.read(store, ["partial-conv"])["partial-conv"]) == set()


@pytest.mark.usefixtures("store")
def test_the_table_view_is_the_table_of_the_report(visit: Open) -> None:
    page = visit("sweep", sweep="partial-conv", view="Table")
    table = page.dataframe[0].value.set_index("arm")
    assert table["test PSNR (dB) ↑"].dtype == float, "sorts as a number"
    assert table.loc["partial convolution", "test PSNR (dB) ↑"] == pytest.approx(27.2, abs=0.2)
    assert table.loc["partial convolution", "published, test L2 raw ↓"] == pytest.approx(0.0005, abs=0.0001)
    assert [head for head in table if not head.startswith("published")][:3] == [
        *("test PSNR (dB) ↑", "test L2 raw ↓", "test SSIM ↑")
    ]
    shown = page.dataframe[0].proto.arrow_data.styler.display_values
    read = pa.ipc.open_stream(shown).read_pandas().to_string()
    assert "● 27." in read, "but reads as in the report"
    assert "n=" not in read, "said once below the table"
    assert "n = 8" in words(page)
    differences = page.dataframe[1].value.set_index("arm")
    assert "blind autoencoder" not in differences.index, "the baseline"
    assert differences.loc["partial convolution", "test PSNR (dB) ↑"] == pytest.approx(1.2, abs=0.2)


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("view", ["Curves", "Claims"])
def test_other_views_of_a_sweep(visit: Open, view: str) -> None:
    page = visit("sweep", sweep="partial-conv", view=view, seeds="true", smooth="3", log="true")
    assert not page.exception
    assert "could not be shown" not in words(page)
    if view == "Claims":
        assert "partial convolution has the lower error" in words(page)
        assert "does not hold" in words(page)


@pytest.mark.parametrize("figure", ["history", "parallel coordinates", "slices"])
def test_a_search_in_optunas_figures(tmp_path: Path, visit: Open, figure: str) -> None:
    whole(tmp_path / "store")
    page = visit("sweep", sweep="partial-conv", view="Search", figure=figure)
    said = words(page)
    assert not page.exception
    assert "could not be shown" not in said
    assert "3 complete, 2 pruned, 1 failed" in said
    assert "25" in said
    assert list(page.dataframe[0].value["state"]).count("✂ pruned") == 2
    assert page.get("plotly_chart")


def test_figures_of_a_search_show_the_weights_that_were_asked_for(tmp_path: Path) -> None:
    """A simplex is drawn by internal parameters, one fewer than it has weights; more of ssim is better here."""
    space = {"loss": {"simplex": ["l2", "ssim", "adversarial"]}, "model.width": {"choice": [[8, 16], 8]}}
    spec = SearchSpec(parse(space), 12, ("val/psnr_db", "val/l2"), ("max", "min"), "random")
    search = Search(FolderStore(tmp_path), "partial-conv", "net", spec)
    for number in range(12):
        ask = search.ask()
        assert ask is not None
        search.tell(number, "complete", [ask.overrides["loss.ssim"], 1.0])
    weights = {"loss.l2", "loss.ssim", "loss.adversarial", "model.width"}
    assert {str(one) for one in optimisation.figure(search, "importances", "val/psnr_db", False).data[0].y} == weights
    drawn = optimisation.figure(search, "parallel coordinates", "val/psnr_db", False)
    lines = {float(dict(line.customdata)["val PSNR"]): line.line.color for line in drawn.data[:12]}
    assert lines[max(lines)] == "rgb(8.0, 48.0, 107.0)", "the best line is the darkest"
    slices = optimisation.figure(search, "slices", "val/psnr_db", False)
    for curve, trace in enumerate(slices.data):
        number = optimisation.suggestion_at(slices, {"curve_number": curve, "point_index": 3})
        assert number is not None
        shown = search.asks()[number].overrides["loss.ssim"]
        assert trace.y[3] == pytest.approx(shown)
    history = optimisation.figure(search, "history", "val/psnr_db", False)
    assert optimisation.suggestion_at(history, {"curve_number": 0, "point_index": 3}) == 3
    table = optimisation.suggestions_table(search)
    assert table["loss.adversarial"].dtype == float, "sorts as a number"


def test_a_suggestion_opens_its_trial(tmp_path: Path) -> None:
    store = whole(tmp_path / "store")
    assert optimisation.trial_of(store, "partial-conv", "net", 1) == "net-1-100"
    assert optimisation.trial_of(store, "partial-conv", "net", 99) == ""


@pytest.mark.parametrize("view", ["Curves", "Pictures", "Configuration", "Attempts", "Log", "Provenance"])
def test_views_of_a_trial(store: FolderStore, visit: Open, view: str) -> None:
    plan = stored_plans.newest_plan(store, "partial-conv")
    assert plan is not None
    trials = plan["arms"][1]["trials"]
    for seed in ("0", "7") if view in ("Curves", "Provenance") else ("0",):
        page = visit("trial", trial=trials[seed]["id"], sweep="partial-conv", view=view)
        assert not page.exception
        assert "could not be shown" not in words(page)
        assert page.title[0].value.replace("\\", "") == f"partial convolution, seed {seed}"
    failed = words(visit("trial", trial=trials["6"]["id"], sweep="partial-conv", view=view))
    assert "the loss is not finite in epoch 3, step 41" in failed
    assert "Not finite in the last step: loss, l2." in failed
    assert "--set optimiser.lr=0.0001" in failed


def test_the_log_view_shows_the_last_lines_and_offers_the_whole_log(store: FolderStore, visit: Open) -> None:
    plan = stored_plans.newest_plan(store, "partial-conv")
    assert plan is not None
    trial = plan["arms"][1]["trials"]["0"]["id"]
    assert "No log" in words(visit("trial", trial=trial, view="Log"))
    attempt = stored_attempts.newest_attempt(store, trial)
    assert attempt is not None
    store.put(attempt.log_key, "".join(f"line {number} <b>\n" for number in range(150)).encode())
    page = visit("trial", trial=trial, view="Log")
    assert page.code[-1].value.splitlines()[0] == "line 50 <b>"
    assert page.code[-1].value.endswith("line 149 <b>")
    assert "The last 100 of 150 lines" in words(page)
    assert [one.label for one in page.get("download_button")] == ["Whole log"]


def test_differences_from_the_baseline_are_marked(store: FolderStore, visit: Open) -> None:
    plan = stored_plans.newest_plan(store, "partial-conv")
    assert plan is not None
    trial = plan["arms"][1]["trials"]["0"]["id"]
    page = visit("trial", trial=trial, sweep="partial-conv", view="Configuration", differences="true")
    assert list(page.dataframe[0].value["key"]) == ["model.name"]


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("view", ["Curves", "Configuration", "Pictures", "Worst images"])
def test_compare_arms(visit: Open, view: str) -> None:
    page = visit("compare", sweep="partial-conv", view=view)
    assert not page.exception
    assert "could not be shown" not in words(page)


def test_compare_trials(store: FolderStore, visit: Open) -> None:
    plan = stored_plans.newest_plan(store, "partial-conv")
    assert plan is not None
    ids = " ".join(arm["trials"]["0"]["id"] for arm in plan["arms"][:2])
    page = visit("compare", what="Trials", trials=ids, view="Configuration")
    assert "model.name" in list(page.dataframe[0].value["key"])


def test_curves_of_several_metrics_and_of_running_trials(store: FolderStore, visit: Open) -> None:
    trial = stored_plans.require_plan(store, "partial-conv")["arms"][1]["trials"]["7"]["id"]
    attempt = stored_attempts.newest_attempt(store, trial)
    assert attempt is not None
    record = {"epoch": 12, "val/psnr_db": 25.0, "sys/time_s": 4.2}
    stored_attempts.beat(store, attempt, {"time": time.time() - 9, "epoch": 12, "record": record})
    page = visit("sweep", sweep="partial-conv", view="Curves")
    assert not page.exception
    assert len(page.get("plotly_chart")) == 4
    found = [json.loads(chart.proto.spec) for chart in page.get("plotly_chart")]
    live = [line for figure in found for line in figure["data"] if line.get("name", "").endswith("seed 7, running")]
    assert live, "the running trial is drawn from its heartbeat"
    assert all(figure["layout"]["xaxis"]["tickformat"] == ",d" for figure in found), "no epoch 1.2"
    assert "About 34 s left with the trials that run now" in words(page), "8 epochs of 4.2 s"
    assert "1 running trial has sent no heartbeat" in words(page)


@pytest.mark.usefixtures("store")
def test_trials_to_compare_are_chosen_by_name(visit: Open) -> None:
    page = visit("compare", what="Trials", view="Configuration")
    assert [one.label for one in page.selectbox][:3] == ["Sweep", "Arm", "Seed"]
    for arm in ("blind autoencoder", "telea"):
        page.selectbox(key="add_arm").set_value(arm).run()
        button(page, "Add").click()
        page.run()
    assert not page.exception
    assert len(page.text_input(key="trials").value.split()) == 2
    assert "model.name" in list(page.dataframe[0].value["key"])
    names = ["blind autoencoder, seed 0", "telea"]
    assert list(page.dataframe[0].value)[1:] == names, "by the names that were chosen"
    button(page, names[0]).click()
    page.run()
    assert len(page.text_input(key="trials").value.split()) == 1
    assert "Choose at least two" in words(page)


@pytest.mark.usefixtures("store")
def test_the_report_and_its_files(visit: Open) -> None:
    page = visit("report", sweep="partial-conv")
    assert not page.exception
    assert "could not be shown" not in words(page)
    assert [one.label for one in page.get("download_button")] == ["HTML", "CSV", "LaTeX", "Markdown"]


def test_an_unfinished_search_can_be_resumed_and_stopped(tmp_path: Path, visit: Open) -> None:
    change = with_search(SPEC, ["net"], waiting=["tuned #1"])
    found = make_store.make_store(tmp_path / "store", [ArmSpec("net", 26.0)], range(2), [], change=change)
    searched(found, "net", ["complete"])
    page = visit("sweep", sweep="partial-conv")
    on = {one.label: not one.disabled for one in page.button}
    assert on["Resume"]
    assert on["Stop"]
    button(page, "Resume").click()
    page.run()
    assert "Runs the rest of the search on this machine" in words(page)


def test_optuna_dashboard_gets_every_search(tmp_path: Path) -> None:
    import optuna

    storage = optuna_server.copy_studies(whole(tmp_path / "store"))
    (study,) = optuna.get_all_study_summaries(storage)
    assert study.n_trials == 6


# --- trying a network -------------------------------------------------------------------------------------------------


@pytest.fixture
def uploaded(visit: Open, monkeypatch: pytest.MonkeyPatch) -> Open:
    """The Try page with an uploaded image; no prediction process is started."""
    monkeypatch.setattr(PredictorProcess, "start", lambda _: None)

    def page(**address: str) -> AppTest:
        shown = visit("try", **address)
        target = io.BytesIO()
        Image.linear_gradient("L").resize((40, 30)).save(target, "PNG")
        return shown.file_uploader(key="image_file").set_value(("given.png", target.getvalue(), "image/png")).run()

    return page


def test_a_hole_is_drawn_or_given_as_a_rectangle_or_a_file(store: FolderStore, uploaded: Open, visit: Open) -> None:
    plan = stored_plans.newest_plan(store, "partial-conv")
    assert plan is not None
    trial = plan["arms"][1]["trials"]["0"]["id"]
    page = uploaded(trial=trial)
    assert not page.exception
    assert button(page, "Fill").disabled
    assert "Draw the hole on the image" in words(page)
    sample = visit("try", trial=trial, sample="test image 3", hole="Rectangle")
    assert not sample.exception
    assert not button(sample, "Fill").disabled, "a test image serves as well"
    assert not page.text_input, "this network takes no captions"
    page = uploaded(trial=trial, hole="Rectangle")
    assert not button(page, "Fill").disabled
    assert [one.label for one in page.slider] == ["From left to right, px", "From top to bottom, px"]
    assert button(uploaded(trial=trial, hole="Mask file"), "Fill").disabled


def test_several_trials_fill_one_image_and_the_answers_can_be_downloaded(
    store: FolderStore, uploaded: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def run(given: object, predictor: object, trial: str, *_: object) -> predict_upload.UploadResult:  # noqa: ARG001 - the signature of the original
        asked.append(trial)
        return predict_upload.UploadResult({"filled": make_store.strips(1, 20.0)["truth"]}, {})

    monkeypatch.setattr(predict_upload, "run", run)
    plan = stored_plans.require_plan(store, "partial-conv")
    ids = [arm["trials"]["0"]["id"] for arm in plan["arms"]]
    page = uploaded(trial=ids[0], sweep="partial-conv", hole="Rectangle")
    page.multiselect(key="others").set_value(["telea, seed 0"]).run()
    button(page, "Fill").click()
    page.run()
    assert not page.exception
    assert asked == [ids[0], ids[3]]
    assert [one.label for one in page.get("download_button")] == ["Download filled"] * 2


def test_a_network_trained_with_captions_takes_a_caption(tmp_path: Path, uploaded: Open) -> None:
    captions = {"template": "a photo of a {class}", "text": "shuffled"}
    make_store.make_store(tmp_path / "store", [ArmSpec("base", 25.0)], range(2), [])
    found = FolderStore(tmp_path / "store")
    (trial, _) = found.children("trials")
    body = stored_trials.read_trial(found, trial)
    body["config"]["data"]["captions"] = captions
    found.put(layout.trial_key(trial), layout.dump(body))
    page = uploaded(trial=trial)
    assert [one.label for one in page.text_input] == ["What the image shows"]
    assert page.text_input[0].value == ""
    assert "“a photo of a {class}”, of other images" in words(page)


# --- missing and invalid input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["", "sweep", "trial", "compare", "try", "report"])
def test_every_page_shows_that_the_store_is_missing(visit: Open, page: str, tmp_path: Path) -> None:
    if page == "sweep":
        (tmp_path / "store").mkdir()  # empty
    shown = visit(page)
    assert not shown.exception
    assert not shown.error
    said = words(shown)
    assert "No sweep yet" in said or "No trial chosen" in said
    assert page == "trial" or f"--store {tmp_path / 'store'}" in said


def test_a_trial_deleted_while_its_page_is_open_is_shown_as_missing(store: FolderStore, visit: Open) -> None:
    trial = stored_plans.require_plan(store, "partial-conv")["arms"][0]["trials"]["1"]["id"]
    page = visit("trial", trial=trial, sweep="partial-conv")
    shutil.rmtree(store.root / "trials" / trial)
    assert "the store has no such trial" in words(page.run())
    context.current().reader.forget()
    assert "1 queued" in words(visit("sweep", sweep="partial-conv"))


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("page", "address", "why"),
    [
        ("sweep", {"sweep": "../partial-conv"}, "it is a path"),
        ("sweep", {"sweep": "nothing"}, "has no sweep of this name"),
        ("report", {"sweep": ".."}, "it is a path"),
        ("trial", {"trial": "../../etc/passwd"}, "it is not a trial id"),
        ("trial", {"trial": "0123456789abcdef"}, "the store has no such trial"),
        ("compare", {"what": "Trials", "trials": "a/../b 0123456789abcdef"}, "it is not a trial id"),
        ("try", {"trial": "<script>"}, "it is not a trial id"),
    ],
)
def test_an_address_cannot_leave_the_store(visit: Open, page: str, address: dict[str, str], why: str) -> None:
    shown = visit(page, **address)
    assert not shown.exception
    assert why in words(shown)


def test_a_damaged_plan_is_passed_over_for_the_one_before(store: FolderStore, visit: Open) -> None:
    before = words(visit("sweep", sweep="partial-conv"))
    store.put("sweeps/partial-conv/plans/0002.json", b"{")
    page = visit("sweep", sweep="partial-conv")
    assert not page.exception
    assert words(page).splitlines()[:3] == before.splitlines()[:3]
    assert not visit().exception


def test_a_sweep_without_a_plan_that_can_be_read_is_an_error(store: FolderStore, visit: Open) -> None:
    store.put("sweeps/partial-conv/plans/0001.json", b"{")
    assert "every plan of it" in words(visit("sweep", sweep="partial-conv"))
    assert not visit().exception


def test_names_are_escaped(tmp_path: Path, visit: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make_store, "NOW", time.time())
    nasty = "<img src=x onerror=alert(1)> **bold** :red[x] $y$"
    make_store.make_store(tmp_path / "store", arms=[ArmSpec(nasty, 25.0)], seeds=range(2), claims=[])
    page = visit("sweep", sweep="partial-conv")
    answer = next(one.value for one in page.markdown if "the only arm" in one.value)
    assert "\\<img src=x onerror=alert\\(1\\)\\>" in answer
    assert "\\:red\\[x\\]" in answer


# --- reading ----------------------------------------------------------------------------------------------------------


def test_a_report_is_built_again_only_when_its_sweep_has_changed(store: FolderStore) -> None:
    reader = Reader(store)
    first = reader.report("partial-conv")
    running = next(cell for cell in first.study.cells if cell.state == "running")
    attempt = stored_attempts.newest_attempt(store, running.trial)
    assert attempt is not None
    stored_attempts.beat(store, attempt, {"time": time.time(), "epoch": 13, "record": {}})
    reader.forget()
    assert reader.report("partial-conv") is first, "a heartbeat changes no figure"
    assert reader.states("partial-conv")[running.trial].epoch == 13
    stored_attempts.end(store, attempt, "failed", time.time(), {"type": "Lost", "message": "gone", "traceback": ""})
    reader.forget()
    assert reader.report("partial-conv").study.states()["failed"] == 2


# --- acting -----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("store")
def test_buttons_without_effect_are_disabled(visit: Open) -> None:
    page = visit("sweep", sweep="partial-conv")
    on = {one.label: not one.disabled for one in page.button}
    assert on["Stop"]
    assert not on["Resume"], "the sweep is running"


def test_a_dialog_describes_the_action_before_it_starts(store: FolderStore, visit: Open) -> None:
    page = visit("sweep", sweep="partial-conv")
    button(page, "Stop").click()
    page.run()
    said = words(page)
    assert "1 trial running: each saves a checkpoint" in said
    assert f"sweeps stop partial-conv --store {store.uri}" in said
    assert stored_plans.stop_requests(store, "partial-conv") == frozenset()


@pytest.mark.usefixtures("store")
def test_without_the_token_pages_can_be_viewed_but_nothing_can_be_stopped(visit: Open) -> None:
    page = visit("sweep", known=False, sweep="partial-conv")
    assert "has the best test PSNR" in words(page)
    button(page, "Stop").click()
    page.run()
    assert "this session needs the token" in words(page)
    assert not [one for one in page.button if one.key == "confirm"]
    page.text_input[0].input("wrong")
    button(page, "Continue").click()
    page.run()
    assert not [one for one in page.button if one.key == "confirm"]


@pytest.mark.usefixtures("store")
def test_a_closed_dashboard_shows_nothing_without_the_token(visit: Open) -> None:
    page = visit(known=False, closed=True)
    assert not page.dataframe
    assert "partial-conv" not in words(page)
    page.text_input[0].input("wrong-token-wrong")
    button(page, "Continue").click()
    page.run()
    assert page.error
    assert not page.dataframe
    page.text_input[0].input(TOKEN)
    button(page, "Continue").click()
    page.run()
    assert page.dataframe
    assert "token" not in page.query_params


@pytest.mark.usefixtures("store")
def test_the_token_is_removed_from_the_address(visit: Open) -> None:
    page = visit(closed=True)
    assert page.dataframe
    assert "token" not in page.query_params


def test_buttons_are_disabled_on_a_read_only_store(
    store: FolderStore, visit: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may write to every folder, so the answer of `os.access` is replaced."""
    monkeypatch.setattr("os.access", lambda *_: False)
    assert not store.writable
    page = visit("sweep", sweep="partial-conv")
    assert all(one.disabled for one in page.button if one.label in ("Resume", "Stop", "Add seeds", "Retry failed"))
    assert "may only read the store" in words(page)


def test_the_command_line_accepts_the_commands_of_the_buttons(store: FolderStore, visit: Open) -> None:
    from sweeps.cli.main import build_parser

    visit()
    given = DashboardSettings(store.uri, TOKEN, data="images", address="auto")
    for arguments in (buttons.arguments(given, "resume", "x"), [*buttons.arguments(given, "resume", "x"), "--retry"]):
        assert build_parser().parse_args(arguments).name == "x"
    assert context.current().reader.names() == ["partial-conv"]


# --- code of users ----------------------------------------------------------------------------------------------------

OLD, NEW = "0123456789abcdef", "fedcba9876543210"


def test_the_code_of_a_trial_and_what_differs_between_two(store: FolderStore, visit: Open) -> None:
    sources = {OLD: "width = 8\nraise SystemExit\n", NEW: "width = 16\nraise SystemExit\n"}
    ids = []
    for name, source in sources.items():
        stored_code.put_code(store, name, {"net.py": source.encode(), "parts/data.bin": b"\xff\xfe" * 9})
        named = f"net.py:Net#{name}"
        config = {"model": {"name": named}, "epochs": 2, "user_code": {"./net.py:Net": named}}
        trial = Trial("inpaint", config, 0, {"code": name})
        stored_trials.write_trials(store, [trial])
        ids.append(trial.id)
    plan = stored_plans.require_plan(store, "partial-conv")
    plan["arms"][0]["config"]["user_code"] = {"./net.py:Net": f"net.py:Net#{NEW}"}
    stored_plans.write_plan(store, "partial-conv", plan, "name: partial-conv\n", time.time())
    page = visit("trial", trial=ids[0], view="Code")
    assert not page.exception
    assert page.code[0].value == sources[OLD].strip()
    assert page.code[0].language == "python"
    assert OLD in words(page)
    assert "18 bytes that are no text" in words(visit("trial", trial=ids[0], view="Code", file="parts/data.bin"))
    assert not page.warning

    page = visit("compare", what="Trials", trials=" ".join(ids), view="Code")
    assert not page.exception
    (shown,) = page.code
    assert shown.language == "diff"
    assert "-width = 8\n+width = 16" in shown.value
    assert "data.bin" not in shown.value, "equal in both"

    page = visit("trial", trial=ids[0], view="Code", sweep="partial-conv")
    assert "Made by older code: ./net.py:Net changed since" in page.warning[0].value.replace("\\", "")


def test_code_that_a_store_does_not_hold_or_that_is_long(store: FolderStore, visit: Open) -> None:
    trial = next(iter(store.children("trials")))
    assert "ran only code of this package" in words(visit("trial", trial=trial, view="Code"))
    config = {"mask": {"name": f"holes.py#{OLD}"}, "epochs": 2}
    lost = Trial("inpaint", config, 0, {"code": "lost"})
    stored_trials.write_trials(store, [lost])
    page = visit("trial", trial=lost.id, view="Code")
    assert not page.exception
    assert "does not hold it completely" in words(page) + "".join(str(one.value) for one in page.error)
    stored_code.put_code(store, OLD, {"holes.py": b"# long\n" * 20_000})
    page = visit("trial", trial=lost.id, view="Code")
    assert len(page.code[0].value) == 60_000
    assert "The first 60,000 of 140,000 characters" in words(page)


def test_differences_of_long_files_are_bounded() -> None:
    many = {"net.py": "x = 1\n" * 6_000}
    assert code.unified(many, many) == ""
    assert "too long to compare" in code.unified(many, {"net.py": "x = 2\n" * 6_000})
    assert code.unified({}, {"net.py": "x = 1\n"}).startswith("--- (none)\n+++ net.py\n")
