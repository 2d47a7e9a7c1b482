"""Versions of one photograph, as known from their names."""

import re

from isdm.data.dataset import Split

_VERSION = re.compile(r"(.+)\.rf\.[0-9A-Za-z]{8,}")


def photograph_of(stem: str, split: Split | None) -> str | None:
    """The photograph that a picture's stem says it is a version of, as Roboflow names them; None for others."""
    match = _VERSION.fullmatch(stem)
    if match is None:
        return None
    # Roboflow splits first and makes versions then: equal names in two splits are two photographs.
    return f"{split}_{match[1]}" if split else match[1]
