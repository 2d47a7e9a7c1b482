"""Files that are whole or absent: write aside, fsync, rename.

A process can be killed between any two instructions. Each function here leaves either the old file or the new
one under the final name, never a part of one.
"""

import hashlib
import json
import math
import os
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from isdm.errors import DataError

ASIDE_MARK = ".aside-"
LOCK_NAME = ".isdm-lock"
"""In a folder that a run holds (`isdm.locking`)."""
_OWN_MARK = f"{ASIDE_MARK}{hashlib.sha256(socket.gethostname().encode()).hexdigest()[:6]}-"
_LONGEST_TAIL_BYTES = 200
"""Of the 255 that file systems allow a name; the rest is for the mark, the host and the process."""


before_rename: Callable[[Path], None] | None = None
"""Called with each temporary file before it takes its name; set by the harness that kills there, by nobody else."""


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success move it there durably, on failure remove it.

    The name carries host and process id, so two processes never write the same temporary file, and
    `remove_abandoned` knows what a killed one left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{_OWN_MARK}{os.getpid()}-{_aside_tail(path)}")
    try:
        yield aside
        _fsync(aside)
        if before_rename is not None:
            before_rename(aside)
        aside.replace(path)
        _fsync(path.parent)
    finally:
        if aside.is_dir():
            shutil.rmtree(aside)
        else:
            aside.unlink(missing_ok=True)


def _aside_tail(path: Path) -> str:
    """The final name, or a hash of one too long to be lengthened."""
    name = os.fsencode(path.name)
    return path.name if len(name) <= _LONGEST_TAIL_BYTES else hashlib.sha256(name).hexdigest()[:16] + path.suffix[:20]


def remove_abandoned(out: Path) -> None:
    """Remove what killed processes of this host left half-written in the folder `out`, and as `out` beside it.

    To be called before this process writes there. Files of other hosts stay: whether those live is not known here.
    """
    beside = [path for path in out.parent.glob(f"{_OWN_MARK}*") if _owner(path)[1] == _aside_tail(out)]
    for path in [*out.rglob(f"{_OWN_MARK}*"), *beside]:
        process_id, _ = _owner(path)
        if process_id != os.getpid() and _is_running(process_id):
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _owner(aside: Path) -> tuple[int, str]:
    """The process that made a temporary file, and the tail of its name (see `written_aside`)."""
    process_id, _, tail = aside.name.removeprefix(_OWN_MARK).partition("-")
    return int(process_id), tail


