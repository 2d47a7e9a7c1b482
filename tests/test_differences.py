"""A refusal names what differs, and only that, as people write it."""

from typing import Any

import pytest

from isdm.differences import LONGEST_VALUE, differences, told


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (
            {"unet": {"norm_groups": 8, "dropout": 0.0}},
            {"unet": {"norm_groups": 32, "dropout": 0}},
            ["unet.norm_groups was 8, now 32"],
        ),
        ({"size": [64, 64]}, {"size": (64, 64)}, []),
        ({"size": [64, 64]}, {"size": (96, 128)}, ["size was [64, 64], now [96, 128]"]),
        ({"group_by": r"(fruit\d+)"}, {"group_by": None}, [r"group_by was (fruit\d+), now not given"]),
        ({"flip": True}, {"flip": False}, ["flip was true, now false"]),
        (
            {"primary": None},
            {"primary": {"real": "all", "arm": None}},
            ["primary was not given, now {real: all, arm: not given}"],
        ),
        ({"merge": {"a": ["b"]}}, {"merge": {}}, ["merge.a was [b], now not given"]),
        ({}, {"keep": None}, []),
        ({"max_time": 3600.0}, {"max_time": 5400.5}, ["max_time was 3600, now 5400.5"]),
        ({"learning_rate": 1e-4}, {"learning_rate": 5e-5}, ["learning_rate was 0.0001, now 5e-05"]),
        ({"device": "cpu"}, {"device": ""}, ["device was cpu, now empty"]),
    ],
)
def test_only_what_differs_is_named(before: dict[str, Any], now: dict[str, Any], expected: list[str]) -> None:
    assert differences(before, now) == expected


def test_keys_lie_in_their_stage_and_some_may_differ() -> None:
    before, now = {"steps": 60, "device": "cpu"}, {"steps": 80, "device": "cuda"}
    assert differences(before, now, leave_out={"device"}, below="train") == ["train.steps was 60, now 80"]


def test_of_many_differences_the_first_are_named_and_the_others_counted() -> None:
    changed = differences(dict.fromkeys("abcdef", 1), dict.fromkeys("abcdef", 2))
    assert told(changed) == "a was 1, now 2; b was 1, now 2; c was 1, now 2; d was 1, now 2; and 2 more"
    assert told(changed[:4]) == "a was 1, now 2; b was 1, now 2; c was 1, now 2; d was 1, now 2"


def test_a_long_value_is_cut() -> None:
    (line,) = differences({"classes": [f"class{number}" for number in range(40)]}, {"classes": ["crack"]})
    assert line.endswith("…, now [crack]")
    assert len(line) < LONGEST_VALUE + 40
