from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from isdm.config import DataConfig, SampleConfig, TrainConfig, build, with_preset
from isdm.data.checking import check_dataset
from isdm.data.dataset import SegmentationDataset
from isdm.data.importing import import_dataset
from isdm.errors import ConfigError, DataError
from isdm.pipeline import SemanticDiffusionPipeline
from isdm.synthesis.backgrounds import (
    Background,
    find_backgrounds,
    largest_crop,
    put_back,
    random_window,
    seamed,
    with_defects,
)
from isdm.synthesis.generate import sample
from isdm.training.diffusion import train


def config(**values: Any) -> SampleConfig:
    defaults = {"num_samples": 6, "sampler": "dpmsolver++-sde", "steps": 4, "batch_size": 4, "background": "real"}
    return build(SampleConfig, defaults | values)


def free_pairs(dataset: SegmentationDataset) -> dict[str, np.ndarray]:
    decoded = {pair.stem: dataset.load(pair) for pair in dataset.pairs("train")}
    return {stem: image for stem, (image, mask) in decoded.items() if not mask.any()}


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpmsolver++", "dpmsolver++-sde", "unipc"])
def test_what_is_known_stays_and_the_rest_is_painted(fruit: SegmentationDataset, model: Path, sampler: str) -> None:
    pipeline = SemanticDiffusionPipeline.from_pretrained(model)
    images, masks = (np.stack(x) for x in zip(*(fruit.load(p) for p in fruit.pairs("train")[:2]), strict=True))
    painted = np.zeros(masks.shape, np.float32)
    painted[:, 8:20, 8:20] = 1
    options: dict[str, Any] = {"sampler": sampler, "num_sampling_steps": 5}
    result = pipeline(masks, backgrounds=images, painted=painted, **options)
    kept = painted == 0
    assert np.array_equal(result[kept], images[kept])
    assert np.abs(result[~kept].astype(int) - images[~kept]).mean() > 10
    everything = pipeline(masks, backgrounds=images, painted=np.ones_like(painted), **options)
    assert np.array_equal(everything, pipeline(masks, **options))


def test_what_is_known_guides_the_rest(fruit: SegmentationDataset, model: Path) -> None:
    """Two pictures that differ outside the painted part are painted differently inside."""
    pipeline = SemanticDiffusionPipeline.from_pretrained(model)
    masks = np.stack([fruit.load(fruit.pairs("train")[0])[1]] * 2)
    backgrounds = np.stack([np.full((32, 32, 3), value, np.uint8) for value in (40, 220)])
    painted = np.zeros(masks.shape, np.float32)
    painted[:, 12:20, 12:20] = 1
    result = pipeline(masks, backgrounds=backgrounds, painted=painted, sample_indices=[0, 0], num_sampling_steps=10)
    inside = result[:, 12:20, 12:20].astype(float)
    assert inside[1].mean() - inside[0].mean() > 20


def test_only_the_defect_is_painted(fruit: SegmentationDataset, model: Path, tmp_path: Path) -> None:
    synthetic = sample(config(blend=0.05), model, fruit, tmp_path / "synthetic")
    assert check_dataset(synthetic) == 6
    free = free_pairs(fruit)
    for pair in synthetic.pairs("train"):
        image, mask = synthetic.load(pair)
        assert mask.any()
        away = seamed(mask > 0, 0.05 * 32) == 0
        assert away.any()
        assert np.array_equal(image[away], free[pair.metadata["background"]][away])
        assert not np.array_equal(image, free[pair.metadata["background"]])
        assert {pair.group} <= set(pair.metadata["source_groups"])
    names = [pair.metadata["background"] for pair in synthetic.pairs("train")]
    assert len(set(names)) == min(len(free), 6)


def test_photographs_keep_their_size_and_their_pixels(
    fruit: SegmentationDataset, model: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "photographs").mkdir()
    photographs = {f"p{k}": rng.integers(0, 256, (70 + k, 110, 3)).astype(np.uint8) for k in range(3)}
    for name, values in photographs.items():
        Image.fromarray(values).save(tmp_path / "photographs" / f"{name}.png")
    options = {"photographs": tmp_path / "photographs", "window": 64}
    synthetic = sample(config(**options), model, fruit, tmp_path / "synthetic")
    assert check_dataset(synthetic) == 6
    for pair in synthetic.pairs("train"):
        image, mask = synthetic.load(pair)
        source = photographs[pair.metadata["background"]]
        assert image.shape == source.shape
        assert mask.any()
        top, left = pair.metadata["background_top_left"]
        outside = np.ones(mask.shape, bool)
        outside[top : top + 64, left : left + 64] = False
        assert not mask[outside].any()
        away = outside | (seamed(mask > 0, 0.03 * 64 + 1) == 0)
        assert np.array_equal(image[away], source[away])
        assert not np.array_equal(image[mask > 0], source[mask > 0])


