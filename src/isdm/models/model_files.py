"""A stranger's model folder, looked at before anything is built: what it may ask for, and where its files lie.

A network is built from numbers in `unet/config.json`. A folder that is damaged or means harm could ask there for
10^9 channels, or for code of its own; so only the network's own options are taken, and none that the tensors beside
do not bear out.
"""

import inspect
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from isdm.errors import IsdmError, ModelError
from isdm.files import read_json
from isdm.models.unet import SemanticUNet

WEIGHTS = "diffusion_pytorch_model.safetensors"
MOST_LEVELS = 12
MOST_TIMESTEPS = 100_000

_OPTIONS = tuple(name for name in inspect.signature(SemanticUNet.__init__).parameters if name != "self")
_NAMES_OF_TOOLS = ("_class_name", "_diffusers_version", "_name_or_path")
_AGAIN = "train the model again, or fetch it anew"


def own_file(folder: Path, name: str | Path) -> Path:
    """A file of a model folder.

    Raises:
        ModelError: it is missing, no file, or a link out of the folder (but for those of the Hugging Face cache).
    """
    path = folder / name
    if not path.exists():
        raise ModelError(f"{path} is missing; {_AGAIN}.")
    if not path.is_file():
        raise ModelError(f"{path} is no file; {_AGAIN}.")
    inside = folder.resolve()
    allowed = [inside, *([inside.parents[1] / "blobs"] if inside.parent.name == "snapshots" else [])]
    real = path.resolve()
    if not any(real.is_relative_to(place) for place in allowed):
        raise ModelError(f"{path} is a link to {real}, out of the model; put the file itself there.")
    return path


def read_settings(folder: Path, name: str | Path) -> dict[str, Any]:
    """What a JSON file of a model folder holds, an object.

    Raises:
        ModelError: see `own_file`, or it is damaged.
    """
    path = own_file(folder, name)
    try:
        values = read_json(path)
    except IsdmError as error:
        raise ModelError(str(error)) from None
    if not isinstance(values, dict):
        raise ModelError(f"{path} holds {type(values).__name__} where an object is expected; {_AGAIN}.")
    return values


def check_unet(folder: Path) -> None:
    """Refuse a model folder whose network is not the one that its tensors are of.

    Raises:
        ModelError: an unknown or senseless option, damaged weights, or tensors that do not fit the options.
    """
    path = folder / "unet" / "config.json"
    options = _options(read_settings(folder, Path("unet") / "config.json"), path)
    weights = own_file(folder, Path("unet") / WEIGHTS)
    index = weights.with_name(WEIGHTS + ".index.json")
    if index.exists():
        raise ModelError(f"{index} names other files of weights, which isdm never writes; {_AGAIN}.")
    misfit = find_misfit(options, _shapes(weights), path)
    if misfit is not None:
        raise ModelError(f"{weights} does not fit {path}: {misfit}; {_AGAIN}.")


def find_misfit(options: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], path: Path) -> str | None:
    """The first tensor that a network of these options, told by `path`, has in another shape; None where all fit.

    The options' types must have been checked. Nothing is allocated.

    Raises:
        ModelError: the options describe no network, or one far wider than any tensor.
    """
    _check_extent(options, shapes, path)
    try:
        with torch.device("meta"):  # shapes alone: no memory, no numbers
            expected = {name: tuple(value.shape) for name, value in SemanticUNet(**options).state_dict().items()}
    except (AssertionError, ValueError, TypeError, RuntimeError, ArithmeticError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelError(f"{path} describes no network ({reason}); {_AGAIN}.") from None
    wrong = sorted(name for name in {*expected, *shapes} if expected.get(name) != shapes.get(name))
    if not wrong:
        return None
    return f"{wrong[0]} is {shapes.get(wrong[0], 'missing')} and should be {expected.get(wrong[0], 'absent')}"


def check_scheduler(folder: Path) -> dict[str, Any]:
    """Settings of a model folder's scheduler, whose tables have a sensible length.

    Raises:
        ModelError: they are damaged, or ask for tables of other lengths.
    """
    name = Path("scheduler") / "scheduler_config.json"
    settings = read_settings(folder, name)
    steps = settings.get("num_train_timesteps")
    if not isinstance(steps, int) or isinstance(steps, bool) or not 2 <= steps <= MOST_TIMESTEPS:
        raise ModelError(
            f"{folder / name} has num_train_timesteps = {steps!r}; from 2 to {MOST_TIMESTEPS:,} can be: {_AGAIN}."
        )
    if settings.get("trained_betas") is not None:
        raise ModelError(f"{folder / name} has trained_betas, which isdm does not train; {_AGAIN}.")
    return settings


def _options(settings: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The network's options among the settings; others are refused, for who knows what they ask of a loader."""
    unknown = sorted(set(settings) - {*_OPTIONS, *_NAMES_OF_TOOLS})
    if unknown:
        raise ModelError(f"{path} has the unknown setting {unknown[0]!r}; isdm never writes it: {_AGAIN}.")
    options = {name: value for name, value in settings.items() if name in _OPTIONS}
    numbers = {name: value for name, value in options.items() if name not in ("spade_resize", "dropout")}
    for name, value in numbers.items():
        several = name in ("channel_multipliers", "attention_downsamplings")
        values = value if several and isinstance(value, list) else [value]
        least = 0 if name in ("attention_downsamplings", "augmentation_labels") else 1
        whole = name != "channel_multipliers"
        if not all(_is_number(one, whole) and (one >= least or (not whole and one > 0)) for one in values):
            raise ModelError(f"{path} has {name} = {value!r}, which is no width or count; {_AGAIN}.")
    if not 1 <= len(options.get("channel_multipliers", [1])) <= MOST_LEVELS:
        raise ModelError(f"{path} has {len(options['channel_multipliers'])} levels; from 1 to {MOST_LEVELS} can be.")
    dropout = options.get("dropout", 0.0)
    if options.get("spade_resize", "nearest") not in ("nearest", "area") or not (
        _is_number(dropout, False) and 0 <= dropout < 1
    ):
        raise ModelError(f"{path} has an unknown spade_resize or dropout; {_AGAIN}.")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}


def _is_number(value: object, whole: bool) -> bool:
    kinds = int if whole else int | float
    return isinstance(value, kinds) and not isinstance(value, bool) and abs(value) < 2**31 and math.isfinite(value)


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of a safetensors file's tensors, from its header; the library checks it against the file's length."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(f"{path} cannot be loaded ({reason}); {_AGAIN}.") from None


def _check_extent(options: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], path: Path) -> None:
    """Refuse widths and counts that no tensor bears out, before the network is laid out at all."""
    defaults = {name: one.default for name, one in inspect.signature(SemanticUNet.__init__).parameters.items()}
    full = {name: options.get(name, defaults[name]) for name in _OPTIONS}
    widest = max((max(shape, default=0) for shape in shapes.values()), default=0)
    counts = ("in_channels", "num_classes", "base_channels", "spade_channels", "augmentation_labels")
    widths = {name: full[name] for name in counts}
    widths |= {"channel_multipliers": max(full["channel_multipliers"]) * full["base_channels"]}
    widths |= {"patch_size": full["patch_size"] ** 2 * full["in_channels"]}
    for name, width in widths.items():
        if width > widest:
            raise ModelError(f"{path} asks with {name} for {width} channels but no tensor has so many; {_AGAIN}.")
    if full["num_res_blocks"] > len(shapes):
        raise ModelError(
            f"{path} asks for {full['num_res_blocks']} blocks a level but there are {len(shapes)} tensors; {_AGAIN}."
        )
