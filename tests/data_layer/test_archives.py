"""Archives as sources: unpacked aside, and refused where they lead out or are no archives."""

import io
import json
import re
import tarfile
import zipfile
from pathlib import Path

import pytest

from imported import Hashes, imported
from isdm.config import DataConfig, build
from isdm.data import archives
from isdm.data.importing import import_dataset
from isdm.errors import DataError
from isdm.files import ASIDE_MARK


def packed(source: Path, path: Path, top: str = "") -> Path:
    files = [file for file in sorted(source.rglob("*")) if file.is_file()]
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file in files:
                archive.write(file, top + file.relative_to(source).as_posix())
    else:
        with tarfile.open(path, "w:gz") as tar:
            for file in files:
                tar.add(file, top + file.relative_to(source).as_posix())
    return path


@pytest.mark.parametrize("name", ["fruit.zip", "fruit.tar.gz"])
@pytest.mark.parametrize("top", ["", "fruit/"])
def test_an_archive_is_imported_like_its_folder(
    fruit_source: Path, tmp_path: Path, hashes: Hashes, name: str, top: str
) -> None:
    folder = imported(fruit_source)
    before = hashes(fruit_source)
    archive = packed(fruit_source, tmp_path / name, top)
    dataset = import_dataset(build(DataConfig, {"source": archive}), tmp_path / "unpacked")
    for split in folder.splits:
        assert dataset.fingerprint(split) == folder.fingerprint(split)
    assert hashes(fruit_source) == before
    assert {path.name for path in tmp_path.iterdir()} == {"source", "out", "unpacked", name}
    assert import_dataset(build(DataConfig, {"source": archive}), tmp_path / "unpacked").splits == folder.splits


@pytest.mark.parametrize("top", ["", "fruit\\"])
def test_a_zip_with_windows_separators_is_imported(fruit_source: Path, tmp_path: Path, top: str) -> None:
    """As Compress-Archive of PowerShell 5 writes them, folders included."""
    folder = imported(fruit_source)
    with zipfile.ZipFile(tmp_path / "fruit.zip", "w") as archive:
        for path in sorted(fruit_source.rglob("*")):
            name = top + str(path.relative_to(fruit_source)).replace("/", "\\")
            archive.writestr(name if path.is_file() else f"{name}\\", path.read_bytes() if path.is_file() else b"")
    dataset = import_dataset(build(DataConfig, {"source": tmp_path / "fruit.zip"}), tmp_path / "unpacked")
    for split in folder.splits:
        assert dataset.fingerprint(split) == folder.fingerprint(split)


@pytest.mark.parametrize("is_relative", [False, True])
def test_messages_name_the_archive(
    fruit_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_relative: bool
) -> None:
    """Not the folder where it was unpacked, for that is gone when they are read."""
    (fruit_source / "masks" / "fruit0_0.png").unlink()
    (fruit_source / "masks" / "fruit0_1.png").write_text("no picture")
    (fruit_source / "images" / "fruit0_2.png").write_text("no picture")
    monkeypatch.chdir(tmp_path)
    archive = packed(fruit_source, tmp_path / "fruit.zip", "top/")
    archive = Path(archive.name) if is_relative else archive
    out = Path("deep/out") if is_relative else tmp_path / "out"
    with pytest.raises(DataError) as caught:
        import_dataset(build(DataConfig, {"source": archive}), out)
    dataset = import_dataset(build(DataConfig, {"source": archive, "skip_bad": True}), out)
    texts = [str(caught.value), (out / "left_out.txt").read_text(), json.dumps(dataset.info.source)]
    assert not any(ASIDE_MARK in text for text in texts)
    for text in texts[:2]:
        assert f"{archive}/top/images/fruit0_0.png has no mask; expected {archive}/top/masks/fruit0_0.png" in text
        assert f"{archive}/top/masks/fruit0_1.png" in text
        assert f"{archive}/top/images/fruit0_2.png" in text


def test_refusals_name_the_archive(fruit_source: Path, tmp_path: Path) -> None:
    """Those of a layout and those of the unpacking."""
    (fruit_source / "masks").rename(fruit_source / "other")
    archive = packed(fruit_source, tmp_path / "fruit.zip")
    with pytest.raises(DataError, match=f"^{re.escape(str(archive))} needs a folder images/"):
        import_dataset(build(DataConfig, {"source": archive}), tmp_path / "out")
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("images", b"")
        made.writestr("images/a.png", b"")
    with pytest.raises(DataError, match=r"has .*fruit\.zip/images.* as a file and as a folder"):
        import_dataset(build(DataConfig, {"source": archive}), tmp_path / "out")


BAD_PATHS = [
    *("../outside.png", "/etc/outside.png", "a/../../outside.png", "C:\\outside.png", "C:/outside.png"),
    *("..\\outside.png", "\\outside.png", "\\\\server\\outside.png", "a\\..\\..\\outside.png"),
]


@pytest.mark.parametrize("bad", BAD_PATHS)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_path_that_leads_out_is_refused(tmp_path: Path, bad: str, kind: str) -> None:
    path = tmp_path / f"bad.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(bad, b"x")
    else:
        with tarfile.open(path, "w") as tar:
            member = tarfile.TarInfo(bad)
            member.size = 1
            tar.addfile(member, io.BytesIO(b"x"))
    with pytest.raises(DataError, match=r"must not be unpacked; pack it again without these 1 paths"):
        import_dataset(build(DataConfig, {"source": path}), tmp_path / "out")
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_link_out_of_a_tar_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.tar"
    with tarfile.open(path, "w") as tar:
        member = tarfile.TarInfo("images")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(member)
    with pytest.raises(DataError, match=r"must not be unpacked .*; pack it again without that"):
        import_dataset(build(DataConfig, {"source": path}), tmp_path / "out")


def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "HARMLESS_BYTES", 1000)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images/a.png", bytes(10**6))
    with pytest.raises(DataError, match="as decompression bombs do"):
        import_dataset(build(DataConfig, {"source": tmp_path / "bomb.zip"}), tmp_path / "out")


def test_a_file_that_is_no_archive_and_a_damaged_one_are_named(fruit_source: Path, tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no archive")
    with pytest.raises(DataError, match=r"notes\.txt is a file but no zip or tar archive"):
        import_dataset(build(DataConfig, {"source": text}), tmp_path / "out")
    archive = packed(fruit_source, tmp_path / "fruit.zip")
    content = bytearray(archive.read_bytes())
    content[200:400] = bytes(200)
    archive.write_bytes(content)
    with pytest.raises(DataError, match=r"fruit\.zip is damaged"):
        import_dataset(build(DataConfig, {"source": archive}), tmp_path / "out")


@pytest.mark.parametrize("name", [b"images/\xed\xed.png", b"\0mages/\xc3\xa4.png"])
def test_a_name_that_is_no_text_or_none_at_all_is_damage(tmp_path: Path, name: bytes) -> None:
    archive = tmp_path / "fruit.zip"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("images/ä.png", b"")
    archive.write_bytes(archive.read_bytes().replace("images/ä.png".encode(), name))  # still marked as UTF-8
    with pytest.raises(DataError, match="damaged"):
        import_dataset(build(DataConfig, {"source": archive}), tmp_path / "unpacked")
