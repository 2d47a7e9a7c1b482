"""What a run does beside plain steps: parts, the fixed grid, copying, other processes and kinds of images."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from isdm.config import DataConfig, TrainConfig, build, with_preset
from isdm.data.dataset import SegmentationDataset
from isdm.data.importing import import_dataset
from isdm.errors import ConfigError, DataError, ModelError
from isdm.model_info import ModelInfo
from isdm.pipeline import SemanticDiffusionPipeline
from isdm.training import checkpoint, run
from isdm.training.batches import load_training_images
from isdm.training.checkpoint import Counters
from isdm.training.diffusion import train
from isdm.training.loop import COPYING_PATIENCE, StopRule
from isdm.training.monitor import GRID_STEPS, judge_grid, make_grid


def config(small: dict[str, Any], **values: Any) -> TrainConfig:
    return build(TrainConfig, with_preset(small | values))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    state = checkpoint.read_state(folder)
    assert state is not None
    raw: dict[str, torch.Tensor] = state["weights"]
    return raw


def metrics(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_out_of_memory_works_in_parts_with_the_same_result(
    fruit: SegmentationDataset,
    small: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    train(config(small, steps=3), fruit, tmp_path / "whole")
    real = run.hybrid_loss

    def memory_for_two(schedule: Any, output: torch.Tensor, *inputs: Any) -> Any:
        if len(output) > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")
        return real(schedule, output, *inputs)

    monkeypatch.setattr(run, "hybrid_loss", memory_for_two)
    train(config(small, steps=3), fruit, tmp_path / "parts")
    assert capsys.readouterr().err.count("worked through in 2 parts") == 1
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.allclose(whole[name], parts[name], atol=1e-5) for name in whole)


def test_not_even_one_image_fits(
    fruit: SegmentationDataset, small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any) -> Any:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")

    monkeypatch.setattr(run, "hybrid_loss", never)
    with pytest.raises(ModelError, match="smaller preset"):
        train(config(small, steps=1), fruit, tmp_path / "model")


@pytest.mark.parametrize(
    "options",
    [
        {"prediction": "v", "noise_schedule": "cosine", "loss_weighting": "min-snr"},
        {"checkpoint_activations": True},
        {"unet": {"spade_resize": "area"}},
        {"unet": {"patch_size": 2}},
    ],
)
def test_options_train_and_paint(
    fruit: SegmentationDataset, small: dict[str, Any], tmp_path: Path, options: dict[str, Any]
) -> None:
    merged = small | options | {"unet": small["unet"] | options.get("unet", {})}
    train(config(merged, steps=40, learning_rate=2e-3), fruit, tmp_path / "model")
    losses = [line["mse"] for line in metrics(tmp_path / "model")]
    assert losses[-1] < losses[0]
    pipeline = SemanticDiffusionPipeline.from_pretrained(tmp_path / "model")
    expected = {"eps": "epsilon", "v": "v_prediction"}[options.get("prediction", "eps")]
    assert pipeline.scheduler.config.prediction_type == expected
    assert pipeline(np.zeros((1, 32, 32), np.uint8), num_sampling_steps=3, sampler="unipc").std() > 0


def test_recomputing_changes_nothing(fruit: SegmentationDataset, small: dict[str, Any], tmp_path: Path) -> None:
    train(config(small, steps=2), fruit, tmp_path / "plain")
    train(config(small, steps=2, checkpoint_activations=True), fruit, tmp_path / "recomputed")
    plain, recomputed = weights(tmp_path / "plain"), weights(tmp_path / "recomputed")
    assert all(torch.allclose(plain[name], recomputed[name], atol=1e-6) for name in plain)


def test_grid_is_the_same_whenever_it_is_made(fruit: SegmentationDataset, small: dict[str, Any]) -> None:
    options = config(small, holdout=0.3)
    training, held_out = load_training_images(fruit, options)
    groups = [pair.group for pair in fruit.pairs("train")]
    assert {groups[i] for i in training.chosen}.isdisjoint(groups[i] for i in held_out.chosen)
    assert sorted([*training.chosen, *held_out.chosen]) == list(range(len(groups)))
    one, two = make_grid(held_out, options), make_grid(held_out, options)
    assert one is not None
    assert two is not None
    whole, part = one.batch(0, len(one)), two.batch(3, 10)
    for name in ("x_start", "semantic_map", "steps", "noise"):
        assert torch.equal(getattr(whole, name)[3:10], getattr(part, name)), name
    assert whole.steps.tolist()[:GRID_STEPS] == [62, 187, 312, 437, 562, 687, 812, 937]
    assert len(one) == min(len(held_out), 32) * GRID_STEPS


def test_grid_is_measured_with_fewer_at_a_time_where_memory_fails(
    fruit: SegmentationDataset,
    small: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    quick = small | {"unet": small["unet"] | {"patch_size": 4}}
    options = config(quick, steps=2, monitor="grid", grid_interval_steps=1)
    train(options, fruit, tmp_path / "whole")
    real = run.hybrid_loss

    def memory_for_one_or_with_gradients_two(schedule: Any, output: torch.Tensor, *inputs: Any) -> Any:
        if len(output) > (2 if torch.is_grad_enabled() else 1):
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return real(schedule, output, *inputs)

    monkeypatch.setattr(run, "hybrid_loss", memory_for_one_or_with_gradients_two)
    train(options, fruit, tmp_path / "parts")
    said = capsys.readouterr().err
    assert said.count("worked through in 2 parts") == said.count("1 picture(s) are now measured at a time") == 1
    whole, parts = ([line["train_grid_loss"] for line in metrics(tmp_path / name)] for name in ("whole", "parts"))
    assert parts == pytest.approx(whole, rel=1e-4)


def test_grid_loss_chooses_the_checkpoint(fruit: SegmentationDataset, small: dict[str, Any], tmp_path: Path) -> None:
    options = {"monitor": "grid", "grid_interval_steps": 3, "holdout": 0.3, "learning_rate": 5e-3, "ema_decay": 0.5}
    train(config(small, steps=12, **options), fruit, tmp_path / "model")
    state = checkpoint.read_state(tmp_path / "model")
    assert state is not None
    grid = {line["step"]: line["held_out_grid_loss"] for line in metrics(tmp_path / "model") if "loss" not in line}
    assert list(grid) == [3, 6, 9, 12]
    best = min(grid, key=lambda step: grid[step])
    assert state["counters"]["best_step"] == best
    assert state["counters"]["best_loss"] == pytest.approx(grid[best])
    # By hand: the EMA weights of a run that ends there, one place of the grid after another.
    train(config(small, steps=int(best), **options), fruit, tmp_path / "short")
    assert metrics(tmp_path / "short")[-1]["held_out_grid_loss"] == pytest.approx(grid[best])
    kept = load_file(tmp_path / "model" / checkpoint.AVERAGED_WEIGHTS)
    short = load_file(tmp_path / "short" / checkpoint.AVERAGED_WEIGHTS)
    assert all(torch.equal(kept[name], short[name]) for name in kept)


class TestCopying:
    """Held-out loss rises by more than its noise while the training loss falls."""

    def measure(self, *measurements: tuple[float, float], noise: float = 0.01) -> Counters:
        counters = Counters()
        wobble = noise * np.array([-1.0, 1.0, -1.0, 1.0])
        for number, (train_loss, held_out_loss) in enumerate(measurements):
            shifted = np.roll(wobble, number)
            judge_grid(counters, np.full(4, train_loss), held_out_loss + shifted)
        return counters

    def test_rise_beside_a_falling_training_loss_counts(self) -> None:
        assert self.measure((0.5, 0.5), (0.4, 0.6), (0.3, 0.7), (0.2, 0.8)).rises == COPYING_PATIENCE

    def test_rise_within_the_noise_does_not(self) -> None:
        assert self.measure((0.5, 0.5), (0.4, 0.51), noise=0.1).rises == 0

    def test_rise_of_both_does_not(self) -> None:
        assert self.measure((0.5, 0.5), (0.6, 0.6)).rises == 0

    def test_new_lowest_loss_starts_anew(self) -> None:
        assert self.measure((0.5, 0.5), (0.4, 0.6), (0.3, 0.4)).rises == 0

    def test_it_ends_the_run(self, small: dict[str, Any]) -> None:
        stopping = StopRule.of(config(small, stop_on_copying=True, holdout=0.2), 10)
        held_out = ((250, 0.6), (500, 0.5), (750, 0.6), (1000, 0.7), (1250, 0.8))
        counters = Counters(
            rises=COPYING_PATIENCE,
            best_step=1240,  # by the mean loss of an epoch, which falls on
            metrics=[{"step": 1240, "loss": 0.1}] + [{"step": s, "held_out_grid_loss": loss} for s, loss in held_out],
        )
        assert "copying sets in: since step 500 the loss fell" in str(stopping.reason(counters))
        assert StopRule.of(config(small), 10).reason(counters) is None

    def test_it_needs_held_out_images(self, small: dict[str, Any]) -> None:
        with pytest.raises(ConfigError, match="holdout"):
            config(small, stop_on_copying=True)


def test_only_images_of_a_kind(fruit: SegmentationDataset, small: dict[str, Any]) -> None:
    masks = [fruit.load(pair)[1] for pair in fruit.pairs("train")]
    with_defect = [bool(((mask > 0) & (mask < 255)).any()) for mask in masks]
    chosen, _ = load_training_images(fruit, config(small, images="with-defects"))
    assert chosen.chosen.tolist() == np.flatnonzero(with_defect).tolist()
    if all(with_defect):
        with pytest.raises(DataError, match="defect-free"):
            load_training_images(fruit, config(small, images="defect-free"))


def test_whole_split_held_out_is_refused(fruit: SegmentationDataset, small: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="holdout"):
        load_training_images(fruit, config(small, holdout=0.999))


def test_model_remembers_what_it_was_initialised_from(
    fruit: SegmentationDataset, small: dict[str, Any], tmp_path: Path
) -> None:
    train(config(small, steps=1), fruit, tmp_path / "first")
    train(config(small, steps=1), fruit, tmp_path / "second", init=tmp_path / "first")
    origin = ModelInfo.read(tmp_path / "second").trained_on["initialised_from"]
    assert origin == ModelInfo.read(tmp_path / "first").trained_on


def test_state_from_before_samples_were_counted(
    fruit: SegmentationDataset, small: dict[str, Any], tmp_path: Path
) -> None:
    """An older state goes on at the sample where it stopped."""
    train(config(small, steps=5), fruit, tmp_path / "whole")
    train(config(small, steps=3), fruit, tmp_path / "old")
    path = tmp_path / "old" / checkpoint.STATE
    state = torch.load(path, weights_only=True)
    for name in ("samples", "num_processes", "best_held_out", "best_train_loss", "rises"):
        del state["counters"][name]
    torch.save(state, path)
    train(config(small, steps=5), fruit, tmp_path / "old")
    whole, old = weights(tmp_path / "whole"), weights(tmp_path / "old")
    assert all(torch.equal(whole[name], old[name]) for name in whole)


def test_epochs_end_at_their_samples_whoever_took_them(
    fruit: SegmentationDataset, small: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run begun by two processes, here made to look so, takes the samples left and no others."""
    num_images = len(fruit.pairs("train"))
    train(config(small, steps=2), fruit, tmp_path / "model")
    path = tmp_path / "model" / checkpoint.STATE
    state = torch.load(path, weights_only=True)
    state["counters"] |= {"num_processes": 2, "samples": 16}
    torch.save(state, path)
    options = config(small, epochs=2)
    train(options, fruit, tmp_path / "model")
    counters = torch.load(path, weights_only=True)["counters"]
    assert counters["step"] == 2 + -(-(2 * num_images - 16) // 4)
    assert 2 * num_images <= counters["samples"] < 2 * num_images + 4
    for processes in (1, 2, 3):  # the finished run is finished, whatever it is looked at with
        assert StopRule.of(options, num_images, processes, Counters(**counters)).reason(Counters(**counters))
    capsys.readouterr()
    train(options, fruit, tmp_path / "model")
    assert "already trained" in capsys.readouterr().err


def test_dropout_is_the_same_after_resuming(
    fruit: SegmentationDataset, small: dict[str, Any], tmp_path: Path
) -> None:
    options = small | {"unet": small["unet"] | {"dropout": 0.3}}
    train(config(options, steps=4), fruit, tmp_path / "whole")
    train(config(options, steps=2), fruit, tmp_path / "parts")
    torch.rand(5)  # whatever else drew in between
    train(config(options, steps=4), fruit, tmp_path / "parts")
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_pretraining_on_pictures_without_defects(
    fruit: SegmentationDataset, small: dict[str, Any], tmp_path: Path
) -> None:
    """Import beside them, train on them alone, then go on with all from those weights."""
    clean = tmp_path / "clean"
    clean.mkdir()
    for index in range(3):
        values = np.random.default_rng(index).integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(values).save(clean / f"clean{index}.png")
    source = {"source": fruit.folder, "layout": "isdm", "defect_free": clean}
    dataset = import_dataset(build(DataConfig, source), tmp_path / "data")
    options = config(small, steps=2, images="defect-free")
    chosen = load_training_images(dataset, options)[0].chosen
    assert {"clean0", "clean1", "clean2"} <= {dataset.pairs("train")[index].stem for index in chosen}
    assert not any(dataset.load(dataset.pairs("train")[index])[1].any() for index in chosen)
    train(options, dataset, tmp_path / "pretrained")
    train(config(small, steps=1, learning_rate=1e-12), dataset, tmp_path / "model", init=tmp_path / "pretrained")
    start = load_file(tmp_path / "pretrained" / checkpoint.RAW_WEIGHTS)
    assert all(torch.allclose(start[name], value, atol=1e-6) for name, value in weights(tmp_path / "model").items())
    assert ModelInfo.read(tmp_path / "model").trained_on["initialised_from"]["images"] == "defect-free"


@pytest.mark.parametrize(("before", "told"), [(0, "the remaining 2 of 10 steps"), (1, "the remaining 1 of 10 steps")])
def test_the_cost_is_that_of_the_steps_that_remain(
    fruit: SegmentationDataset,
    small: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    before: int,
    told: str,
) -> None:
    if before:
        train(config(small, steps=before), fruit, tmp_path / "model")
    train(config(small, steps=10), fruit, tmp_path / "model")
    assert f" s; {told} take about " in capsys.readouterr().err
