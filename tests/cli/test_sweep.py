"""A short form of `benchmarks/sweep.py`: damaged command lines end with an exit code and a word, no traceback."""

from pathlib import Path

import pytest

from cli_sweep import case, make_world, run_command

NUM_COMMANDS = 40


@pytest.mark.filterwarnings("ignore")
def test_damaged_command_lines_end_with_a_word(tmp_path: Path) -> None:
    world = tmp_path / "world"
    make_world(world)
    endings = [case(world, 10_000 + index) for index in range(NUM_COMMANDS)]
    assert [ending for ending in endings if ending.problem is not None] == []
    assert {ending.code for ending in endings} == {0, 1, 2}


def test_what_was_typed_reaches_the_terminal_as_escapes() -> None:
    ending = run_command(["data", "check", "tiles", "\u202egnp\x1b[2J"])
    assert (ending.code, ending.problem) == (2, None)
    assert r"\u202egnp\x1b[2J" in ending.error
    assert "isdm data check [OPTIONS]" in ending.error
