"""Damage to the files of a source tree, drawn from a seed: what happens to data on its way to a user."""

import json
import random
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

IMAGES = {".jpg", ".png"}
TEXTS = {".json", ".xml", ".txt", ".yaml"}
ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    10**12,
    1e308,
    0.5,
    "",
    "x",
    "../../etc/passwd",
    [],
    {},
    [[]],
    [None],
)

Draw = random.Random


def files_of(root: Path, suffixes: set[str]) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.suffix in suffixes and path.is_file())


def truncated(path: Path, draw: Draw) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: draw.randrange(len(content))])


def flipped(path: Path, draw: Draw) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(draw.randint(1, 8)):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def emptied(path: Path, draw: Draw) -> None:
    path.write_bytes(b"")


def scrambled(path: Path, draw: Draw) -> None:
    path.write_bytes(draw.randbytes(200))


def removed(path: Path, draw: Draw) -> None:
    path.unlink()


def renamed(path: Path, draw: Draw) -> None:
    path.rename(path.with_stem(f"{path.stem}_{draw.randrange(10)}"))


def doubled(path: Path, draw: Draw) -> None:
    shutil.copy(path, path.with_suffix(draw.choice([".png", ".jpg", ".bmp", ".PNG", ".txt"])))


def made_a_folder(path: Path, draw: Draw) -> None:
    path.unlink()
    path.mkdir()


def led_out(path: Path, draw: Draw) -> None:
    target = path.resolve().anchor + "etc/hostname"
    path.unlink()
    path.symlink_to(draw.choice([target, "nowhere", path.name, "../" * 20 + "etc"]))


def resized(path: Path, draw: Draw) -> None:
    picture = Image.open(path)
    picture.resize((picture.width + draw.randint(1, 9), picture.height)).save(path)


def turned_to_another_mode(path: Path, draw: Draw) -> None:
    mode = draw.choice(["RGB", "L", "1", "I;16", "LA", "RGBA", "CMYK"])
    suffix = ".png" if mode in ("I;16", "LA", "RGBA") else ".jpg" if mode == "CMYK" else path.suffix
    picture = Image.open(path).convert("L" if mode == "I;16" else mode)
    picture = picture.convert("I;16") if mode == "I;16" else picture
    picture.save(path, format={".png": "PNG", ".jpg": "JPEG"}[suffix])  # under the old name


def recoloured(path: Path, draw: Draw) -> None:
    picture = Image.open(path).convert("L")
    picture.putpixel((draw.randrange(picture.width), draw.randrange(picture.height)), draw.randrange(256))
    picture.save(path)


def made_a_bomb(path: Path, draw: Draw) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(10_000)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b""))


def changed_value(path: Path, draw: Draw) -> None:
    """Put an odd value somewhere into a JSON file."""
    whole = json.loads(path.read_text())
    place = whole
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return
        key = draw.choice(keys)
        if isinstance(place[key], dict | list) and place[key] and draw.random() < 0.85:
            place = place[key]
            continue
        if isinstance(place, dict) and draw.random() < 0.3:
            del place[key]
        else:
            place[key] = draw.choice(ODD_VALUES)
        break
    path.write_text(json.dumps(whole))


def changed_text(path: Path, draw: Draw) -> None:
    """Replace, remove or repeat a part of a text file."""
    text = path.read_text()
    start = draw.randrange(len(text))
    end = min(start + draw.randint(1, 12), len(text))
    new = draw.choice(["", "-9", "1e999", "é", "\x00", "<", '"', "../", text[start:end] * 3])
    path.write_text(text[:start] + new + text[end:])


def no_unicode(path: Path, draw: Draw) -> None:
    content = path.read_bytes()
    place = draw.randrange(len(content))
    path.write_bytes(content[:place] + b"\xff\xfe" + content[place:])


OF_ANY = (truncated, flipped, emptied, scrambled, removed, renamed, doubled, made_a_folder, led_out)
OF_IMAGES = (*OF_ANY, resized, turned_to_another_mode, recoloured, made_a_bomb)
OF_TEXTS = (*OF_ANY, changed_text, no_unicode)


def damaged(root: Path, seed: int) -> list[str]:
    """Damage one to three files of a tree; says what was done to which."""
    draw = random.Random(seed)
    done = []
    for _ in range(draw.choice([1, 1, 2, 3])):
        texts = files_of(root, TEXTS)
        if texts and draw.random() < 0.5:
            path = draw.choice(texts)
            kinds: tuple[Callable[[Path, Draw], None], ...] = OF_TEXTS
            if path.suffix == ".json" and draw.random() < 0.6 and not done:
                kinds = (changed_value,)
        else:
            images = files_of(root, IMAGES)
            if not images:
                break
            path, kinds = draw.choice(images), OF_IMAGES
        kind = draw.choice(kinds)
        try:
            kind(path, draw)
        except (OSError, ValueError, SyntaxError, IndexError):
            continue  # damaged before, so that it cannot be opened
        done.append(f"{kind.__name__} {path.relative_to(root)}")
    return done
