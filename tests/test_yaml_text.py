"""YAML of strangers: plain values, bombs of repeated names refused at once, no code ever run."""

import datetime
from pathlib import Path

import pytest

from isdm.yaml_text import MOST_CHARACTERS, YamlTextError, parse_yaml


def doubled(first: str, line: str, times: int = 12, depth: int = 10) -> str:
    """Lines that each repeat the one before, which stand for `times ** depth` values."""
    lines = [f"a0: &a0 {first}"]
    lines += [f"a{i}: &a{i} {line.format(','.join([f'*a{i - 1}'] * times))}" for i in range(1, depth)]
    return "\n".join(lines)


def test_plain_values_and_honest_names_are_read() -> None:
    text = "a: &x {p: 1, q: [yes, 2024-01-31]}\nb: {<<: *x, p: 2}\nc: [*x, *x]"
    one = {"p": 1, "q": [True, datetime.date(2024, 1, 31)]}
    assert parse_yaml(text) == {"a": one, "b": one | {"p": 2}, "c": [one, one]}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (doubled("[x, x]", "[{}]"), "stands for more than 100,000 values"),
        (doubled("{k: v}", "{{<<: [{}]}}"), "stands for more than 100,000 values"),
        ("a: &a [*a]", "contains itself"),
        ("&a {x: {y: *a}}", "contains itself"),
        ("[" * 5000, "nested too deeply"),
        ("- " * 5000 + "x", "nested too deeply"),
        ("a: " + "9" * 5000, "5,000 digits"),
        ("a: 0x" + "f" * 100_000, "100,002 digits"),
        ("a: " + ":".join(["1"] * 1000), "digits"),
        ("a: 2026-13-45", "month must be in"),
        ("? [a]\n: b", "unhashable key"),
        ("!!float ''", "index out of range"),
        ("a: [", "expected the node content"),
        ("\x00", "special characters"),
        ("x" * (MOST_CHARACTERS + 1), "at most 4,194,304 are read"),
    ],
)
def test_what_is_no_sound_yaml_is_refused_in_a_line(text: str, why: str) -> None:
    with pytest.raises(YamlTextError, match=why) as caught:
        parse_yaml(text)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("tag", ["python/object/apply:pathlib.Path.touch", "python/name:os.system", "python/tuple"])
def test_no_code_is_run(tmp_path: Path, tag: str) -> None:
    with pytest.raises(YamlTextError, match="could not determine a constructor"):
        parse_yaml(f"!!{tag} ['{tmp_path / 'touched'}']")
    assert not list(tmp_path.iterdir())
