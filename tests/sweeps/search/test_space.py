"""The search space: what each entry draws, how points are encoded, and errors."""

from __future__ import annotations

import math
import random
from collections import Counter
from typing import Any

import pytest

from sweeps.errors import SweepError
from sweeps.search.space import Space, parse
from sweeps.spec.trial import canonical

LOSS = {"simplex": ["l2", "adversarial"], "min": 1.0e-5}
EVERYTHING: dict[str, Any] = {
    "model.width": {"choice": [32, 64]},
    "optimiser.betas": {"choice": [[0.5, 0.999], [0.9, 0.999], None, True, "auto", {"a": 1}]},
    "optimiser.lr": {"float": [1.0e-4, 1.0e-2], "log": True},
    "dropout": {"float": [0.0, 0.5], "step": 0.1},
    "batch": {"int": [16, 128], "step": 16},
    "depth": {"int": [1, 64], "log": True},
    "loss": LOSS,
    "weights": {"simplex": ["a", "b", "c", "d"], "min": 1.0e-3},
    "mix": {"ratio": ["alpha", "beta"], "range": [0.01, 100], "total": 2.0},
}
CONDITIONAL: dict[str, Any] = {
    "optimiser.name": {"choice": ["adam", "sgd", "rmsprop"]},
    "optimiser.momentum": {"int": [0, 3], "when": {"optimiser.name": ["sgd", "rmsprop"]}},
    "optimiser.nesterov": {"choice": [False, True], "when": {"optimiser.momentum": [1, 2, 3]}},
}


def draw(space: Space, chance: random.Random) -> dict[str, Any]:
    """Parameters drawn uniformly, including those of inactive keys."""
    return {axis.name: axis.from_unit(chance.random()) for axis in space.axes()}


def suggested(space: Space, seed: int, count: int) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """(parameters, overrides) as Optuna's own random sampler draws them."""
    import optuna

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    found = []
    for _ in range(count):
        trial = study.ask()
        overrides = space.suggest(trial)
        found.append((trial.params, overrides))
    return found


@pytest.fixture(autouse=True)
def silent_optuna() -> Any:
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(level)


# --- what is drawn ----------------------------------------------------------------------------------------------------


def test_every_kind_round_trips() -> None:
    space, chance = parse(EVERYTHING), random.Random(0)
    for _ in range(300):
        params = draw(space, chance)
        overrides = space.overrides_of(params)
        back = space.params_of(overrides)
        assert back.keys() == params.keys()
        for name, value in params.items():
            same = math.isclose(back[name], value, abs_tol=1e-9) if isinstance(value, float) else back[name] == value
            assert same, (name, value, back[name])
        again = space.overrides_of(back)
        assert all(again[k] == pytest.approx(v, rel=1e-9) for k, v in overrides.items() if isinstance(v, float))


def test_optuna_draws_what_the_space_says() -> None:
    space = parse(EVERYTHING)
    study = suggested(space, 0, 50)
    for params, overrides in study:
        assert overrides["model.width"] in (32, 64)
        assert 1e-4 <= overrides["optimiser.lr"] <= 1e-2
        assert overrides["dropout"] in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5), "steps are what a person would type"
        assert overrides["batch"] in range(16, 129, 16)
        assert isinstance(overrides["batch"], int)
        assert isinstance(overrides["depth"], int)
        assert overrides == space.overrides_of(params)
    assert {canonical(overrides["optimiser.betas"]) for _, overrides in study} == {
        canonical(value) for value in EVERYTHING["optimiser.betas"]["choice"]
    }


def test_both_ends_are_drawn() -> None:
    for axis in parse(EVERYTHING).axes():
        if not axis.labels:
            assert axis.from_unit(0.0) == pytest.approx(axis.low, rel=1e-12)
            assert axis.from_unit(1.0) == pytest.approx(axis.high, rel=1e-12)
            assert axis.low <= axis.from_unit(0.0) <= axis.from_unit(1.0) <= axis.high
            assert axis.from_unit(axis.to_unit(axis.from_unit(0.3))) == pytest.approx(axis.from_unit(0.3))
        else:
            assert {axis.from_unit(u / 100) for u in range(101)} == set(axis.labels)


