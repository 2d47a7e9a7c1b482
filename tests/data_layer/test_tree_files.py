"""Looking around in a stranger's folder."""

from pathlib import Path

from isdm.data.tree_files import FILES_ASKED_PER_FOLDER, first_files, told_before, unique_stems


def test_the_first_files_of_each_folder_in_their_order(tmp_path: Path) -> None:
    for name in (
        "z.json",
        "b.JSON",
        "a.txt",
        ".c.json",
        "y.json",
        "d.json",
        "in/e.json",
        "in/deep/f.json",
        ".no/g.json",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "a.json").symlink_to(tmp_path / "nowhere")
    (tmp_path / "c.json").mkdir()
    found = [path.relative_to(tmp_path).as_posix() for path in first_files(tmp_path, {".json"}, depth=1)]
    assert FILES_ASKED_PER_FOLDER == 3
    assert found == ["b.JSON", "d.json", "y.json", "in/e.json"]
    assert list(first_files(tmp_path / "none", {".json"}, depth=1)) == []


def test_stems_grow_only_as_far_as_they_must() -> None:
    names = ("a.png", "in/b.png", "on/b.png", "in/c.png", "in/c.jpg", "d_e/f.png", "d/e_f.png", "d/e/f.png")
    assert unique_stems([Path("source", name) for name in names], Path("source")) == [
        "a",
        "in_b",
        "on_b",
        "in_c_png",
        "in_c_jpg",
        "d_e_f_png_5",
        "e_f",
        "d_e_f_png_7",
    ]


def test_what_is_told_again_is_told_with_its_first_place() -> None:
    told = [("a", "task 1"), ("b", "task 2"), ("a", "task 3"), ("c", "task 4"), ("a", "task 5")]
    assert list(told_before(lambda: told)) == [None, None, "task 1", None, "task 1"]
