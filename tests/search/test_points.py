"""Which combinations a search tries, in which order, and how many."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_anneal import AnnealError
from lightning_anneal.search.points import count_points, draw_value, points, within
from lightning_anneal.search.settings import Settings
from lightning_anneal.search.space import Axis, Space, find_space

TWO = find_space({"lr": [0.1, 0.2], "deep": {"size": ["a", "b", "c"]}})


def drawn(space: Space, **options: Any) -> list[dict[str, Any]]:
    return list(points(space, Settings(**options)))


def values(space: Space, **options: Any) -> list[tuple[Any, ...]]:
    return [tuple(point.values()) for point in drawn(space, **options)]


ALL = [(0.1, "a"), (0.1, "b"), (0.1, "c"), (0.2, "a"), (0.2, "b"), (0.2, "c")]


def test_a_grid_counts_like_a_clock_the_last_axis_fastest() -> None:
    assert values(TWO) == ALL
    assert drawn(TWO)[1] == {"lr": 0.1, "deep.size": "b"}


def test_without_axes_there_is_one_run() -> None:
    assert drawn(Space({"lr": 0.1})) == [{}]
    assert drawn(Space({"lr": 0.1}), algo="random", n_runs=5) == [{}]


@pytest.mark.parametrize("n_runs", [1, 4, 6])
@pytest.mark.parametrize("seed", range(5))
def test_at_random_no_combination_comes_twice(n_runs: int, seed: int) -> None:
    found = values(TWO, algo="random", n_runs=n_runs, sampler_seed=seed)
    assert len(found) == len(set(found)) == n_runs
    assert set(found) <= set(ALL)


def test_more_than_there_are_is_all_of_them() -> None:
    found = values(TWO, algo="random", n_runs=100)
    assert sorted(found) == ALL
    assert found != ALL
    assert count_points(TWO, Settings(algo="random", n_runs=100)) == 6


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 6),
        ({"seeds": [3, 1]}, 12),
        ({"algo": "random", "n_runs": 4}, 4),
        ({"algo": "random", "n_runs": 4, "seeds": [0, 1, 2]}, 12),
        ({"algo": "random", "n_runs": 9, "seeds": [0, 1]}, 12),
        # It draws one after the other, perhaps one twice.
        ({"algo": "tpe", "n_runs": 9}, 9),
    ],
)
def test_the_number_of_runs(options: dict[str, Any], expected: int) -> None:
    assert count_points(TWO, Settings(**options)) == expected
    if options.get("algo") != "tpe":
        assert len(drawn(TWO, **options)) == expected


def test_every_combination_is_run_with_every_seed() -> None:
    space = find_space({"lr": [0.1, 0.2]})
    assert drawn(space, seeds=[3, 1]) == [
        {"lr": 0.1, "seed_everything": 3},
        {"lr": 0.1, "seed_everything": 1},
        {"lr": 0.2, "seed_everything": 3},
        {"lr": 0.2, "seed_everything": 1},
    ]


RANGES = find_space(
    {
        "lr": {"log_uniform": [1e-5, 1e-1]},
        "p": {"uniform": [0.0, 0.5]},
        "depth": {"uniform": [1, 4]},
        "width": {"log_uniform": [8, 512]},
        "name": ["a", "b"],
    }
)


def test_ranges_and_lists_are_drawn_together() -> None:
    found = drawn(RANGES, algo="random", n_runs=60)
    assert len(found) == 60
    assert {type(value) for point in found for value in (point["lr"], point["p"])} == {float}
    assert {point["depth"] for point in found} == {1, 2, 3, 4}
    assert {type(point["width"]) for point in found} == {int}
    assert {point["name"] for point in found} == {"a", "b"}
    # The scale shows: of four decades each has its share, while of an even range the lower half has half.
    assert all(5 <= sum(low <= point["lr"] < 10 * low for point in found) <= 25 for low in (1e-5, 1e-4, 1e-3, 1e-2))
    assert 20 <= sum(point["p"] < 0.25 for point in found) <= 40
    assert 20 <= sum(point["width"] < 64 for point in found) <= 40


def test_drawn_numbers_have_four_digits() -> None:
    for point in drawn(RANGES, algo="random", n_runs=30):
        for value in (point["lr"], point["p"]):
            digits = repr(value).split("e")[0].replace(".", "").strip("0")
            assert len(digits) <= 4


@pytest.mark.parametrize("space", [TWO, RANGES])
def test_the_sampler_seed_decides(space: Space) -> None:
    first, again, other = (values(space, algo="random", n_runs=5, sampler_seed=seed) for seed in (1, 1, 2))
    assert first == again != other


number = st.floats(min_value=-1e12, max_value=1e12)
above_zero = st.floats(min_value=1e-12, max_value=1e12)
counts = st.integers(min_value=1, max_value=10**12)


@settings(deadline=None)
@given(ends=st.tuples(number, number).filter(lambda ends: ends[0] < ends[1]), seed=st.integers(0, 99))
def test_an_even_range_is_never_left(ends: tuple[float, float], seed: int) -> None:
    stays_in("uniform", ends, seed, float)


@settings(deadline=None)
@given(ends=st.tuples(above_zero, above_zero).filter(lambda ends: ends[0] < ends[1]), seed=st.integers(0, 99))
def test_a_logarithmic_range_is_never_left(ends: tuple[float, float], seed: int) -> None:
    stays_in("log_uniform", ends, seed, float)


@settings(deadline=None)
@given(low=counts, more=counts, scale=st.sampled_from(["uniform", "log_uniform"]), seed=st.integers(0, 99))
def test_a_range_of_whole_numbers_is_never_left(low: int, more: int, scale: str, seed: int) -> None:
    stays_in(scale, (low, low + more), seed, int)


def stays_in(scale: str, ends: tuple[Any, Any], seed: int, kind: type) -> None:
    space = Space({"x": ends[0]}, {"x": Axis("x", ends, "", scale)})
    for [value] in values(space, algo="random", n_runs=3, sampler_seed=seed):
        assert ends[0] <= value <= ends[1]
        assert type(value) is kind


@pytest.mark.parametrize("scale", ["uniform", "log_uniform"])
def test_both_ends_of_whole_numbers_are_drawn(scale: str) -> None:
    space = Space({"x": 1}, {"x": Axis("x", (1, 3), "", scale)})
    assert {value for [value] in values(space, algo="random", n_runs=60)} == {1, 2, 3}


@pytest.mark.parametrize(
    ("ends", "value", "expected"),
    [
        ((0.1, 0.2), 0.3, 0.2),
        ((0.1, 0.2), 0.0, 0.1),
        ((0.1, 0.2), 0.123456, 0.1235),
        # Rounded, it would be out of the range.
        ((0.123456, 0.2), 0.1234561, 0.1235),
        ((0.1, 0.12344), 0.12344, 0.1234),
        ((0.1, 0.12346), 0.12346, 0.12346),
        ((1, 8), 9.7, 8),
        ((1, 8), 2.6, 3),
        ((1, 8), 0.2, 1),
    ],
)
def test_the_nearest_value_of_a_range(ends: tuple[Any, Any], value: float, expected: Any) -> None:
    found = within(Axis("x", ends, "", "uniform"), value)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_runs": 5}, "search.max_runs: these would be 6 runs, over 5; raise it, or try less"),
        ({"max_runs": 6, "seeds": [1, 2]}, "search.max_runs: these would be 12 runs, over 6; raise it, or try less"),
        ({"algo": "tpe", "n_runs": 7, "max_runs": 6}, "search.max_runs: these would be 7 runs, over 6; raise it, or try less"),
    ],
)  # fmt: skip
def test_a_larger_search_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(AnnealError) as error:
        count_points(TWO, Settings(**options))
    assert str(error.value) == message


def test_as_many_as_may_be_is_not_too_many() -> None:
    assert count_points(TWO, Settings(max_runs=6)) == 6
    assert count_points(TWO, Settings(algo="random", n_runs=100, max_runs=6)) == 6


def test_a_range_is_no_part_of_a_grid() -> None:
    with pytest.raises(AnnealError) as error:
        count_points(RANGES, Settings())
    assert str(error.value) == "lr: a range can't be a grid; list values, or take --algo random or tpe"


def test_whole_numbers_of_a_range_come_no_more_than_once_either() -> None:
    found = values(find_space({"x": {"uniform": [1, 3]}}), algo="random", n_runs=50)
    assert sorted(found) == [(1,), (2,), (3,)]


def test_a_few_of_very_many_combinations() -> None:
    space = find_space({f"x{i}": [1, 2, 3] for i in range(41)})
    assert len(values(space, algo="random", n_runs=2)) == 2


def test_one_value_of_a_list() -> None:
    draw = random.Random(0)
    axis = Axis("x", ([1], None, "a"), "")
    assert {repr(draw_value(axis, draw)) for _ in range(40)} == {"[1]", "None", "'a'"}
