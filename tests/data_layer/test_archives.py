"""Archives as sources: unpacked aside, and refused where they lead out or are no archives."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from imported import Hashes, imported
from isdm.config import DataConfig, build
from isdm.data import archives
from isdm.data.importing import import_dataset
from isdm.errors import DataError


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


@pytest.mark.parametrize("bad", ["../outside.png", "/etc/outside.png", "a/../../outside.png", "C:\\outside.png"])
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