def test_photographs_that_show_held_out_images_are_left_out(
    fruit: SegmentationDataset, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "photographs"
    folder.mkdir()
    leaked = fruit.load(fruit.pairs("test")[0])[0]
    Image.fromarray(leaked).save(folder / "leaked.png")
    Image.fromarray(np.zeros_like(leaked)).save(folder / "empty_mask.png")
    Image.fromarray(fruit.load(fruit.pairs("train")[0])[0][::-1]).save(folder / "own.png")
    synthetic = sample(config(photographs=folder), model, fruit, tmp_path / "synthetic")
    assert {pair.metadata["background"] for pair in synthetic.pairs("train")} == {"own"}
    said = capsys.readouterr().err
    assert "1 of 3 photographs show" in said
    assert "1 of 3 photographs have a single colour" in said
    sample(config(photographs=folder), model, fruit, tmp_path / "synthetic")
    assert "already holds" in capsys.readouterr().err
    (folder / "own.png").unlink()
    with pytest.raises(DataError, match="is gone"):
        sample(config(photographs=folder), model, fruit, tmp_path / "synthetic")
    with pytest.raises(DataError, match="Every photograph"):
        sample(config(photographs=folder), model, fruit, tmp_path / "nothing")


def test_the_seam_falls_from_the_defect_to_nothing() -> None:
    defect = np.zeros((20, 20), bool)
    defect[10, 10] = True
    alpha = seamed(defect, 4.0)
    line = alpha[10, 10:]
    assert line[0] == line[1] == 1
    assert np.allclose(line[1:6], 0.5 + 0.5 * np.cos(np.pi * np.arange(5) / 4), atol=1e-6)
    assert (line[5:] == 0).all()
    assert not seamed(np.zeros((4, 4), bool), 3.0).any()


def test_a_picture_keeps_its_grain_where_it_is_painted() -> None:
    """A painted change of constant brightness moves each pixel of the photograph by just that."""
    rng = np.random.default_rng(1)
    image = rng.integers(60, 120, (40, 60, 1)).astype(np.uint8)
    background = Background("a", "a", image, np.zeros((40, 60), np.uint8), (slice(0, 40), slice(10, 50)))
    seen = np.full((20, 20, 1), 90, np.uint8)
    mask = np.zeros((20, 20), np.uint8)
    mask[6:14, 6:14] = 1
    result, large = put_back(background, seen, seen + np.uint8(50), mask, [1], 0.0)
    assert (large == 1).sum() == pytest.approx(16 * 16, rel=0.1)
    assert np.array_equal(result[large == 1], image[large == 1] + 50)
    assert np.array_equal(large[:, :10], np.zeros((40, 10)))


def test_ignored_pixels_and_other_classes_of_the_background_stay() -> None:
    below = np.array([[0, 1, 255, 0]], np.uint8)
    drawn = np.array([[2, 2, 2, 1]], np.uint8)
    assert with_defects(below, drawn, [2]).tolist() == [[2, 2, 255, 0]]


def test_windows_have_the_right_shape_and_lie_inside() -> None:
    assert largest_crop((100, 300), (64, 64)) == (100, 100)
    assert largest_crop((100, 300), (32, 128)) == (75, 300)
    starts = set()
    for index in range(50):
        rows, columns = random_window((20, 30), (20, 10), 0, index)
        assert (rows.start, rows.stop) == (0, 20)
        assert 0 <= columns.start <= columns.stop - 10 <= 20
        starts.add(columns.start)
    assert len(starts) > 10


def test_nothing_to_paint_into_is_said(fruit: SegmentationDataset, tmp_path: Path) -> None:
    masks = np.ones((len(fruit.pairs("train")), 32, 32), np.uint8)
    with pytest.raises(DataError, match="no training pair without a defect"):
        find_backgrounds(config(), fruit, masks, (32, 32))
    with pytest.raises(DataError, match="not a folder"):
        find_backgrounds(config(photographs=tmp_path / "none"), fruit, masks, (32, 32))
    with pytest.raises(DataError, match="holds no picture"):
        find_backgrounds(config(photographs=tmp_path), fruit, masks, (32, 32))
    Image.fromarray(np.zeros((30, 30, 3), np.uint8)).save(tmp_path / "small.png")
    with pytest.raises(ConfigError, match="larger than every"):
        find_backgrounds(config(photographs=tmp_path, window=40), fruit, masks, (32, 32))
    with pytest.raises(ConfigError, match="rust"):
        find_backgrounds(config(painted_classes=["rust"]), fruit, masks, (32, 32))


@pytest.mark.parametrize(
    ("options", "window"),
    [
        ({"fit": "crop", "window": 24}, (24, 24)),
        ({"fit": "tile", "window": "20x28"}, (20, 28)),
        ({"fit": "tile"}, (16, 16)),
        ({"fit": "crop"}, None),
        ({"fit": "stretch"}, None),
    ],
)
def test_photographs_are_seen_in_windows_as_the_dataset_was_cut(
    options: dict[str, Any], window: tuple[int, int] | None, tmp_path: Path
) -> None:
    source, rng = tmp_path / "source", np.random.default_rng(0)
    for kind in ("images", "masks", "good"):
        (source / kind).mkdir(parents=True)
    for number in range(4):
        Image.fromarray(rng.integers(0, 256, (48, 64, 3), np.uint8)).save(source / "images" / f"{number}.png")
        Image.fromarray(rng.integers(0, 256, (48, 64, 3), np.uint8)).save(source / "good" / f"g{number}.png")
        mask = np.zeros((48, 64), np.uint8)
        mask[10:20, 20:30] = 1
        Image.fromarray(mask).save(source / "masks" / f"{number}.png")
    values = {"source": source, "size": 16, "test": 0, "validation": 0}
    dataset = import_dataset(build(DataConfig, values | options), tmp_path / "data")
    masks = np.zeros((1, 16, 16), np.uint8)
    found = find_backgrounds(config(photographs=source / "good"), dataset, masks, (16, 16))
    assert found.window == window
    assert find_backgrounds(config(photographs=source / "good", window=12), dataset, masks, (16, 16)).window == (
        12,
        12,
    )


def test_a_window_of_the_import_that_no_photograph_has_is_not_asked_for(
    fruit: SegmentationDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(np.arange(2700, dtype=np.uint8).reshape(30, 30, 3)).save(tmp_path / "small.png")
    monkeypatch.setattr("isdm.synthesis.backgrounds.window_of_import", lambda _: (40, 40))
    masks = np.zeros((1, 32, 32), np.uint8)
    found = find_backgrounds(config(photographs=tmp_path), fruit, masks, (32, 32))
    assert (found.window, len(found.photographs)) == (None, 1)


@pytest.mark.parametrize("options", [{"photographs": "x"}, {"window": 8}, {"painted_classes": ["a"]}])
def test_options_of_real_backgrounds_need_them(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="background 'real'"):
        build(SampleConfig, options)


def test_defects_are_painted_into_16_bit_pictures(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    source = tmp_path / "source"
    for kind in ("images", "masks"):
        (source / kind).mkdir(parents=True)
    for k in range(6):
        values = rng.integers(0, 65536, (32, 32)).astype(np.uint16)
        mask = np.zeros((32, 32), np.uint8)
        mask[8:16, 8:16] = k % 2
        Image.fromarray(values).save(source / "images" / f"{k}.png")
        Image.fromarray(mask).save(source / "masks" / f"{k}.png")
    values = {"source": source, "test": 0, "validation": 0, "near_duplicates": False}
    dataset = import_dataset(build(DataConfig, values), tmp_path / "data")
    unet = {"base_channels": 16, "norm_groups": 4, "channel_multipliers": [1, 2], "spade_channels": 8}
    options = {"preset": "tiny", "unet": unet, "batch_size": 2, "steps": 2, "device": "cpu"}
    train(build(TrainConfig, with_preset(options)), dataset, tmp_path / "model")
    synthetic = sample(config(num_samples=3, guidance=1.0), tmp_path / "model", dataset, tmp_path / "synthetic")
    free = free_pairs(dataset)
    for pair in synthetic.pairs("train"):
        image, mask = synthetic.load(pair)
        away = seamed(mask > 0, 0.03 * 32) == 0
        assert image.dtype == np.uint16
        assert np.array_equal(image[away], free[pair.metadata["background"]][away])
