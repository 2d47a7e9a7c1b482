import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from isdm import provenance
from isdm.config import TrainConfig, build, read_yaml, with_preset
from isdm.data.dataset import SegmentationDataset
from isdm.errors import DataError, ModelError, OutputError
from isdm.model_info import ModelInfo
from isdm.pipeline import SemanticDiffusionPipeline
from isdm.training import checkpoint
from isdm.training.diffusion import finetune, finetune_config, train, would_go_on
from isdm.training.randomness import draw_sample, epoch_order, epoch_steps
from isdm.training.run import learning_rate

WEIGHTS = Path("unet") / "diffusion_pytorch_model.safetensors"


def config(small: dict[str, Any], **values: Any) -> TrainConfig:
    return build(TrainConfig, with_preset(small | values))


def state_of(folder: Path) -> dict[str, Any]:
    state = checkpoint.read_state(folder)
    assert state is not None
    return state


def assert_same_run(one: Path, other: Path) -> None:
    """Weights, averages, optimiser and counters but for the clock are bit for bit the same."""
    a, b = state_of(one), state_of(other)
    for part in ("weights", "ema"):
        assert all(torch.equal(a[part][name], b[part][name]) for name in a[part]), part
    for key, values in a["optimizer"]["state"].items():
        assert all(torch.equal(values[name], b["optimizer"]["state"][key][name]) for name in values)
    timed = {"seconds", "metrics", "save_seconds", "saved_bytes"}
    assert {k: v for k, v in a["counters"].items() if k not in timed} == {
        k: v for k, v in b["counters"].items() if k not in timed
    }
    first, second = load_file(one / WEIGHTS), load_file(other / WEIGHTS)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_resumed_run_equals_an_undisturbed_one(
    fruit: SegmentationDataset, small: dict[str, Any], tmp_path: Path
) -> None:
    train(config(small, steps=9), fruit, tmp_path / "whole")
    train(config(small, steps=5), fruit, tmp_path / "parts")
    train(config(small, steps=9), fruit, tmp_path / "parts")
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_killed_run_goes_on_from_its_last_save(
    fruit: SegmentationDataset, small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Die inside a save, after the model was written and before the state was."""
    train(config(small, steps=9), fruit, tmp_path / "whole")
    real = checkpoint.write_state
    saves = []

    def dies_at_the_second_save(*arguments: Any) -> None:
        saves.append(1)
        if len(saves) == 2:
            raise KeyboardInterrupt
        real(*arguments)

    monkeypatch.setattr(checkpoint, "write_state", dies_at_the_second_save)
    # A save after every step: the first state is that of step 1, the model on disk may be newer.
    with pytest.raises(KeyboardInterrupt):
        train(config(small, steps=9, save_interval=1e-9), fruit, tmp_path / "killed")
    monkeypatch.undo()
    assert state_of(tmp_path / "killed")["counters"]["step"] == 1
    train(config(small, steps=9), fruit, tmp_path / "killed")
    assert_same_run(tmp_path / "whole", tmp_path / "killed")


def test_finished_run_is_not_done_again(fruit: SegmentationDataset, small: dict[str, Any], tmp_path: Path) -> None:
    train(config(small, steps=2), fruit, tmp_path / "model")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    train(config(small, steps=2), fruit, tmp_path / "model")
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}


def test_other_options_are_refused(fruit: SegmentationDataset, small: dict[str, Any], tmp_path: Path) -> None:
    train(config(small, steps=1), fruit, tmp_path / "model")
    with pytest.raises(OutputError, match="learning_rate"):
        train(config(small, steps=2, learning_rate=1e-2), fruit, tmp_path / "model")


def test_learning_lowers_the_loss(fruit: SegmentationDataset, small: dict[str, Any], tmp_path: Path) -> None:
    train(config(small, steps=60, learning_rate=2e-3), fruit, tmp_path / "model")
    losses = [json.loads(line)["mse"] for line in (tmp_path / "model" / "metrics.jsonl").read_text().splitlines()]
    assert losses[-1] < 0.6 * losses[0]


def test_model_of_the_best_epoch_is_kept(fruit: SegmentationDataset, small: dict[str, Any], tmp_path: Path) -> None:
    """The kept weights are those that a run of just so many steps ends with."""
    options = small | {"learning_rate": 0.02, "monitor_samples": 1}
    train(config(options, steps=42), fruit, tmp_path / "model")
    counters = state_of(tmp_path / "model")["counters"]
    losses = {line["step"]: line["loss"] for line in counters["metrics"]}
    best = min(losses, key=lambda step: losses[step])
    assert counters["best_step"] == best < max(losses)
    train(config(options, steps=best), fruit, tmp_path / "short")
    kept, then = load_file(tmp_path / "model" / checkpoint.RAW_WEIGHTS), state_of(tmp_path / "short")["weights"]
    assert all(torch.equal(kept[name], then[name]) for name in kept)


def test_monitored_loss_is_the_mean_over_enough_samples(
    fruit: SegmentationDataset, small: dict[str, Any], tmp_path: Path
) -> None:
    num_images = len(fruit.pairs("train"))
    options = small | {"monitor_samples": 2 * num_images + 1, "batch_size": num_images}
    train(config(options, steps=6), fruit, tmp_path / "model")
    metrics = state_of(tmp_path / "model")["counters"]["metrics"]
    losses = [line["loss"] for line in metrics]
    for epoch, line in enumerate(metrics):
        assert line["monitored"] == pytest.approx(np.mean(losses[max(0, epoch - 2) : epoch + 1]))


def test_average_follows_its_equation(fruit: SegmentationDataset, small: dict[str, Any], tmp_path: Path) -> None:
    """Replay EMA by hand from the weights after each step; step k mixes with min(decay, (1 + k) / (10 + k))."""
    averages: dict[str, torch.Tensor] = {}
    for steps in range(4):
        folder = tmp_path / str(steps)
        train(config(small, steps=steps + 1, ema_decay=0.2), fruit, folder)
        weights = state_of(folder)["weights"]
        if steps == 0:
            torch.manual_seed(3)
            fresh = SemanticDiffusionPipeline.from_pretrained(folder).unet.__class__(
                num_classes=4, **config(small).unet.model_dump()
            )
            averages = {name: value.detach() for name, value in fresh.named_parameters()}
        decay = min(0.2, (1 + steps) / (10 + steps))
        averages = {name: decay * averages[name] + (1 - decay) * weights[name] for name in averages}
        for name, value in state_of(folder)["ema"].items():
            assert torch.allclose(value, averages[name], atol=1e-6), name


def test_finetuning_starts_from_the_raw_weights(
    fruit: SegmentationDataset, small: dict[str, Any], tmp_path: Path
) -> None:
    train(config(small, steps=12, drop_rate=0.0), fruit, tmp_path / "model")
    tuned = finetune_config(tmp_path / "model", {"steps": 6, "learning_rate": 1e-12})
    assert (tuned.drop_rate, tuned.batch_size) == (0.2, 4)
    assert tuned.unet == config(small).unet
    finetune(tuned, tmp_path / "model", fruit, tmp_path / "tuned")
    start = load_file(tmp_path / "model" / checkpoint.RAW_WEIGHTS)
    end = state_of(tmp_path / "tuned")["weights"]
    assert all(torch.allclose(start[name], end[name], atol=1e-6) for name in start)
    assert ModelInfo.read(tmp_path / "model").drop_rate == 0
    assert ModelInfo.read(tmp_path / "tuned").drop_rate == 0.2


def test_finetuning_takes_a_quarter_of_the_steps_that_were_really_made(
    fruit: SegmentationDataset, small: dict[str, Any], tmp_path: Path
) -> None:
    train(config(small, epochs=3), fruit, tmp_path / "model")
    made = state_of(tmp_path / "model")["counters"]["step"]
    assert made >= 8
    tuned = finetune_config(tmp_path / "model", {"batch_size": 1})
    assert tuned.steps == made // 4
    assert finetune_config(tmp_path / "model", {"max_time": 60}).steps is None
    finetune(tuned.model_copy(update={"steps": None, "epochs": None}), tmp_path / "model", fruit, tmp_path / "tuned")
    assert state_of(tmp_path / "tuned")["counters"]["step"] == made // 4
    SemanticDiffusionPipeline.from_pretrained(tmp_path / "model").save_pretrained(tmp_path / "copy")
    assert (finetune_config(tmp_path / "copy", {}).steps, finetune_config(tmp_path / "copy", {}).epochs) == (
        None,
        20_000,
    )


def test_finetuning_keeps_the_process_and_the_prediction(
    fruit: SegmentationDataset, small: dict[str, Any], tmp_path: Path
) -> None:
    """A copy that diffusers saved has no config.yaml; its scheduler tells what it was trained on."""
    options = small | {"prediction": "v", "noise_schedule": "cosine", "num_train_timesteps": 500, "steps": 1}
    train(config(options), fruit, tmp_path / "model").save_pretrained(tmp_path / "copy")
    own = {"steps": 1, "batch_size": 2, "device": "cpu", "precision": "float32"}
    tuned = finetune_config(tmp_path / "copy", own)
    assert (tuned.prediction, tuned.noise_schedule, tuned.num_train_timesteps) == ("v", "cosine", 500)
    scheduler = finetune(tuned, tmp_path / "copy", fruit, tmp_path / "tuned").scheduler.config
    assert (scheduler.prediction_type, scheduler.beta_schedule) == ("v_prediction", "squaredcos_cap_v2")
    trained = (("prediction", "eps", "v"), ("noise_schedule", "linear", "cosine"), ("num_train_timesteps", 100, 500))
    for name, other, value in trained:
        wrong = finetune_config(tmp_path / "copy", own | {name: other})
        with pytest.raises(
            ModelError, match=f"was trained with {name}={value}; fine-tune it so: --set {name}={value}"
        ):
            finetune(wrong, tmp_path / "copy", fruit, tmp_path / "refused")


def test_finetuning_seeds_the_dropout_of_the_network_itself(
    fruit: SegmentationDataset, small: dict[str, Any], tmp_path: Path
) -> None:
    """The network has the model's dropout, whatever the options say of a new one."""
    options = small | {"unet": small["unet"] | {"dropout": 0.5}, "steps": 1}
    train(config(options), fruit, tmp_path / "model").save_pretrained(tmp_path / "copy")
    tuned = finetune_config(tmp_path / "copy", {"steps": 2, "batch_size": 2, "device": "cpu", "precision": "float32"})
    assert tuned.unet.dropout == 0
    for name in ("one", "other"):
        torch.manual_seed(len(name))
        finetune(tuned, tmp_path / "copy", fruit, tmp_path / name)
    assert_same_run(tmp_path / "one", tmp_path / "other")


def test_finetuning_refuses_another_network_than_the_models(
    fruit: SegmentationDataset, model: Path, tmp_path: Path
) -> None:
    for name, value, own in (("dropout", 0.3, "0.0"), ("channel_multipliers", [1, 2, 2], r"\[1, 2\]")):
        tuned = finetune_config(model, {"steps": 1, "unet": {name: value}})
        with pytest.raises(ModelError, match=rf"unet\.{name} = .* has {own} and fine-tuning keeps it"):
            finetune(tuned, model, fruit, tmp_path / "tuned")
    assert not (tmp_path / "tuned").exists()


def test_weights_of_another_network_are_named(
    fruit: SegmentationDataset, small: dict[str, Any], model: Path, tmp_path: Path
) -> None:
    """Files of another training, put into this one's folder."""
    train(config(small, steps=1), fruit, tmp_path / "other")
    shutil.copytree(model, tmp_path / "model")
    for name in (checkpoint.RAW_WEIGHTS, checkpoint.STATE):
        shutil.copy(tmp_path / "other" / name, tmp_path / "model" / name)
    told = "holds the weights of another network .* put this model's own file back"
    with pytest.raises(ModelError, match=rf"raw_weights\.safetensors {told}"):
        finetune(finetune_config(tmp_path / "model", {"steps": 1}), tmp_path / "model", fruit, tmp_path / "tuned")
    same = build(TrainConfig, read_yaml(tmp_path / "model" / "config.yaml") | {"steps": 31})
    with pytest.raises(ModelError, match=rf"state\.pt {told}"):
        train(same, fruit, tmp_path / "model")


def test_init_takes_over_what_fits(
    fruit: SegmentationDataset, small: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(config(small, steps=1), fruit, tmp_path / "model")
    wider = small | {"unet": small["unet"] | {"spade_channels": 12}}
    train(config(wider, steps=1, learning_rate=1e-12), fruit, tmp_path / "next", init=tmp_path / "model")
    assert "start anew" in capsys.readouterr().err
    old, new = (load_file(tmp_path / name / checkpoint.RAW_WEIGHTS) for name in ("model", "next"))
    assert torch.allclose(old["stem.weight"], new["stem.weight"], atol=1e-6)


def test_size_that_is_no_multiple_trains(fruit: SegmentationDataset, small: dict[str, Any], tmp_path: Path) -> None:
    """32 pixels in a network that halves them six times: padded inside to 64."""
    deep = small | {"unet": small["unet"] | {"channel_multipliers": [1] * 7, "attention_downsamplings": []}}
    train(config(deep, steps=1), fruit, tmp_path / "model")
    pipeline = SemanticDiffusionPipeline.from_pretrained(tmp_path / "model")
    assert pipeline.unet.size_divisor == 64
    assert pipeline(np.zeros((1, 32, 32), np.uint8), num_sampling_steps=2).shape == (1, 32, 32, 3)


def test_folder_loads_after_being_moved(fruit: SegmentationDataset, small: dict[str, Any], tmp_path: Path) -> None:
    train(config(small, steps=1), fruit, tmp_path / "model")
    (tmp_path / "model").rename(tmp_path / "moved")
    pipeline = SemanticDiffusionPipeline.from_pretrained(tmp_path / "moved")
    masks = np.stack([fruit.load(pair)[1] for pair in fruit.pairs("train")[:2]])
    assert pipeline(masks, num_sampling_steps=2, sampler="ddim").shape == (2, 32, 32, 3)
    pipeline.save_pretrained(tmp_path / "again")
    assert SemanticDiffusionPipeline.from_pretrained(tmp_path / "again").info == pipeline.info


@pytest.mark.parametrize("damage", ["isdm.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors"])
def test_damaged_model_is_refused(
    fruit: SegmentationDataset, small: dict[str, Any], tmp_path: Path, damage: str
) -> None:
    train(config(small, steps=1), fruit, tmp_path / "model")
    path = tmp_path / "model" / damage
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises((ModelError, DataError)):
        SemanticDiffusionPipeline.from_pretrained(tmp_path / "model")


def test_folder_tells_what_made_it(fruit: SegmentationDataset, small: dict[str, Any], tmp_path: Path) -> None:
    train(config(small, steps=1), fruit, tmp_path / "model")
    record = provenance.read(tmp_path / "model")
    assert record is not None
    assert record.finished
    assert record.inputs == {"train split": fruit.fingerprint("train")}
    assert record.config["seed"] == 3


def test_cosine_falls_to_zero_after_the_warm_up(small: dict[str, Any]) -> None:
    rates = [
        learning_rate(
            config(small, steps=100, learning_rate=1.0, learning_rate_decay="cosine", warmup_steps=10),
            step,
            100,
        )
        for step in range(101)
    ]
    assert rates[0] == pytest.approx(0.1, rel=1e-3)
    assert max(rates) == pytest.approx(0.98, abs=0.02)
    assert rates[50] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(0.0)


class TestRandomness:
    """What chance decides depends on (seed, sample) alone."""

    def test_same_sample_same_draw(self) -> None:
        one = draw_sample(1, 77, 10, 1000, (3, 4, 4), True, 0.5)
        two = draw_sample(1, 77, 10, 1000, (3, 4, 4), True, 0.5)
        other = draw_sample(2, 77, 10, 1000, (3, 4, 4), True, 0.5)
        assert np.array_equal(one.noise, two.noise)
        assert not np.array_equal(one.noise, other.noise)
        assert (one.image_index, one.step, one.flip, one.drop) == (
            two.image_index,
            two.step,
            two.flip,
            two.drop,
        )

    def test_every_image_once_an_epoch(self) -> None:
        assert sorted(epoch_order(0, 5, 31)) == list(range(31))

    def test_steps_are_uniform_and_spread_over_each_epoch(self) -> None:
        steps = np.stack([epoch_steps(0, epoch, 50, 1000) for epoch in range(200)])
        assert (np.sort(steps // 20, axis=1) == np.arange(50)).all()
        share = np.bincount(steps.ravel() // 100, minlength=10) / steps.size
        assert share == pytest.approx(np.full(10, 0.1), abs=0.01)

    def test_rates_of_flip_and_drop(self) -> None:
        draws = [draw_sample(0, index, 10, 1000, (1, 1, 1), True, 0.2) for index in range(3000)]
        assert np.mean([draw.drop for draw in draws]) == pytest.approx(0.2, abs=0.03)
        assert np.mean([draw.flip for draw in draws]) == pytest.approx(0.5, abs=0.03)
        noise = np.array([draw.noise.item() for draw in draws])
        assert noise.mean() == pytest.approx(0, abs=0.06)
        assert noise.std() == pytest.approx(1, abs=0.05)


def test_options_and_record_say_where_a_training_stands(
    fruit: SegmentationDataset, small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "model"

    def recorded() -> tuple[Any, Any, bool]:
        record = provenance.read(out)
        assert record is not None
        return read_yaml(out / "config.yaml")["steps"], record.config["steps"], record.finished

    train(config(small, steps=4), fruit, out)
    train(config(small, steps=2), fruit, out)
    assert recorded() == (4, 4, True), "asked for less, it stays what it is"
    assert would_go_on(config(small, steps=6), fruit, out)
    assert not would_go_on(config(small, steps=4, epochs=30_000), fruit, out)

    def dies(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("isdm.training.run.Run.close_short_run", dies)
        with pytest.raises(KeyboardInterrupt):
            train(config(small, steps=6, save_interval=1e-9), fruit, out)
    assert recorded() == (6, 6, False), "its weights are changing"
    train(config(small, steps=3), fruit, out)
    assert recorded() == (6, 6, True), "it stands behind the step at which it was to stop"
