"""PNG and TIFF files written byte by byte from their specifications, for what Pillow cannot or would not write.

And masks drawn with soft borders.
"""

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

_PNG_COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}


def write_png16(path: Path, values: np.ndarray) -> Path:
    """Save values (H, W, C) as a PNG of 16 bits a channel: grey, grey and alpha, RGB or RGBA."""
    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.tobytes() for row in values.astype(">u2"))
    return write_png_rows(path, width, height, 16, rows, _PNG_COLOUR_TYPE[channels])


def write_png_rows(path: Path, width: int, height: int, bits: int, rows: bytes, colour_type: int = 0) -> Path:
    """Save rows, each with its filter byte, as a PNG that says it has this size; grey unless told otherwise."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    body = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """A part of a PNG file with its length and check sum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def read_png16(path: Path) -> np.ndarray:
    """Decode a grey PNG of 16 bits as (H, W) uint16."""
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, at = [], 8
    while at < len(content):
        length, kind = struct.unpack(">I4s", content[at : at + 8])
        chunks.append((kind, content[at + 8 : at + 8 + length]))
        at += 12 + length
    width, height, bits, colour_type, *_, interlaced = struct.unpack(">IIBBBBB", chunks[0][1])
    assert (bits, colour_type, interlaced) == (16, 0, 0)
    packed = zlib.decompress(b"".join(data for kind, data in chunks if kind == b"IDAT"))
    rows = np.zeros((height + 1, 2 * width + 2), np.int64)  # a row above and a pixel to the left, both zero
    for y in range(height):
        method, *line = packed[y * (2 * width + 1) : (y + 1) * (2 * width + 1)]
        for x, value in enumerate(line, start=2):
            left, up, corner = rows[y + 1, x - 2], rows[y, x], rows[y, x - 2]
            nearest = min((left, up, corner), key=lambda near: abs(left + up - corner - near))
            rows[y + 1, x] = (value + (0, left, up, (left + up) // 2, nearest)[method]) % 256
    return rows[1:, 2:].astype(np.uint8).view(">u2").astype(np.uint16)


def write_tiff(path: Path, values: np.ndarray, *, big_endian: bool = False, photometric: int = 1) -> Path:
    """Save values (H, W) or (H, W, 3) of whole numbers or floats as an uncompressed TIFF of their own bits."""
    order = ">" if big_endian else "<"
    channels = values.shape[2] if values.ndim == 3 else 1
    bits, kind = 8 * values.itemsize, {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    data = values.astype(values.dtype.newbyteorder(order)).tobytes()
    tags = [
        (256, 4, [values.shape[1]]),
        (257, 4, [values.shape[0]]),
        (258, 3, [bits] * channels),
        (259, 3, [1]),
        (262, 3, [photometric]),
        (273, 4, [0]),  # where the pixels start, filled in below
        (277, 3, [channels]),
        (278, 4, [values.shape[0]]),
        (279, 4, [len(data)]),
        (339, 3, [kind] * channels),
    ]
    extra_at = 8 + 2 + 12 * len(tags) + 4
    extra = b"".join(struct.pack(f"{order}3H", *row) for _, _, row in tags if len(row) == 3)
    entries, used = b"", 0
    for tag, form, row in tags:
        if tag == 273:
            row[0] = extra_at + len(extra)
        if len(row) == 3:
            value, used = struct.pack(order + "I", extra_at + used), used + 6
        else:
            value = struct.pack(order + ("I" if form == 4 else "HH"), *(row if form == 4 else (row[0], 0)))
        entries += struct.pack(order + "HHI", tag, form, len(row)) + value
    head = (b"MM" if big_endian else b"II") + struct.pack(order + "HI", 42, 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        head + struct.pack(order + "H", len(tags)) + entries + struct.pack(order + "I", 0) + extra + data
    )
    return path


def soft_disc(size: int = 64, factor: int = 8, top: int = 255) -> np.ndarray:
    """A white disc with anti-aliased borders: one drawn larger and averaged."""
    picture = Image.new("L", (size * factor, size * factor))
    ImageDraw.Draw(picture).ellipse([size * factor // 4] * 2 + [size * factor * 3 // 4] * 2, fill=255)
    blocks = np.asarray(picture, np.float64).reshape(size, factor, size, factor)
    return np.rint(blocks.mean(axis=(1, 3)) * (top / 255)).astype(np.int64)
