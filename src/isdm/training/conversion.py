"""The stage `convert`: a published SDM or ISDM checkpoint becomes a model folder."""

from pathlib import Path
from typing import Any

from isdm import provenance
from isdm.config import read_yaml
from isdm.data.dataset import SegmentationClass
from isdm.data.layouts.source import class_colours
from isdm.errors import ModelError
from isdm.files import sha256_of_file
from isdm.models.published import PUBLISHED_DEFAULTS, load_published_state, renamed, unet_options
from isdm.models.unet import SemanticUNet
from isdm.pipeline import ModelInfo
from isdm.training import checkpoint as model_files

KNOWN_DROP_RATE = 0.0
ASSUMED = PUBLISHED_DEFAULTS | {"no_instance": True}


def convert_checkpoint(checkpoint: Path, out: Path, config: Path | None) -> list[str]:
    """Convert a published state dict; returns lines that say what was read and what was assumed.

    Args:
        checkpoint: the published `.pt` file (model or EMA).
        out: model folder to make.
        config: the published options as JSON or YAML; `num_head_channels`, `image_size` and `no_instance`
            (false: the last channel of the map holds the borders of instances) are not in the checkpoint and
            are taken from here, or assumed.

    Raises:
        ModelError: the file is no published network, or the options do not fit it.
        OutputError: `out` holds something else.
    """
    published: dict[str, Any] = read_yaml(config) if config is not None else {}
    state = load_published_state(checkpoint)
    options = unet_options(state, published)
    width = options["base_channels"] * options["channel_multipliers"][-1]
    if width % options["attention_head_channels"]:
        raise ModelError(
            f"num_head_channels = {options['attention_head_channels']} does not divide the {width} channels of the "
            f"lowest level; give the published options with --config."
        )
    if "image_size" in published:
        _check_attention(options, published)
    unet = SemanticUNet(**options)
    try:
        unet.load_state_dict(renamed(state))
    except RuntimeError as error:
        raise ModelError(f"{checkpoint} is not a network that isdm knows: {str(error).splitlines()[1]}") from None
    size = int(published.get("image_size", PUBLISHED_DEFAULTS["image_size"]))
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
    drop_rate = float(published.get("drop_rate", KNOWN_DROP_RATE))
    info = ModelInfo(classes, options["in_channels"], (size, size), drop_rate, instances=has_edges)
    record = {"options": options | {"image_size": size, "no_instance": not has_edges}}
    inputs = {"checkpoint": sha256_of_file(checkpoint)}
    provenance.begin(out, "convert", record, inputs)
    weights = model_files.snapshot(unet.state_dict())
    model_files.write_model(out, unet, weights, info)
    model_files.write_raw_weights(out, weights)
    provenance.finish(out, record, 0.0)
    assumed = [
        f"{key} = {value} (the default; the checkpoint does not hold it, --config would)"
        for key, value in ASSUMED.items()
        if key not in published
    ]
    read = ", ".join(f"{key} = {value}" for key, value in options.items())
    return [f"Read off the tensors: {read}", *(f"Assumed: {line}" for line in assumed), f"Model: {out}"]


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
    sizes = {int(part) for part in str(text).split(",")}
    levels = range(len(options["channel_multipliers"]))
    expected = tuple(2**level for level in levels if int(published["image_size"]) // 2**level in sizes)
    if expected != options["attention_downsamplings"]:
        raise ModelError(
            f"image_size = {published['image_size']} and attention_resolutions = {text} put attention at "
            f"downsampling {expected}, but the tensors have it at {options['attention_downsamplings']}."
        )