def _is_running(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_system() -> None:
    """Make all files durable that were written so far: cheaper than one by one where they are many."""
    os.sync()


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically."""
    with written_aside(path) as aside:
        aside.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8 atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` as indented JSON atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_yaml(path: Path, value: Any) -> None:
    """Write `value` to `path` as YAML atomically, keys in their given order."""
    write_text(path, yaml.safe_dump(value, sort_keys=False, allow_unicode=True))


def write_with(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` produce the file (a library's own save function), atomically.

    Raises:
        OSError: the system does not take what is written, in whatever words the library says so.
    """
    with written_aside(path) as aside:
        try:
            write(aside)
        except Exception as error:
            if not isinstance(error, OSError):
                _raise_if_nothing_can_be_written(aside, path)
            raise


_PROBE_BYTES = 2**20


def _raise_if_nothing_can_be_written(aside: Path, path: Path) -> None:
    """Find out whether a failed file could have been longer: libraries hide a full disk behind their own errors."""
    try:
        with aside.open("ab") as file:
            file.write(bytes(_PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as reason:
        raise OSError(reason.errno, reason.strerror, str(path)) from None


def copy_file(source: Path, path: Path) -> None:
    """Give a file a second place, whole or not at all: as a link where the file system can, else as a copy.

    Nothing in this package changes a file in place, so a link is as good as a copy.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    try:
        path.hardlink_to(source)
    except OSError:  # another file system, or one without links
        write_with(path, lambda aside: shutil.copyfile(source, aside))


def read_json(path: Path, encoding: str = "utf-8-sig") -> Any:
    """Read a JSON file; a file that is missing or not JSON is a `DataError` that names it."""
    try:
        if path.exists() and not path.is_file():  # a pipe would never end
            raise DataError(f"{path} is no file; put the file itself there.")
        return _sound_json(path.read_bytes(), encoding)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist.") from None
    except (ValueError, RecursionError, OSError) as error:  # no JSON or UTF-8, too deep, 5,000 digits, no right
        raise DataError(f"{path} is not valid JSON ({error}). Restore it or make the folder anew.") from None


def _sound_json(content: bytes, encoding: str = "utf-8-sig") -> Any:
    """A JSON value that can also be written again: no NaN or infinity, no half of a surrogate pair.

    Raises:
        ValueError, RecursionError: it is not such a value.
    """
    text = content.decode(encoding)
    value = json.loads(text, parse_constant=_refused_number, parse_float=_finite)
    if "\\ud" in text or "\\uD" in text:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def _refused_number(text: str) -> float:
    raise ValueError(f"{text} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refused_number(text)


_TAIL_BYTES = 2**13
"""Read at once to find the last line's end."""


def append_json_line(path: Path, value: Any) -> None:
    """Append one object to a JSON-lines file and make it durable; see `append_json_lines`."""
    append_json_lines(path, [value])


def append_json_lines(path: Path, values: Iterable[Any]) -> None:
    """Append objects to a JSON-lines file and make them durable; a last line that a kill has cut is removed first.

    A kill can cut the last line again; `read_json_lines` drops such a tail where it is asked to.
    """
    with path.open("a+b") as file:
        _cut_tail(file)
        for value in values:
            file.write(json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8") + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _cut_tail(file: BinaryIO) -> None:
    """Remove what stands behind the last line end, so that what is appended starts on a line of its own."""
    end = whole = file.seek(0, os.SEEK_END)
    while whole:
        start = max(0, whole - _TAIL_BYTES)
        file.seek(start)
        found = file.read(whole - start).rfind(b"\n")
        if found >= 0:
            whole = start + found + 1
            break
        whole = start
    if whole < end:
        file.truncate(whole)


def write_json_lines(path: Path, values: Iterable[Any]) -> None:
    """Write a JSON-lines file, line by line and yet whole or not at all."""
    with written_aside(path) as aside, aside.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n" for value in values)


def read_json_lines(path: Path, *, tolerate_cut_tail: bool = False) -> list[Any]:
    """Read a JSON-lines file; see `json_lines`."""
    return list(json_lines(path, tolerate_cut_tail=tolerate_cut_tail))


def json_lines(path: Path, *, tolerate_cut_tail: bool = False) -> Iterator[Any]:
    """Give the values of a JSON-lines file one by one.

    With `tolerate_cut_tail` an incomplete last line (a killed append) is left out; any other line that is not
    JSON is a `DataError` that names the file and the line.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist.")
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            if tolerate_cut_tail and not line.endswith(b"\n"):
                continue  # the append was cut
            try:
                yield _sound_json(line)
            except (ValueError, RecursionError) as error:
                raise DataError(f"{path}, line {number} is not valid JSON ({error}). Mend or remove it.") from None


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal; a missing file is a `DataError` that names it."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise DataError(f"{path} is missing.") from None


def sha256_of_json(value: Any) -> str:
    """SHA-256 of a JSON value in a canonical form (sorted keys), in hexadecimal."""
    return hashlib.sha256(_canonical(value)).hexdigest()


def sha256_of_json_with(head: Any, items: Iterable[Any]) -> str:
    """`sha256_of_json([head, [*items]])`, with one item in memory at a time."""
    found = hashlib.sha256(b"[" + _canonical(head) + b",[")
    for number, item in enumerate(items):
        found.update(b"," * (number > 0) + _canonical(item))
    found.update(b"]]")
    return found.hexdigest()


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