def test_the_order_of_keys_changes_nothing() -> None:
    turned = parse(dict(reversed(CONDITIONAL.items())))
    assert [v.name for v in turned.variables] == [v.name for v in parse(CONDITIONAL).variables]


# --- simplex and ratio ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "minimum"), [(2, 1e-5), (2, 0.499999), (3, 1e-5), (3, 1 / 3 - 1e-9), (6, 1e-8)])
def test_simplex_sums_to_one_and_keeps_the_minimum(count: int, minimum: float) -> None:
    space, chance = parse({"loss": {"simplex": [f"w{i}" for i in range(count)], "min": minimum}}), random.Random(1)
    corners = [dict.fromkeys((axis.name for axis in space.axes()), end) for end in (0.0, 1.0)]
    for params in [*corners, *(draw(space, chance) for _ in range(500))]:
        weights = list(space.overrides_of(params).values())
        assert len(weights) == count
        assert abs(sum(weights) - 1) <= 1e-12
        assert min(weights) >= minimum


def test_two_weights_are_resolved_at_both_ends() -> None:
    """The logarithm of the smaller weight is uniform: equally many draws in each decade, at both ends."""
    space = parse({"loss": LOSS})
    units = [i / 1000 for i in range(1001)]
    first = [space.overrides_of({"loss.simplex.l2": u})["loss.l2"] for u in units]
    second = [space.overrides_of({"loss.simplex.l2": u})["loss.adversarial"] for u in units]
    assert first[0] == pytest.approx(1e-5)
    assert second[-1] == pytest.approx(1e-5)
    assert first[500] == pytest.approx(0.5)
    assert first == pytest.approx(second[::-1], rel=1e-9)
    for weights in (first, second):
        decades = Counter(math.floor(math.log10(w) + 1e-9) for w in weights if w < 0.01)
        assert sorted(decades) == [-5, -4, -3]
        assert all(97 <= n <= 103 for n in decades.values()), decades


def test_each_of_several_weights_gets_the_upper_hand_as_often() -> None:
    space, chance = parse({"loss": {"simplex": ["a", "b", "c"], "min": 1e-4}}), random.Random(2)
    winners: Counter[str] = Counter()
    for _ in range(3000):
        weights = space.overrides_of(draw(space, chance))
        winners[max(weights, key=lambda key: weights[key])] += 1
    assert all(850 <= n <= 1150 for n in winners.values()), winners


def test_ratio_keeps_the_total() -> None:
    space = parse({"mix": {"ratio": ["alpha", "beta"], "range": [0.1, 10], "total": 3.0}})
    for ratio in (0.1, 1.0, 10.0):
        weights = space.overrides_of({"mix.ratio": ratio})
        assert weights["mix.alpha"] / weights["mix.beta"] == pytest.approx(ratio)
        assert sum(weights.values()) == pytest.approx(3.0, rel=1e-15)
    assert parse({"mix": {"ratio": ["a", "b"]}}).overrides_of({"mix.ratio": 1.0}) == {"mix.a": 0.5, "mix.b": 0.5}


# --- conditions and size ----------------------------------------------------------------------------------------------


def test_conditional_keys_appear_only_where_they_mean_something() -> None:
    space = parse(CONDITIONAL)
    assert space.conditional
    assert not parse(EVERYTHING).conditional
    assert [axis.name for axis in space.axes(always=True)] == ["optimiser.name"]
    for _, overrides in suggested(space, 3, 60):
        assert ("optimiser.momentum" in overrides) == (overrides["optimiser.name"] != "adam")
        assert ("optimiser.nesterov" in overrides) == (overrides.get("optimiser.momentum", 0) > 0)


