"""Options: unknown keys, ranges, units, presets and `--set`."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from pydantic import ValidationError

from isdm.config import (
    AuditConfig,
    DataConfig,
    EvaluateConfig,
    ExperimentConfig,
    FinetuneConfig,
    SampleConfig,
    StageConfig,
    TrainConfig,
    UNetConfig,
    build,
    inherited_by_finetuning,
    limited,
    merged,
    parse_settings,
    read_yaml,
    with_preset,
)
from isdm.errors import ConfigError

SOURCE = {"source": "photos"}


@pytest.mark.parametrize(
    ("kind", "values", "unknown", "nearest"),
    [
        (TrainConfig, {"learning_rat": 1e-4}, "learning_rat", "learning_rate"),
        (SampleConfig, {"guidence": 2}, "guidence", "guidance"),
        (DataConfig, SOURCE | {"groupby": "x"}, "groupby", "group_by"),
        (TrainConfig, {"unet": {"base_chanels": 64}}, "unet.base_chanels", "base_channels"),
        (
            ExperimentConfig,
            {"data": SOURCE, "train": {"unet": {"base_chanels": 64}}},
            "train.unet.base_chanels",
            "base_channels",
        ),
        (ExperimentConfig, {"data": SOURCE, "finetune": {"droprate": 0.2}}, "finetune.droprate", "drop_rate"),
        (ExperimentConfig, {"data": SOURCE, "evalute": {}}, "evalute", "evaluate"),
    ],
)
def test_an_unknown_key_names_the_nearest_known_one(
    kind: type[StageConfig], values: dict[str, Any], unknown: str, nearest: str
) -> None:
    with pytest.raises(ConfigError, match=f"unknown key '{re.escape(unknown)}'; did you mean '{nearest}'\\?$"):
        build(kind, values)


def test_an_unknown_key_unlike_any_other_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"known keys: .*batch_size.*guidance.*sampler"):
        build(SampleConfig, {"zzz": 1})


def test_all_wrong_keys_are_named_at_once_with_the_place() -> None:
    with pytest.raises(ConfigError) as caught:
        build(SampleConfig, {"guidence": 1, "steps": 0, "sampler": "euler"}, where="lemons.yaml")
    message = str(caught.value)
    assert message.startswith("In lemons.yaml: ")
    assert all(part in message for part in ("guidence", "steps = 0", "sampler = 'euler'", "'unipc'"))
    assert "\n" not in message


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        (TrainConfig, "steps", 0),
        (TrainConfig, "batch_size", 0),
        (TrainConfig, "learning_rate", 0),
        (TrainConfig, "drop_rate", 1.01),
        (TrainConfig, "drop_rate", -0.01),
        (TrainConfig, "ema_decay", 1),
        (TrainConfig, "max_time", "0s"),
        (TrainConfig, "max_time", "nan"),
        (TrainConfig, "seed", -1),
        (TrainConfig, "seed", 2**63),
        (SampleConfig, "seed", 2**64),
        (DataConfig, "seed", 2**63),
        (EvaluateConfig, "seed", 2**63),
        (TrainConfig, "precision", "float16"),
        (UNetConfig, "base_channels", 7),
        (UNetConfig, "channel_multipliers", []),
        (UNetConfig, "channel_multipliers", [1] * 13),
        (UNetConfig, "channel_multipliers", [1, 0]),
        (UNetConfig, "channel_multipliers", [-1]),
        (UNetConfig, "channel_multipliers", [1, float("inf")]),
        (UNetConfig, "dropout", 1),
        (SampleConfig, "num_samples", 0),
        (SampleConfig, "steps", 1001),
        (SampleConfig, "guidance", -1),
        (DataConfig, "test", -0.1),
        (DataConfig, "fit", "coconut"),
        (DataConfig, "size", 0),
        (DataConfig, "size", -64),
        (DataConfig, "size", "64x0"),
        (DataConfig, "classes", []),
        (DataConfig, "merge", {"defect": []}),
        (EvaluateConfig, "architectures", []),
        (EvaluateConfig, "synthetic_counts", ["some"]),
        (EvaluateConfig, "repeats", 0),
        (AuditConfig, "epochs", 0),
    ],
)
def test_a_value_out_of_range_is_named_with_its_key(kind: type[StageConfig], key: str, value: object) -> None:
    values = SOURCE | {key: value} if kind is DataConfig else {key: value}
    with pytest.raises(ConfigError, match=key):
        build(kind, values)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ConfigError, match=r"'data\.source' is missing"):
        build(ExperimentConfig, {"data": {"size": 64}})


def test_a_width_that_the_groups_do_not_divide_is_refused() -> None:
    with pytest.raises(ConfigError, match="base_channels = 48 must be a multiple of 32"):
        build(TrainConfig, {"unet": {"base_channels": 48}})
    assert build(UNetConfig, {"base_channels": 48, "norm_groups": 16}).base_channels == 48


@pytest.mark.parametrize(
    ("unet", "told"),
    [
        (
            {"base_channels": 64, "norm_groups": 16, "channel_multipliers": [1, 1.3]},
            "1.3 makes a level of 83 channels",
        ),
        ({"base_channels": 32, "channel_multipliers": [1, 0.5]}, "0.5 makes a level of 16 channels"),
        ({"base_channels": 32, "channel_multipliers": [0.01]}, "0.01 makes a level of 0 channels"),
    ],
)
def test_the_groups_divide_the_width_of_every_level(unet: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=f"{told}; each must be a multiple of norm_groups"):
        build(TrainConfig, {"unet": unet})
    assert build(UNetConfig, {"channel_multipliers": [0.5, 1, 1.5]}).channel_multipliers == (0.5, 1, 1.5)


def test_the_largest_seed_is_one_that_torch_takes() -> None:
    torch.manual_seed(build(TrainConfig, {"seed": 2**63 - 1}).seed)


@pytest.mark.parametrize("sampler", ["dpmsolver++", "dpmsolver++-sde", "unipc"])
def test_rescaled_timesteps_with_a_solver_are_refused(sampler: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"not {sampler}; use 'respaced'")):
        build(SampleConfig, {"timesteps": "rescaled", "sampler": sampler})


@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
def test_a_single_step_that_leaves_the_noise_is_refused(sampler: str) -> None:
    with pytest.raises(ConfigError, match="visits t = 0 alone"):
        build(SampleConfig, {"steps": 1, "sampler": sampler})
    assert build(SampleConfig, {"steps": 1, "sampler": "unipc"}).steps == 1


def test_rescaled_timesteps_that_leave_no_signal_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least 21 steps, not 20"):
        build(SampleConfig, {"timesteps": "rescaled", "steps": 20})
    assert build(SampleConfig, {"timesteps": "rescaled", "steps": 21, "sampler": "ddim"}).steps == 21


def test_a_decay_needs_its_last_step() -> None:
    with pytest.raises(ConfigError, match="needs steps"):
        build(TrainConfig, {"learning_rate_decay": "cosine"})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("45m", 2700), ("2h", 7200), ("1.5h", 5400), ("1d", 86400), ("30", 30), (30, 30)],
)
def test_durations(text: object, seconds: float) -> None:
    assert build(TrainConfig, {"max_time": text}).max_time == seconds


@pytest.mark.parametrize("text", ["", "h", "soon", "2 weeks", "5ms", "1h30m"])
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a duration; write 90s, 45m or 2h"):
        build(TrainConfig, {"max_time": text})


@pytest.mark.parametrize(
    ("text", "height_and_width"),
    [(256, (256, 256)), ("256", (256, 256)), ("96x128", (96, 128)), ("96X128", (96, 128)), ([4, 6], (4, 6))],
)
def test_sizes_are_height_by_width(text: object, height_and_width: tuple[int, int]) -> None:
    assert build(DataConfig, SOURCE | {"size": text}).size == height_and_width


@pytest.mark.parametrize("text", ["", "x", "big", "96x", "1x2x3", "-5", "9.5"])
def test_what_is_no_size_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a size; write 256 or HEIGHTxWIDTH"):
        build(DataConfig, SOURCE | {"size": text})


def test_configurations_are_frozen() -> None:
    with pytest.raises(ValidationError):
        TrainConfig().steps = 5  # type: ignore[misc]


COSINE = {"steps": 1000, "learning_rate_decay": "cosine", "learning_rate": 3e-4}


@pytest.mark.parametrize(
    ("train", "own", "limits", "decay"),
    [
        (COSINE, {}, (250, 20_000, None), "cosine"),
        ({"steps": 3}, {}, (1, 20_000, None), "none"),
        (COSINE, {"max_time": "1h"}, (None, 20_000, 3600), "none"),
        (COSINE, {"epochs": 10}, (None, 10, None), "none"),
        (COSINE, {"steps": 70}, (70, 20_000, None), "cosine"),
        (COSINE | {"max_time": "1h"}, {}, (None, None, None), "cosine"),
        (COSINE | {"stop_on_copying": True, "holdout": 0.2}, {}, (None, None, None), "cosine"),
        ({"max_time": "1h"}, {}, (None, None, None), "none"),
        ({"epochs": 40}, {}, (None, None, None), "none"),
    ],
)
def test_finetuning_ends_where_it_says_or_after_a_share_of_the_training(
    train: dict[str, Any], own: dict[str, Any], limits: tuple[Any, ...], decay: str
) -> None:
    config = build(FinetuneConfig, merged(inherited_by_finetuning(train, own), own))
    assert (config.steps, config.epochs, config.max_time) == limits
    assert config.learning_rate_decay == decay
    assert config.learning_rate == train.get("learning_rate", 1e-4)
    after = limited(config, 2000)
    assert after == (config if any(limits) else config.model_copy(update={"steps": 500}))
    assert limited(config, None).epochs == (limits[1] or 20_000)


def test_a_learning_rate_that_falls_without_an_end_is_refused() -> None:
    for kind in (TrainConfig, FinetuneConfig):
        with pytest.raises(ConfigError, match="needs steps"):
            build(kind, {"learning_rate_decay": "cosine", "max_time": 60})


def test_finetuning_has_its_own_batch_size_and_drop_rate() -> None:
    assert (FinetuneConfig().batch_size, FinetuneConfig().drop_rate) == (12, 0.2)


@pytest.mark.parametrize(
    ("trained", "expected"),
    [({"batch_size": 2}, 2), ({"batch_size": "2"}, 2), ({"batch_size": 32}, 12), ({}, 12)],
)
def test_finetuning_takes_no_larger_batches_than_the_training(trained: dict[str, Any], expected: int) -> None:
    assert build(FinetuneConfig, merged(inherited_by_finetuning(trained, {}), {})).batch_size == expected
    assert build(FinetuneConfig, merged(inherited_by_finetuning(trained, {}), {"batch_size": 5})).batch_size == 5


@pytest.mark.parametrize("kind", [TrainConfig, SampleConfig, EvaluateConfig, AuditConfig, FinetuneConfig])
def test_plain_values_build_the_same_configuration_again(kind: type[StageConfig]) -> None:
    config = kind()
    assert build(kind, yaml.safe_load(yaml.safe_dump(config.plain()))) == config


@pytest.mark.parametrize(
    ("preset", "base_channels", "multipliers", "num_res_blocks", "spade_channels"),
    [
        ("tiny", 32, (1, 2, 3, 4), 1, 32),
        ("small", 64, (1, 2, 3, 4), 2, 64),
        ("base", 128, (1, 1, 2, 2, 4, 4), 2, 128),
        ("paper", 256, (1, 1, 2, 2, 4, 4), 2, 128),
    ],
)
def test_presets_have_the_shapes_of_the_design(
    preset: str, base_channels: int, multipliers: tuple[int, ...], num_res_blocks: int, spade_channels: int
) -> None:
    unet = build(TrainConfig, with_preset({"preset": preset})).unet
    assert unet.base_channels == base_channels
    assert unet.channel_multipliers == multipliers
    assert unet.num_res_blocks == num_res_blocks
    assert unet.spade_channels == spade_channels


def test_the_default_preset_is_small() -> None:
    assert with_preset({})["unet"] == with_preset({"preset": "small"})["unet"]


def test_explicit_values_win_over_the_preset_and_leave_the_rest_of_it() -> None:
    values = {"preset": "tiny", "batch_size": 3, "unet": {"num_res_blocks": 2}}
    config = build(TrainConfig, with_preset(values))
    assert (config.batch_size, config.unet.num_res_blocks) == (3, 2)
    assert (config.learning_rate, config.unet.base_channels) == (4e-4, 32)


@pytest.mark.parametrize("name", ["large", "../small", "", None])
def test_an_unknown_preset_lists_the_known_ones(name: object) -> None:
    with pytest.raises(ConfigError, match="is unknown; choose one of base, paper, small, tiny"):
        with_preset({"preset": name})


def test_merging_goes_deep_and_later_layers_win() -> None:
    first = {"a": {"x": 1, "y": {"p": 1}}, "b": 1}
    assert merged(first, {"a": {"y": {"q": 2}}}, {"b": {"c": 3}}, {"a": {"x": 4}}) == {
        "a": {"x": 4, "y": {"p": 1, "q": 2}},
        "b": {"c": 3},
    }
    assert first == {"a": {"x": 1, "y": {"p": 1}}, "b": 1}, "the layers themselves must not change"


def test_settings_are_nested_and_read_as_yaml() -> None:
    settings = [
        "steps=5",
        "unet.dropout=0.1",
        "unet.channel_multipliers=[1, 2]",
        "flip=false",
        "device=cuda:1",
    ]
    assert parse_settings(settings) == {
        "steps": 5,
        "unet": {"dropout": 0.1, "channel_multipliers": [1, 2]},
        "flip": False,
        "device": "cuda:1",
    }


def test_a_later_setting_wins_and_may_hold_an_equals_sign() -> None:
    assert parse_settings(["group_by=a", "group_by=(a=b)"]) == {"group_by": "(a=b)"}


@pytest.mark.parametrize("setting", ["steps", "=5", ""])
def test_a_setting_without_key_or_value_is_refused(setting: str) -> None:
    with pytest.raises(ConfigError, match="must have the form key=value"):
        parse_settings([setting])


def test_a_setting_that_is_no_yaml_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match=r"--set 'unet=\[': the value cannot be read as YAML: .*$") as caught:
        parse_settings(["unet=["])
    assert "\n" not in str(caught.value)


def test_a_setting_below_a_single_value_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'unet' was given a single value before"):
        parse_settings(["unet=5", "unet.dropout=0.1"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [1, 2", "cannot be read as YAML"),
        (b"a: \xff", "cannot be read as YAML"),
        (b"- a\n- b\n", "must hold 'key: value' lines, not list"),
        (b"", "must hold 'key: value' lines, not NoneType"),
        (b"a: !!python/object/apply:os.getcwd []", "cannot be read as YAML"),
    ],
)
def test_an_unreadable_yaml_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "options.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"options\.yaml " + re.escape(message)):
        read_yaml(path)


def test_a_missing_yaml_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml does not exist"):
        read_yaml(tmp_path / "nowhere.yaml")
