"""The stage `convert`: a published SDM or ISDM checkpoint becomes a model folder."""

import reprlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from isdm import provenance
from isdm.config import read_yaml
from isdm.data.dataset import SegmentationClass
from isdm.data.layouts.source import class_colours
from isdm.errors import ModelError
from isdm.files import sha256_of_file
from isdm.locking import one_at_a_time
from isdm.model_info import ModelInfo
from isdm.models.model_files import find_misfit
from isdm.models.published import PUBLISHED_DEFAULTS, StateDict, load_published_state, renamed, unet_options
from isdm.models.unet import SemanticUNet
from isdm.training import checkpoint as model_files

Number = TypeVar("Number", int, float)

KNOWN_DROP_RATE = 0.0
ASSUMED = PUBLISHED_DEFAULTS | {"no_instance": True}
_READABLE = {"noise_schedule": "linear", "predict_xstart": "false", "use_new_attention_order": "false"}
"""What the published options must say of which the tensors tell nothing: networks of others would paint nonsense."""


@one_at_a_time
def convert_checkpoint(checkpoint: Path, out: Path, config: Path | None) -> list[str]:
    """Convert a published state dict; returns lines that say what was read and what was assumed.

    Args:
        checkpoint: the published `.pt` file (model or EMA).
        out: model folder to make.
        config: the published options as JSON or YAML; `num_head_channels`, `image_size` and `no_instance`
            (false: the last channel of the map holds the borders of instances) are not in the checkpoint and
            are taken from here, or assumed.

    Raises:
        ModelError: the file is no published network, or the options do not fit it or tell of one that isdm does not
            sample.
        OutputError: `out` holds something else.
    """
    published: dict[str, Any] = read_yaml(config) if config is not None else {}
    for name, value in _READABLE.items():
        if str(published.get(name, value)).lower() != value:
            raise ModelError(f"{name} = {published[name]} in the published options; isdm converts {value} alone.")
    state = load_published_state(checkpoint)
    options, weights = _network_of(checkpoint, state, published)
    width = options["base_channels"] * options["channel_multipliers"][-1]
    if width % options["attention_head_channels"]:
        raise ModelError(
            f"num_head_channels = {options['attention_head_channels']} does not divide the {width} channels of the "
            f"lowest level; give the published options with --config."
        )
    if "image_size" in published:
        _check_attention(options, published)
    misfit = find_misfit(options, {name: tuple(value.shape) for name, value in weights.items()}, checkpoint)
    if misfit is not None:
        raise ModelError(
            f"{checkpoint} holds another network than the published one ({misfit}, in isdm's names). It must be "
            f"whole, of the options learn_sigma, resblock_updown and use_scale_shift_norm."
        )
    unet = SemanticUNet(**options)
    unet.load_state_dict(weights)
    size = _published_number(published, "image_size", int, PUBLISHED_DEFAULTS["image_size"])
    has_edges = not _no_instance(published)
    num_classes = options["num_classes"] - has_edges
    if num_classes < 2:
        raise ModelError(
            f"{checkpoint} reads maps of {options['num_classes']} channels; with no_instance = false the last is the "
            f"edge channel, which leaves {num_classes} class: give no_instance = true."
        )
    names = ["background", *(f"class_{i}" for i in range(1, num_classes))]
    colours = class_colours(len(names))
    classes = tuple(SegmentationClass(i, name, colours[i]) for i, name in enumerate(names))
    drop_rate = _published_number(published, "drop_rate", float, KNOWN_DROP_RATE)
    info = ModelInfo(classes, options["in_channels"], (size, size), drop_rate, instances=has_edges)
    record = {"options": options | {"image_size": size, "no_instance": not has_edges}}
    inputs = {"checkpoint": sha256_of_file(checkpoint)}
    provenance.begin(out, "convert", record, inputs)
    snapshot = model_files.snapshot(unet.state_dict())
    model_files.write_model(out, unet, snapshot, info)
    model_files.write_raw_weights(out, snapshot)
    provenance.finish(out, record, 0.0)
    assumed = [
        f"{key} = {value} (the default; the checkpoint does not hold it, --config would)"
        for key, value in ASSUMED.items()
        if key not in published
    ]
    read = ", ".join(f"{key} = {value}" for key, value in options.items())
    return [f"Read off the tensors: {read}", *(f"Assumed: {line}" for line in assumed), f"Model: {out}"]


def _network_of(
    checkpoint: Path, state: StateDict, published: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Options of the network, and the tensors under their names in it."""
    head_channels = _published_number(published, "num_head_channels", int, PUBLISHED_DEFAULTS["num_head_channels"])
    try:
        return unet_options(state, head_channels), renamed(state)
    except (KeyError, IndexError, ValueError, ArithmeticError) as error:
        raise ModelError(
            f"{checkpoint} is not a network that isdm knows ({error}); give the model or EMA file of the published "
            f"code."
        ) from None


def _published_number(published: dict[str, Any], name: str, kind: Callable[[Any], Number], default: float) -> Number:
    """A number above or equal to 0 of the published options, which may be written as text."""
    value = published.get(name, default)
    try:
        number = kind(value)
    except (TypeError, ValueError, OverflowError):
        raise ModelError(f"{name} = {reprlib.repr(value)} in the published options must be a number.") from None
    least, most = (0.0, 1.0) if name == "drop_rate" else (1.0, 2.0**16)
    if not least <= number <= most:
        raise ModelError(f"{name} = {number} in the published options must be from {least:g} to {most:g}.")
    return number


def _no_instance(published: dict[str, Any]) -> bool:
    value = published.get("no_instance", ASSUMED["no_instance"])
    if not isinstance(value, bool):
        raise ModelError(f"no_instance = {value!r} in the published options must be true or false.")
    return value


def _check_attention(options: dict[str, Any], published: dict[str, Any]) -> None:
    """The published attention_resolutions are feature-map sizes; they must name the levels found."""
    text = published.get("attention_resolutions")
    if text is None:
        return
    try:
        sizes = {int(part) for part in str(text).split(",")}
    except ValueError:
        raise ModelError(
            f"attention_resolutions = {text!r} in the published options must be sizes: 32,16,8."
        ) from None
    size = _published_number(published, "image_size", int, 0)
    levels = range(len(options["channel_multipliers"]))
    expected = tuple(2**level for level in levels if size // 2**level in sizes)
    if expected != options["attention_downsamplings"]:
        raise ModelError(
            f"image_size = {published['image_size']} and attention_resolutions = {text} put attention at "
            f"downsampling {expected}, but the tensors have it at {options['attention_downsamplings']}."
        )