def test_size_and_points_agree() -> None:
    space = parse(CONDITIONAL)
    points = [canonical(space.overrides_of(params)) for params in space.points()]
    assert space.size() == len(points) == len(set(points)) == 1 + 2 * (1 + 3 * 2)
    assert parse(EVERYTHING).size() is None
    grid = parse({"a": {"int": [1, 1000]}, "b": {"int": [1, 1000]}, "c": {"float": [0.0, 1.0], "step": 0.25}})
    assert grid.size() == 5_000_000, "counted, not listed"


def test_a_list_among_the_choices_is_one_value_in_a_condition() -> None:
    raw = {"betas": {"choice": [[0.5, 0.9], [0.9, 0.99]]}, "x": {"int": [1, 2], "when": {"betas": [0.5, 0.9]}}}
    assert parse(raw).size() == 3


# --- known good points ------------------------------------------------------------------------------------------------


def test_points_may_leave_keys_open() -> None:
    space = parse(EVERYTHING)
    assert space.params_of({"dropout": 0.3, "model.width": 64}) == {"dropout": pytest.approx(0.3), "model.width": 64}
    assert space.params_of({"loss.l2": 0.999, "loss.adversarial": 0.001}).keys() == {"loss.simplex.l2"}


@pytest.mark.parametrize(
    ("point", "key", "why"),
    [
        ({"model.depth": 3}, "model.depth", "no such key"),
        ({"model.width": 48}, "model.width", "not one of the choices"),
        ({"model.width": True}, "model.width", "not one of the choices"),
        ({"optimiser.lr": 0.1}, "optimiser.lr", "outside the range"),
        ({"optimiser.lr": "fast"}, "optimiser.lr", "not a finite number"),
        ({"batch": 16.0}, "batch", "outside the range"),
        ({"batch": 20}, "batch", "between two steps"),
        ({"dropout": 0.15}, "dropout", "between two steps"),
        ({"loss.l2": 0.5}, "loss.l2", "also needs"),
        ({"loss.l2": 0.5, "loss.adversarial": 0.6}, "loss.l2", "sum to 1.1"),
        ({"loss.l2": 1.0, "loss.adversarial": 0.0}, "loss.l2", "one weight is 0"),
        ({"mix.alpha": 0.5, "mix.beta": 0.5}, "mix.alpha", "sum to 1"),
        ({"mix.alpha": 1.999, "mix.beta": 0.001}, "mix.alpha", "outside the range"),
    ],
)
def test_a_point_outside_the_space_is_named(point: dict[str, Any], key: str, why: str) -> None:
    with pytest.raises(SweepError) as caught:
        parse(EVERYTHING).params_of(point)
    assert key in caught.value.given
    assert why in caught.value.why
    assert caught.value.allowed
    assert caught.value.fix


