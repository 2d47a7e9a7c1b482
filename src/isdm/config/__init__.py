"""One frozen, validated model per stage; an unknown key is an error that names the nearest known one.

A field's description says what it does and its range; the command line shows the same words.
"""

from isdm.config.base import MOST_SEED, Seconds, Size, StageConfig, parse_duration, parse_size
from isdm.config.finetuning import inherited_by_finetuning, limited
from isdm.config.reading import build, merged, parse_settings, read_yaml, with_preset
from isdm.config.segmenter import SegmenterConfig
from isdm.config.stages import DataConfig, ExperimentConfig, ExportConfig, ExportLayout, Fit, MaskReading
from isdm.config.study import (
    Arm,
    Count,
    EvaluateConfig,
    PrimaryContrast,
    Protocol,
    TuneConfig,
    added_images,
    is_augmented,
    is_synthetic_first,
)
from isdm.config.synthesis import (
    AuditConfig,
    Background,
    Balance,
    Criterion,
    Masks,
    SampleConfig,
    Sampler,
    SelectConfig,
    Timesteps,
)
from isdm.config.training import (
    Compile,
    FinetuneConfig,
    LossWeighting,
    NoiseScheduleName,
    Prediction,
    TrainConfig,
    TrainingImagesKind,
    UNetConfig,
)

__all__ = [
    "MOST_SEED",
    "Arm",
    "AuditConfig",
    "Background",
    "Balance",
    "Compile",
    "Count",
    "Criterion",
    "DataConfig",
    "EvaluateConfig",
    "ExperimentConfig",
    "ExportConfig",
    "ExportLayout",
    "FinetuneConfig",
    "Fit",
    "LossWeighting",
    "MaskReading",
    "Masks",
    "NoiseScheduleName",
    "Prediction",
    "PrimaryContrast",
    "Protocol",
    "SampleConfig",
    "Sampler",
    "Seconds",
    "SegmenterConfig",
    "SelectConfig",
    "Size",
    "StageConfig",
    "Timesteps",
    "TrainConfig",
    "TrainingImagesKind",
    "TuneConfig",
    "UNetConfig",
    "added_images",
    "build",
    "inherited_by_finetuning",
    "is_augmented",
    "is_synthetic_first",
    "limited",
    "merged",
    "parse_duration",
    "parse_settings",
    "parse_size",
    "read_yaml",
    "with_preset",
]
