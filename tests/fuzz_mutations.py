"""Damage done to small valid files: blindly to their bytes, and knowingly to what JSON, XML, PNG, safetensors and
archives are made of, so that the damage passes the outer checks. Every mutation follows from its random stream alone.
"""

import io
import json
import random
import struct
import xml.etree.ElementTree as ET
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import yaml

Mutation = Callable[[bytes, random.Random], bytes]

HOSTILE_TEXTS = (
    "", " ", "\x00", "\n", "a\nb", "../../etc/passwd", "/etc/passwd", "<script>alert(1)</script>", "[red]x[/red]",
    "\x1b[2J\x1b]0;x\x07", "\u202egnp.exe", "=cmd|' /C calc'!A1", "'", '"', "%s%n", "{0}", "$x_{", "\ud800",
    "é" * 127, "a" * 255, "a" * 5000, "nan", "-inf", "1e999", "0x10", "1_000", "٣", "裂\u0301", "con", ".", "..", "~",
    "images/a.png",
)  # fmt: skip
HOSTILE_NUMBERS: tuple[Any, ...] = (
    0, 1, -1, 2, 3, 7, 254, 255, 256, 65535, 65536, 2**31 - 1, 2**31, -(2**31), 2**63, 10**9, 10**18, 10**30, 10**400,
    0.5, -0.0, 1e-320, 1e308, -1e308, float("nan"), float("inf"), float("-inf"),
)  # fmt: skip
_BYTES = (
    b"\x00",
    b"\xff",
    b"\n",
    b",",
    b'"',
    b"'",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b"<",
    b">",
    b"&a ",
    b"*a",
    b"- ",
    b"!!",
)