def test_a_point_against_its_condition_is_refused() -> None:
    space = parse(CONDITIONAL)
    assert space.params_of({"optimiser.momentum": 2, "optimiser.name": "sgd"})
    with pytest.raises(SweepError, match=r"also needs 'optimiser\.name'"):
        space.params_of({"optimiser.momentum": 2})
    with pytest.raises(SweepError, match="does not hold"):
        space.params_of({"optimiser.momentum": 2, "optimiser.name": "adam"})


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (None, "does not say what to draw"),
        ([1, 2], "does not say what to draw"),
        ({}, "does not say what to draw"),
        ({"lr": {"float": [0, 1]}}, "does not say what to draw"),
        ({"float": [0, 1], "int": [0, 1]}, "float and int at once"),
        ({"float": [0, 1], "logs": True}, "the key 'logs' is unknown"),
        ({"choice": [1], "log": True}, "the key 'log' is unknown"),
        ({"choice": []}, "empty or not a list"),
        ({"choice": "abc"}, "empty or not a list"),
        ({"choice": [1, 1.0]}, "two choices are equal"),
        ({"choice": [math.nan]}, "not a JSON value"),
        ({"choice": [[math.inf]]}, "not a JSON value"),
        ({"choice": [object()]}, "not a JSON value"),
        ({"float": [0]}, "two ends"),
        ({"float": 0.5}, "two ends"),
        ({"float": [1, 1]}, "1 is not below 1"),
        ({"float": [2.0, 1.0]}, "2 is not below 1"),
        ({"float": ["1e-5", 1]}, "write 1.0e-5"),
        ({"float": [False, 1]}, "not a finite number"),
        ({"float": [0, math.inf]}, "not a finite number"),
        ({"float": [0, 1], "log": True}, "a log scale does not contain 0"),
        ({"float": [0, 1], "log": "yes"}, "log is 'yes'"),
        ({"float": [1, 2], "log": True, "step": 0.5}, "both log and step"),
        ({"float": [0, 1], "step": 0}, "the step is 0"),
        ({"float": [0, 1], "step": 0.3}, "do not reach 1"),
        ({"int": [0, 10], "step": 3}, "do not reach 10"),
        ({"int": [0, 10], "log": True}, "a log scale does not contain 0"),
        ({"int": [0.5, 10]}, "not a whole number"),
        ({"int": [0, 10], "step": 2.5}, "not a whole number"),
        ({"simplex": "l2"}, "does not name the weights"),
        ({"simplex": ["l2"]}, "1 names"),
        ({"simplex": ["l2", "l2"]}, "1 of them different"),
        ({"simplex": ["a", "b"], "min": 0.5}, "cannot sum to 1"),
        ({"simplex": ["a", "b"], "min": 0}, "cannot sum to 1"),
        ({"ratio": ["a", "b", "c"]}, "3 names"),
        ({"ratio": ["a", "b"], "range": [0, 1]}, "positive"),
        ({"ratio": ["a", "b"], "total": -1}, "positive"),
        ({"ratio": ["a", "b"], "range": [10, 0.1]}, "not below"),
        ({"choice": [1], "when": {}}, "no condition"),
        ({"choice": [1], "when": "adam"}, "no condition"),
        ({"choice": [1], "when": {"nothing": 1}}, "`when` refers to 'nothing'"),
        ({"choice": [1], "when": {"other": 3}}, "other is never 3"),
        ({"choice": [1], "when": {"other": []}}, "no value"),
        ({"choice": [1], "when": {"real": 0.5}}, "`when` refers to 'real'"),
        ({"choice": [1], "when": {"key": 1}}, "circle"),
    ],
)
def test_a_wrong_entry_is_named(entry: Any, why: str) -> None:
    raw = {"key": entry, "other": {"choice": [1, 2]}, "real": {"float": [0.0, 1.0]}}
    with pytest.raises(SweepError) as caught:
        parse(raw)
    assert caught.value.given.startswith("search.space: key: ")
    assert why in caught.value.why
    assert caught.value.allowed
    assert caught.value.fix.startswith("key: {")


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ({}, "it has no keys"),
        (None, "it has no keys"),
        ([], "it has no keys"),
        ({"a..b": {"choice": [1]}}, "not a dotted configuration key"),
        ({3: {"choice": [1]}}, "not a dotted configuration key"),
        ({"loss": LOSS, "loss.l2": {"float": [0.0, 1.0]}}, "set the same value"),
        ({"loss": {"choice": [{"l2": 1}]}, "loss.l2": {"float": [0.0, 1.0]}}, "set the same value"),
        (
            {"a": {"choice": [1], "when": {"b": 1}}, "b": {"choice": [1], "when": {"a": 1}}},
            "circle",
        ),
    ],
)
def test_a_wrong_space_is_refused(raw: Any, why: str) -> None:
    with pytest.raises(SweepError) as caught:
        parse(raw)
    assert why in caught.value.why
