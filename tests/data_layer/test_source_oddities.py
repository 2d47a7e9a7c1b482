"""What trees have beside what their format says: other suffixes, marks, line ends, the litter of file managers."""

import codecs
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from imported import imported
from isdm.config import DataConfig
from isdm.data.checking import check_dataset
from isdm.data.layouts import read_source
from isdm.errors import DataError
from source_trees import NUM_PAIRS, TREES, folders, picture

TEXT = {".json", ".xml", ".txt", ".yaml"}


def text_files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.suffix in TEXT]


def litter(root: Path) -> None:
    """What macOS and Windows leave in folders, and what people put at the top."""
    folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
    files = [path for path in root.rglob("*") if path.is_file()]
    for folder in folders:
        for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
            (folder / name).write_bytes(b"\0\1litter")
    for path in files:
        beside = root / "__MACOSX" / path.relative_to(root).parent
        beside.mkdir(parents=True, exist_ok=True)
        for double in (path.with_name(f"._{path.name}"), beside / f"._{path.name}"):
            double.write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
    (root / "README.md").write_text("# Data\n")
    (root / "license.txt").write_text("free to use\n")


def byte_order_mark(root: Path) -> None:
    for path in text_files(root):
        path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())


def windows_line_ends(root: Path) -> None:
    for path in text_files(root):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))


def renamed(root: Path, new_suffix: dict[str, str]) -> None:
    for path in [path for path in root.rglob("*") if path.suffix in new_suffix]:
        path.rename(path.with_suffix(new_suffix[path.suffix]))
    for path in text_files(root):
        text = path.read_text()
        for old, new in new_suffix.items():
            text = text.replace(old, new)
        path.write_text(text)


def capital_suffixes(root: Path) -> None:
    renamed(root, {".jpg": ".JPG", ".png": ".PNG"})


def long_suffix(root: Path) -> None:
    renamed(root, {".jpg": ".jpeg"})


ODDITIES = (litter, byte_order_mark, windows_line_ends, capital_suffixes, long_suffix)


@pytest.mark.parametrize("layout", TREES)
def test_a_tree_is_read_whatever_is_odd_about_it(tmp_path: Path, layout: str) -> None:
    TREES[layout](tmp_path / "plain")
    wanted = read_source(DataConfig(source=tmp_path / "plain"))
    assert wanted[0] == layout
    for odd in ODDITIES:
        TREES[layout](tmp_path / odd.__name__)
        odd(tmp_path / odd.__name__)
        name, source = read_source(DataConfig(source=tmp_path / odd.__name__))
        assert (name, source.problems) == (layout, []), odd.__name__
        assert [pair.stem for pair in source.pairs] == [pair.stem for pair in wanted[1].pairs], odd.__name__
        for one, other in zip(source.pairs, wanted[1].pairs, strict=True):
            assert (one.load_mask() == other.load_mask()).all(), odd.__name__
            assert one.split == other.split


@pytest.mark.parametrize("layout", TREES)
def test_an_archive_with_a_top_folder_and_blanks_in_names_is_imported(tmp_path: Path, layout: str) -> None:
    TREES[layout](tmp_path / "tree")
    with zipfile.ZipFile(tmp_path / "mäßig gut – 図.zip", "w") as archive:
        for path in sorted(path for path in (tmp_path / "tree").rglob("*") if path.is_file()):
            archive.write(path, Path("My data (1)") / path.relative_to(tmp_path / "tree"))
        archive.writestr("__MACOSX/._My data (1)", b"\0\5\x16\7")
        archive.writestr(".DS_Store", b"litter")
    dataset = imported(tmp_path / "mäßig gut – 図.zip", size=16, near_duplicates=False)
    assert dataset.info.source["layout"] == layout
    assert check_dataset(dataset) >= NUM_PAIRS


def test_a_picture_that_its_exif_data_turn_off_its_mask_is_told_so(tmp_path: Path, put: Callable[..., Path]) -> None:
    folders(tmp_path / "source")
    image = Image.fromarray(picture(0))
    image.getexif()[0x0112] = 6
    image.save(tmp_path / "source/images/0.jpg", exif=image.getexif())
    with pytest.raises(DataError, match=r"0\.jpg is 40x48 \(its EXIF data turn it.*turn the mask\) but .* is 48x40"):
        imported(tmp_path / "source")
