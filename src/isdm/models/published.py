"""Checkpoints of the published SDM and ISDM code: their names become ours, their widths are read off.

The published file is a state dict saved by torch; it is loaded without running any pickled code.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from isdm.errors import ModelError
from isdm.models.state_files import UnreadableStateError, load_plain_tensors

StateDict = dict[str, Tensor]

PUBLISHED_DEFAULTS = {"image_size": 256, "num_head_channels": 64}

_BLOCK_PARTS = (
    (r"in_layers\.0\.", "in_norm."),
    (r"in_layers\.[12]\.", "in_conv."),
    (r"out_layers\.0\.", "out_norm."),
    (r"out_layers\.[23]\.", "out_conv."),
    (r"emb_layers\.1\.", "time.projection."),
    (r"skip_connection\.", "skip."),
    (r"mlp_shared\.0\.", "shared."),
    (r"mlp_gamma\.", "to_gamma."),
    (r"mlp_beta\.", "to_beta."),
    (r"proj_out\.", "projection."),
)


def load_published_state(path: Path) -> StateDict:
    """Read a published `.pt` state dict with `weights_only`, so that it cannot run code.

    Raises:
        ModelError: when the file is missing or is not a dict of tensors.
    """
    try:
        state = load_plain_tensors(path)
    except FileNotFoundError:
        raise ModelError(f"{path} does not exist.") from None
    except UnreadableStateError as reason:
        raise ModelError(
            f"{path} cannot be read as a checkpoint of plain tensors ({reason}); give the model or "
            f"EMA file of the published code."
        ) from None
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        raise ModelError(f"{path} is not a state dict; give the model or EMA file, not the optimiser's.")
    if "time_embed.0.weight" not in state or "input_blocks.0.0.weight" not in state:
        raise ModelError(f"{path} holds no published SDM network (no time_embed, no input_blocks).")
    return dict(state)


def unet_options(state: StateDict, head_channels: int) -> dict[str, Any]:
    """Options of `SemanticUNet` for a published state dict.

    Widths, depth, attention and classes are read off the tensors, which do not tell the width of a head.

    Raises:
        KeyError, IndexError, ValueError, ArithmeticError: the tensors are not those of such a network.
    """
    base = state["time_embed.0.weight"].shape[1]  # the first level may be half as wide
    width, down, attention = [], [], []
    for index in range(1, _count(state, "input_blocks")):
        prefix = f"input_blocks.{index}"
        width.append(state[f"{prefix}.0.out_layers.3.weight"].shape[0])
        attention.append(f"{prefix}.1.qkv.weight" in state)
    # A level ends where the decoder upsamples: its blocks number one more than the encoder's of that level.
    per_level, run = [], 0
    for index in range(_count(state, "output_blocks")):
        run += 1
        has_up = f"output_blocks.{index}.2.in_layers.1.weight" in state or (
            f"output_blocks.{index}.1.in_layers.1.weight" in state
        )
        if has_up or index == _count(state, "output_blocks") - 1:
            per_level.append(run)
            run = 0
    num_res_blocks = per_level[0] - 1
    num_levels = len(per_level)
    down = [(num_res_blocks + 1) * (level + 1) - 1 for level in range(num_levels - 1)]
    first_of_level = [0] + [position + 1 for position in down]
    return {
        "in_channels": state["input_blocks.0.0.weight"].shape[1],
        "num_classes": state["middle_block.0.in_norm.mlp_shared.0.weight"].shape[1],
        "base_channels": base,
        "channel_multipliers": tuple(_multiple(width[position], base) for position in first_of_level),
        "num_res_blocks": num_res_blocks,
        "attention_downsamplings": tuple(
            2**level for level, position in enumerate(first_of_level) if attention[position]
        ),
        "attention_head_channels": head_channels,
        "spade_channels": state["middle_block.0.in_norm.mlp_shared.0.weight"].shape[0],
    }


def _multiple(width: int, base: int) -> float:
    return width // base if width % base == 0 else width / base


def _count(state: StateDict, prefix: str) -> int:
    return 1 + max(int(key.split(".")[1]) for key in state if key.startswith(prefix + "."))


def renamed(state: StateDict) -> StateDict:
    """Give a published state dict the names of `SemanticUNet`."""
    return {_new_name(key, state): value for key, value in state.items()}


def _new_name(key: str, state: StateDict) -> str:
    if match := re.fullmatch(r"time_embed\.(.*)", key):
        return f"time_embedding.{match[1]}"
    if match := re.fullmatch(r"input_blocks\.0\.0\.(.*)", key):
        return f"stem.{match[1]}"
    if match := re.fullmatch(r"out\.([02])\.(.*)", key):
        return f"{'out_norm' if match[1] == '0' else 'out_conv'}.{match[2]}"
    if match := re.fullmatch(r"middle_block\.(\d)\.(.*)", key):
        return f"middle.{match[1]}.{_part(match[2])}"
    match = re.fullmatch(r"(input|output)_blocks\.(\d+)\.(\d)\.(.*)", key)
    if match is None:
        raise ModelError(f"The checkpoint has an unknown tensor {key!r}; only SDM and ISDM networks can be read.")
    side, index, place, rest = match[1], int(match[2]), int(match[3]), match[4]
    owner = f"encoder.{index - 1}" if side == "input" else f"decoder.{index}"
    if place == 0:
        return f"{owner}.block.{_part(rest)}"
    is_attention = f"{side}_blocks.{index}.{place}.qkv.weight" in state
    return f"{owner}.{'attention' if is_attention else 'up'}.{_part(rest)}"


def _part(name: str) -> str:
    for pattern, replacement in _BLOCK_PARTS:
        name = re.sub(pattern, replacement, name)
    return name
