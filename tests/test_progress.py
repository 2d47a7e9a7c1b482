"""Messages and results: what a stranger named is printed as it is, and does nothing."""

import pytest

from isdm.progress import answer, progress, say

NAME = "[red]x[/red] :smile: \x1b[31m\u202e"
SHOWN = r"[red]x[/red] :smile: \x1b[31m\u202e"


@pytest.mark.parametrize("tell", [say, answer])
def test_a_strangers_name_is_neither_markup_nor_an_escape_sequence(
    tell: object, capsys: pytest.CaptureFixture[str]
) -> None:
    tell(f"{NAME} is missing.\nPut it there.")  # type: ignore[operator]
    shown = capsys.readouterr()
    assert (shown.out, shown.err)[tell is say] == f"{SHOWN} is missing.\nPut it there.\n"
    assert (shown.err, shown.out)[tell is say] == ""


def test_a_note_beside_the_progress_is_harmless_too(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("Trying", total=1) as bar:
        bar.advance(note=NAME)
    assert capsys.readouterr().err.rstrip().endswith(SHOWN)


@pytest.mark.parametrize("rank", ["0", "1"])
def test_of_several_processes_the_first_alone_speaks(
    rank: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", rank)
    answer("Model: out")
    say("One step takes 1 s.")
    told = capsys.readouterr()
    assert (told.out, told.err) == (("Model: out\n", "One step takes 1 s.\n") if rank == "0" else ("", ""))
