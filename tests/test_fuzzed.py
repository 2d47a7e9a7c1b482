"""A short form of `benchmarks/fuzz.py`, and what its long form has found: damaged files are read or refused.

The long form has time limits and a bound of memory; here an exception that is no `IsdmError` is enough.
"""

import random
import string
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz_mutations import HOSTILE_NUMBERS, HOSTILE_TEXTS, damaged
from fuzz_targets import TARGETS, Target
from isdm.config import TrainConfig, build, parse_settings, with_preset
from isdm.errors import IsdmError
from isdm.files import read_json
from isdm.text import printable
from isdm.yaml_text import YamlTextError, parse_yaml

NUM_INPUTS = 12
FOUND = [
    ("archives", 20),  # a name that is a file and a folder in one archive
    ("archives", 5011),  # an offset before the archive's beginning
    ("dataset", 9412),  # a null byte in a file's name
    ("states", 6230),  # a pickle that ends within a number
    ("study", 5018),  # a cell whose counts differ in length
]
"""Targets and numbers of inputs that once gave a traceback."""


def refusal(read: Callable[[], object], kind: type[Exception] = IsdmError) -> str | None:
    """The message of a refusal; None where it was read."""
    try:
        read()
    except kind as error:
        return str(error)
    return None


def read_damaged(target: Target, seeds: dict[str, bytes], folder: Path, name: str, index: int) -> None:
    rng = random.Random(f"{name}/{index}")
    path = rng.choice([path for path in seeds if not path.endswith(target.spare or ("/",))])
    for other, content in ({} if target.alone else seeds).items():
        (folder / other).parent.mkdir(parents=True, exist_ok=True)
        (folder / other).write_bytes(content)
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(damaged(seeds[path], Path(path).suffix, rng))
    assert refusal(lambda: target.read(folder)) != ""


def seeds_of(target: Target, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    target.write(folder)
    target.read(folder)  # the valid tree passes
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TARGETS)
def test_damaged_files_are_read_or_refused(tmp_path: Path, name: str) -> None:
    target = TARGETS[name]
    seeds = seeds_of(target, tmp_path / "seed")
    for index in range(NUM_INPUTS):
        read_damaged(target, seeds, tmp_path / str(index), name, index)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "index"), FOUND)
def test_what_was_found(tmp_path: Path, name: str, index: int) -> None:
    target = TARGETS[name]
    read_damaged(target, seeds_of(target, tmp_path / "seed"), tmp_path / "tree", name, index)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(HOSTILE_NUMBERS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from([*TrainConfig.model_fields, "unet.base_channels", "unet.channel_multipliers", "x", ""])
few = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@few
@given(st.dictionaries(KEYS, JSON_VALUES, max_size=3))
def test_options_of_any_value_are_taken_or_refused(values: dict[str, object]) -> None:
    message = refusal(lambda: build(TrainConfig, with_preset(values)))
    assert message is None or message.startswith(("In the options: ", "preset "))


@few
@given(
    KEYS, st.text(max_size=20) | st.sampled_from(HOSTILE_TEXTS) | st.text("&*![]{}:<-?|>%@`#,'\"a1. \n", max_size=20)
)
def test_settings_of_any_text_are_taken_or_refused(key: str, text: str) -> None:
    assert refusal(lambda: build(TrainConfig, with_preset(parse_settings([f"{key}={text}"])))) != ""


@few
@given(st.text("&*![]{}:<-?|>%@`#,'\"ab1. \n", max_size=60))
def test_yaml_of_any_text_is_read_or_refused_in_a_line(text: str) -> None:
    message = refusal(lambda: parse_yaml(text), YamlTextError)
    assert message is None or len(message.splitlines()) == 1


@few
@given(st.binary(max_size=60) | st.text(string.printable, max_size=60).map(str.encode))
def test_json_of_any_bytes_is_read_or_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    message = refusal(lambda: read_json(path))
    assert message is None or "a.json" in message


@few
@given(st.text())
def test_what_is_printed_has_no_control_character(text: str) -> None:
    assert printable(text).isprintable()
    assert printable(printable(text)) == printable(text)
