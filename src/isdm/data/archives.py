"""Sources that are archives (zip, tar and its compressed forms): unpacked aside, never into or over anything."""

import errno
import lzma
import os
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from isdm.errors import DataError, IsdmError
from isdm.files import ASIDE_MARK
from isdm.progress import say, track

LARGEST_RATIO = 200
"""Unpacked over packed size that images and masks never reach; above it an archive is taken for a bomb."""
HARMLESS_BYTES = 2**30
"""Archives that unpack to less are never refused as bombs."""
DAMAGED = (
    *(zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError),
    *(ValueError, OverflowError, struct.error),  # names that are no text, numbers that are too large or cut off
    IndexError,  # a member without a name
)
"""What the unpackers of the standard library raise for an archive that is not whole."""


class OpenedSource(NamedTuple):
    """A source to read."""

    folder: Path
    archive: Path | None
    """That it was unpacked from, where the source is one."""
    told: Callable[[str], str]
    """Gives a message with the archive in the place of the folder that it was unpacked to, which nobody finds."""


def opened_source(source: Path, out: Path, stack: ExitStack) -> OpenedSource:
    """Open a folder, or unpack an archive beside `out` until `stack` closes; errors until then name the archive.

    Raises:
        DataError: the file is no archive, is damaged, unpacks to too much, or would leave its folder.
    """
    if not source.is_file():
        return OpenedSource(source, None, str)
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = out.parent / f"{ASIDE_MARK}source-{out.name}"
    shutil.rmtree(folder, ignore_errors=True)  # of an import that was killed
    folder.mkdir()
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    told = partial(_named_after, source, folder)
    stack.enter_context(_errors_told(told))
    say(f"Unpacking {source} for the time of the import.")
    try:
        if zipfile.is_zipfile(source):
            _unpack_zip(source, folder)
        elif tarfile.is_tarfile(source):
            _unpack_tar(source, folder)
        else:
            raise DataError(f"{source} is a file but no zip or tar archive; give a folder or such an archive.")
    except tarfile.FilterError as error:  # links, devices
        raise DataError(f"{source} must not be unpacked ({error}); pack it again without that.") from None
    except DAMAGED as error:
        raise DataError(f"{source} is damaged ({error}); fetch or pack it again.") from None
    except (NotADirectoryError, IsADirectoryError, FileExistsError) as error:
        raise DataError(f"{source} has {error.filename} as a file and as a folder; pack it again.") from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise DataError(f"{source} holds a name that is too long for this file system; pack it again.") from None
        if error.errno not in (None, errno.EINVAL):  # the system's: a full disk, no right
            raise
        raise DataError(f"{source} is damaged ({error}); fetch or pack it again.") from None
    except (RuntimeError, NotImplementedError) as error:  # encrypted, or packed in a way that Python does not know
        raise DataError(f"{source} cannot be unpacked ({error}); pack it plainly, without password.") from None
    inner = [entry for entry in folder.iterdir() if not entry.name.startswith((".", "__MACOSX"))]
    return OpenedSource(inner[0] if len(inner) == 1 and inner[0].is_dir() else folder, source, told)


def _named_after(archive: Path, folder: Path, text: str) -> str:
    """The text with an archive's name for that of the folder where it was unpacked, however that is written."""
    for path in (os.path.realpath(folder), str(folder)):
        text = text.replace(path, str(archive))
    return text.replace(folder.name, archive.name)


@contextmanager
def _errors_told(told: Callable[[str], str]) -> Iterator[None]:
    try:
        yield
    except IsdmError as error:
        error.args = tuple(told(part) if isinstance(part, str) else part for part in error.args)
        raise


def _unpack_zip(source: Path, folder: Path) -> None:
    with zipfile.ZipFile(source) as archive:
        members = archive.infolist()
        for member in members:  # some packers of Windows, such as PowerShell 5, write its own separator
            member.filename = member.filename.replace("\\", "/")
        _refuse_outside(source, [member.filename for member in members])
        _refuse_bomb(source, sum(member.file_size for member in members), source.stat().st_size)
        for member in track(members, "Unpacking", total=len(members), unit="files"):
            archive.extract(member, folder)  # a member's link is written as a plain file


def _unpack_tar(source: Path, folder: Path) -> None:
    with tarfile.open(source) as archive:
        members = archive.getmembers()
        _refuse_outside(source, [member.name for member in members])
        _refuse_bomb(source, sum(member.size for member in members), source.stat().st_size)
        archive.extractall(folder, filter="data")


def _refuse_outside(source: Path, names: list[str]) -> None:
    """Refuse an archive with an absolute path or one that climbs out."""
    wrong = [
        name
        for name in names
        if (path := PurePosixPath(name.replace("\\", "/"))).is_absolute() or ".." in path.parts or name[1:2] == ":"
    ]
    if wrong:
        listed = "\n".join(f"  {name!r} leads out of the archive" for name in wrong[:20])
        raise DataError(f"{source} must not be unpacked; pack it again without these {len(wrong)} paths:\n{listed}")


def _refuse_bomb(source: Path, unpacked: int, packed: int) -> None:
    if unpacked > HARMLESS_BYTES and unpacked > LARGEST_RATIO * packed:
        raise DataError(
            f"{source} would unpack from {packed:,} to {unpacked:,} bytes, more than {LARGEST_RATIO} times as much, "
            f"as decompression bombs do; unpack it yourself if you trust it, and give the folder."
        )
