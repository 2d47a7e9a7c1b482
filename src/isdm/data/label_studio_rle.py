"""Label Studio's run lengths of brush strokes.

A stream of bits, the most significant first, holds a picture's RGBA values one after the other:

    32 bits  number of values                    5 bits  bits of a value, less 1
     4 bits, four times: the bits of a count, less 1, in four sizes

and then pieces: 1 bit "a run" or "values", 2 bits that choose the size of the count, the count less 1, and either
the one value of the run or so many values. The stroke is where alpha is above 0.
"""

import numpy as np

from isdm.data.shapes import BoolArray
from isdm.errors import DataError

HEADER_BITS = 32 + 5 + 4 * 4
CHANNELS = 4


def check_brush(content: bytes, height: int, width: int) -> None:
    """Refuse run lengths that are for a picture of another size; raises `DataError`."""
    if 8 * len(content) < HEADER_BITS:
        raise DataError(f"the brush's rle has {len(content)} byte(s), which is too few; export it again")
    num_values = int.from_bytes(content[:4], "big")
    if num_values != CHANNELS * height * width:
        raise DataError(
            f"the brush's rle has {num_values} values but the image of {width}x{height} has "
            f"{CHANNELS * height * width}; export it again"
        )


def brush_pixels(content: bytes, height: int, width: int) -> BoolArray:
    """Pixels (H, W) of a brush stroke.

    Raises:
        DataError: the run lengths are for another size, or end too early.
    """
    check_brush(content, height, width)
    num_values = CHANNELS * height * width
    place = 32

    def bits(count: int) -> int:
        nonlocal place
        start, place = place, place + count
        if place > 8 * len(content):
            raise DataError("the brush's rle ends before its last value; export it again")
        end_byte = (place + 7) // 8
        return int.from_bytes(content[start // 8 : end_byte], "big") >> (8 * end_byte - place) & ((1 << count) - 1)

    value_bits = bits(5) + 1
    count_bits = [bits(4) + 1 for _ in range(4)]
    set_values = np.zeros(num_values, bool)
    index = 0
    while index < num_values:
        is_run = bits(1)
        count = min(bits(count_bits[bits(2)]) + 1, num_values - index)
        if is_run:
            set_values[index : index + count] = bits(value_bits) > 0
        else:
            set_values[index : index + count] = [bits(value_bits) > 0 for _ in range(count)]
        index += count
    pixels: BoolArray = set_values.reshape(height, width, CHANNELS)[:, :, 3]
    return pixels