def damaged_bytes(content: bytes, rng: random.Random) -> bytes:
    """A few blind changes: bits, bytes, pieces that are cut, doubled, moved or filled."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        at, length = rng.randint(0, len(data)), rng.choice((1, 1, 2, 4, 8, 64))
        kind = rng.randrange(8)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and at < len(data):
            data[at] = rng.randrange(256)
        elif kind == 2:
            del data[at : at + length]
        elif kind == 3:
            data[at:at] = rng.choice(_BYTES) * rng.choice((1, 1, 2, 300))
        elif kind == 4:
            data[at:at] = data[at : at + length] * rng.choice((1, 2, 50))
        elif kind == 5:
            del data[at:]
        elif kind == 6:
            start = rng.randint(0, len(data))
            data[at:at] = data[start : start + length]
        else:
            data[at : at + 4] = struct.pack(rng.choice(("<I", ">I")), rng.choice((0, 1, 2**31, 2**32 - 1, 10**6)))
    return bytes(data)


def hostile_value(rng: random.Random) -> Any:
    """A value that a reader may not expect."""
    kind = rng.randrange(8)
    if kind <= 2:
        return rng.choice(HOSTILE_NUMBERS)
    if kind <= 4:
        return rng.choice(HOSTILE_TEXTS)
    if kind == 5:
        return rng.choice((None, True, False, [], {}, [[]], [None], {"": None}, [0] * 300, {"a": {"b": {}}}))
    deep: Any = rng.choice(HOSTILE_NUMBERS[:8])
    for _ in range(rng.choice((2, 30, 300))):
        deep = [deep] if rng.random() < 0.5 else {"a": deep}
    return deep


def damaged_value(value: Any, rng: random.Random) -> Any:
    """One change somewhere inside a JSON value: replaced, removed, doubled, renamed, swapped."""
    if not isinstance(value, dict | list) or not value or rng.random() < 0.08:
        if isinstance(value, int | float) and not isinstance(value, bool) and rng.random() < 0.5:
            return value * rng.choice((-1, 0, 2, 10, 1e6, 0.5))
        return hostile_value(rng)
    copy: Any = value.copy()
    key = rng.choice(list(copy)) if isinstance(copy, dict) else rng.randrange(len(copy))
    kind = rng.randrange(10)
    if kind <= 5:
        copy[key] = damaged_value(copy[key], rng)
    elif kind == 6:
        del copy[key]
    elif kind == 7 and isinstance(copy, dict):
        copy[rng.choice((*HOSTILE_TEXTS, *copy))] = copy.pop(key)
    elif kind == 8 and isinstance(copy, list):
        copy.insert(rng.randrange(len(copy) + 1), copy[key])
    else:
        copy[key] = hostile_value(rng)
    return copy


def damaged_json(content: bytes, rng: random.Random) -> bytes:
    """Sound JSON of another meaning."""
    return json.dumps(damaged_value(json.loads(content), rng)).encode("utf-8", "surrogatepass")


def damaged_json_lines(content: bytes, rng: random.Random) -> bytes:
    """One line of another meaning."""
    lines = content.splitlines()
    place = rng.randrange(len(lines))
    lines[place] = damaged_json(lines[place], rng)
    return b"\n".join(lines) + b"\n"


def damaged_yaml(content: bytes, rng: random.Random) -> bytes:
    """Sound YAML of another meaning, at times with names, tags and keys that only YAML has."""
    value = damaged_value(yaml.safe_load(content), rng)
    try:
        text = yaml.safe_dump(value, allow_unicode=True, sort_keys=False)
    except (yaml.YAMLError, RecursionError, UnicodeEncodeError):
        text = json.dumps(value)
    if rng.random() < 0.3:
        extra = (
            "&a [*a]",
            "&a {<<: *a}",
            "!!binary x",
            "!!set {a}",
            "2026-13-45",
            "1:99:00",
            "? [a]",
            "<<: [1]",
            "!!float x",
        )
        lines = text.splitlines()
        lines.insert(rng.randrange(len(lines) + 1), f"k{rng.randrange(3)}: {rng.choice(extra)}")
        text = "\n".join(lines)
    return text.encode("utf-8", "surrogatepass")


def damaged_xml(content: bytes, rng: random.Random) -> bytes:
    """Sound XML of another meaning, at times with entities."""
    root = ET.fromstring(content)
    nodes = list(root.iter())
    for _ in range(rng.choice((1, 1, 2))):
        node = rng.choice(nodes)
        kind = rng.randrange(6)
        text = str(rng.choice((*HOSTILE_NUMBERS[:20], *(t for t in HOSTILE_TEXTS if t.isprintable()))))
        if kind == 0 and node.attrib:
            node.attrib[rng.choice(list(node.attrib))] = text
        elif kind == 1 and node.attrib:
            del node.attrib[rng.choice(list(node.attrib))]
        elif kind == 2:
            node.text = text
        elif kind == 3 and len(node):
            node.remove(rng.choice(list(node)))
        elif kind == 4 and len(node):
            node.append(rng.choice(list(node)))
        else:
            node.tag = rng.choice(("image", "mask", "polygon", "box", "label", "object", "name", "x"))
    text = ET.tostring(root, encoding="unicode")
    if rng.random() < 0.1:
        laugh = "".join(f'<!ENTITY b{i} "{f"&b{i - 1};" * 9}">' for i in range(1, 9))
        text = f'<!DOCTYPE x [<!ENTITY b0 "ha">{laugh}<!ENTITY e SYSTEM "file:///etc/passwd">]>' + text.replace(
            "</", "&b8;&e;</", 1
        )
    return text.encode()


def damaged_png(content: bytes, rng: random.Random) -> bytes:
    """A PNG whose parts have sound check sums but another content, order or number."""
    parts, at = [], 8
    while at + 12 <= len(content):
        length = int.from_bytes(content[at : at + 4])
        parts.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    for _ in range(rng.choice((1, 1, 2))):
        place = rng.randrange(len(parts)) if parts else 0
        kind, data = parts[place] if parts else (b"IHDR", b"")
        choice = rng.randrange(5)
        if choice == 0:
            parts[place : place + 1] = [(kind, _other_data(kind, data, rng))]
        elif choice == 1:
            del parts[place : place + 1]
        elif choice == 2:
            parts.insert(rng.randint(0, len(parts)), (kind, data))
        elif choice == 3:
            name = rng.choice(
                (b"tRNS", b"PLTE", b"eXIf", b"acTL", b"fcTL", b"fdAT", b"iCCP", b"zTXt", b"sBIT", b"gAMA")
            )
            parts.insert(
                rng.randint(0, len(parts)),
                (name, rng.choice((b"", b"\0", zlib.compress(bytes(99)), rng.randbytes(40)))),
            )
        else:
            parts.append((kind, damaged_bytes(data, rng)))
    return content[:8] + b"".join(_chunk(kind, data) for kind, data in parts)


def _other_data(kind: bytes, data: bytes, rng: random.Random) -> bytes:
    if kind == b"IHDR" and len(data) == 13:
        width, height, *rest = struct.unpack(">IIBBBBB", data)
        sizes = (0, 1, width, 2 * width, 65536, 2**31 - 1, 2**32 - 1)
        rest[0], rest[1] = rng.choice((rest[0], 1, 2, 4, 8, 16, 3)), rng.choice((rest[1], 0, 2, 3, 4, 6, 9))
        rest[4] = rng.choice((0, 0, 1, 7))
        return struct.pack(">IIBBBBB", rng.choice(sizes), rng.choice((*sizes, height)), *rest)
    if kind == b"IDAT":
        with suppress(zlib.error):  # of an earlier change
            return zlib.compress(damaged_bytes(zlib.decompress(data), rng))
    return damaged_bytes(data, rng)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)


def damaged_safetensors(content: bytes, rng: random.Random) -> bytes:
    """A header of sound JSON that says something else of the same bytes."""
    length = int.from_bytes(content[:8], "little")
    header = json.dumps(damaged_value(json.loads(content[8 : 8 + length]), rng)).encode("utf-8", "surrogatepass")
    stated = rng.choice((len(header), len(header), len(header), 2**40, 0, len(header) + 1))
    return stated.to_bytes(8, "little") + header + content[8 + length :]


def damaged_zip(content: bytes, rng: random.Random) -> bytes:
    """An archive of sound form, one of whose parts is damaged, renamed, doubled, compressed or gone."""
    with zipfile.ZipFile(io.BytesIO(content)) as source:
        parts = [(part.filename, source.read(part)) for part in source.infolist()]
    for _ in range(rng.choice((1, 1, 2))):
        place = rng.randrange(len(parts)) if parts else 0
        if not parts:
            break
        name, data = parts[place]
        choice = rng.randrange(5)
        if choice <= 1:
            parts[place] = (name, damaged_bytes(data, rng))
        elif choice == 2:
            parts[place] = (rng.choice([t for t in HOSTILE_TEXTS if t.isprintable() and t] + ["x/../../y"]), data)
        elif choice == 3:
            parts.append((name + rng.choice(("", "x", "/x")), data))
        else:
            del parts[place]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name, data in parts:
            archive.writestr(zipfile.ZipInfo(name), data)
    return packed.getvalue()


BY_SUFFIX: dict[str, Mutation] = {
    ".json": damaged_json,
    ".jsonl": damaged_json_lines,
    ".yaml": damaged_yaml,
    ".xml": damaged_xml,
    ".png": damaged_png,
    ".safetensors": damaged_safetensors,
    ".pt": damaged_zip,
    ".zip": damaged_zip,
}
"""What knows a kind of file; blind damage is done to all kinds."""


def damaged(content: bytes, suffix: str, rng: random.Random) -> bytes:
    """Damage a valid file of a kind: two times in three knowingly, where the kind is known."""
    knowing = BY_SUFFIX.get(suffix)
    return damaged_bytes(content, rng) if knowing is None or rng.random() < 1 / 3 else knowing(content, rng)
