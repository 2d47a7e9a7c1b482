"""The stage `tune`: search for the best mix on the validation images, then test it once (extra `tune`, Optuna).

The search trains segmenters on mixes of real and synthetic images and reads the validation images alone. What it
finds flatters the winner, who was picked as the luckiest of many; so a study with new seeds closes it: the winner,
named beforehand, against the same real images without synthetic ones, on test images that nothing has read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np

from isdm import provenance
from isdm.config import EvaluateConfig, TuneConfig, build
from isdm.data.dataset import Pair, SegmentationDataset, write_metadata
from isdm.data.decoding import load_arrays
from isdm.errors import ConfigError, DataError, OutputError, UsageError
from isdm.evaluation.cells import cell_seed
from isdm.evaluation.leaks import check_origin, check_set_names, refuse_or_warn, shows_nothing
from isdm.evaluation.rows import subset
from isdm.evaluation.study import evaluate
from isdm.files import copy_file, write_json
from isdm.locking import one_at_a_time
from isdm.progress import progress, say
from isdm.training.segmentation import LabelledImages, MixedImages, train_segmenter

SEARCH_SEED = 77_000
"""Trainings of the search use other seeds than those of the closing study."""


@dataclass(frozen=True)
class Mix:
    """One point of the search."""

    synthetic_set: str
    num_real_images: int
    num_synthetic_images: int
    arm: str
    keep_share: float

    def __str__(self) -> str:
        """The mix in words."""
        added = f"{self.num_synthetic_images} synthetic ones of {self.synthetic_set!r}"
        if self.keep_share < 1:
            added += f" (of the {100 * self.keep_share:g} % that agree best with their masks)"
        return f"{self.num_real_images} real images and {added}, {self.arm}"


@dataclass(frozen=True)
class _Data:
    """What the search reads: no test image."""

    train: LabelledImages
    validation: LabelledImages
    num_classes: int
    first_foreground: int
    synthetic: Mapping[str, LabelledImages]
    order: Mapping[str, np.ndarray[tuple[int], np.dtype[np.int64]]]
    """Pairs of each set, the best by agreement first; as they are where they have no score."""
    scored: frozenset[str]
    """Sets whose pairs have scores; the best pairs of others cannot be told."""


@one_at_a_time
def tune(
    config: TuneConfig, dataset: SegmentationDataset, synthetic: Mapping[str, SegmentationDataset], out: Path
) -> Path:
    """Search, then study the best mix; returns the path of the study's results.

    Args:
        config: the options.
        dataset: the real dataset.
        synthetic: synthetic sets by name, such as the same masks painted with several guidances.
        out: folder for the trials, `best.json`, the set of the best mix and its study.

    Raises:
        ConfigError: Optuna is not installed.
        UsageError: no set is given.
        DataError: a synthetic set saw other data than the training split; the validation images show nothing to find.
    """
    if find_spec("optuna") is None:
        raise ConfigError("The search needs the extra `tune`: pip install 'isdm[tune]'.")
    if not synthetic:
        raise UsageError("Give at least one synthetic set with --synthetic, or a model with --model.")
    check_set_names(synthetic)
    refuse_or_warn([leak for name, one in synthetic.items() for leak in check_origin(name, one, dataset)], False)
    inputs = {split: dataset.fingerprint(split) for split in ("train", "validation", "test")}
    inputs |= {f"synthetic {name}": one.judged_fingerprint("train") for name, one in synthetic.items()}
    provenance.begin(out, "tune", config, inputs, may_change={"trials", "device", "storage", "repeats"})
    watch = provenance.Stopwatch()
    data = _load(dataset, synthetic)
    if (nothing := shows_nothing("validation", data.validation, dataset.info)) is not None:
        raise DataError(nothing)
    search = _opened_search(config, out)
    done = len(_lasting(search))
    with progress("Trying mixes", total=config.trials, done=min(done, config.trials), unit="mixes") as bar:
        search.optimize(
            lambda trial: _try(config, data, _seeded(config, trial)),
            n_trials=max(0, config.trials - done),
            callbacks=[lambda _, trial: bar.advance(note=_note(trial.value))],
        )
    best = _best(
        config, data, [trial for trial in search.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]
    )
    write_json(out / "best.json", {**asdict(best[0]), "validation_iou": best[1], "trials": len(_lasting(search))})
    say(f"Best on the validation images ({best[1]:.3f}): {best[0]}.")
    results = _study_of(config, best[0], dataset, synthetic, data, out)
    provenance.finish(out, config, watch.seconds)
    return results


def _opened_search(config: TuneConfig, out: Path) -> Any:
    """The search with the trials that its database holds; Optuna keeps them as JSON, never as pickles.

    Raises:
        OutputError: the database cannot be reached or is damaged.
    """
    import optuna
    from optuna.trial import TrialState
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = config.storage or f"sqlite:///{out.resolve() / 'trials.db'}"
    try:
        search = optuna.create_study(
            study_name=out.resolve().name,
            storage=storage,
            sampler=optuna.samplers.TPESampler(seed=config.seed),
            direction="maximize",
            load_if_exists=True,
        )
        unended = search.get_trials(deepcopy=False, states=(TrialState.RUNNING,))  # damage is found here
        for trial in unended if config.storage is None else ():  # nobody else runs in `out`: those were killed
            search.tell(trial.number, state=TrialState.FAIL)
        return search
    except (optuna.exceptions.OptunaError, SQLAlchemyError, ImportError, ValueError, RuntimeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise OutputError(
            f"{storage} cannot be used as the database of the search ({reason}); give another --storage, or remove "
            f"trials.db to search anew."
        ) from None


def _lasting(search: Any) -> list[Any]:
    """The trials that have ended or still run; those that were killed count for nothing."""
    return [trial for trial in search.get_trials(deepcopy=False) if trial.state.name != "FAIL"]


def _seeded(config: TuneConfig, trial: Any) -> Any:
    """The trial, whose mix depends on the trials before it alone and not on where the search was interrupted."""
    import optuna

    before = sum(other.number < trial.number for other in _lasting(trial.study))
    trial.study.sampler = optuna.samplers.TPESampler(seed=config.seed + before)
    return trial


def _load(dataset: SegmentationDataset, synthetic: Mapping[str, SegmentationDataset]) -> _Data:
    def decoded(source: SegmentationDataset, pairs: Sequence[Pair]) -> LabelledImages:
        return LabelledImages(*load_arrays(source, pairs))

    pairs = {name: one.require("train") for name, one in synthetic.items()}
    agreement = {
        name: np.array([float(pair.metadata.get("scores", {}).get("agreement", 0.0)) for pair in of_set])
        for name, of_set in pairs.items()
    }
    return _Data(
        decoded(dataset, dataset.require("train")),
        decoded(dataset, dataset.require("validation")),
        dataset.info.num_classes,
        dataset.info.first_foreground,
        {name: decoded(synthetic[name], of_set) for name, of_set in pairs.items()},
        {name: np.argsort(-values, kind="stable") for name, values in agreement.items()},
        frozenset(name for name, of_set in pairs.items() if all("scores" in pair.metadata for pair in of_set)),
    )


def _try(config: TuneConfig, data: _Data, trial: Any) -> float:
    """Train on a mix; the mean foreground IoU on the validation images, averaged over the architectures."""
    import optuna

    mix = _suggested(config, data, trial)
    if mix is None:
        raise optuna.TrialPruned
    for earlier in trial.study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,)):
        if earlier.user_attrs.get("mix") == asdict(mix):
            return float(earlier.value)
    trial.set_user_attr("mix", asdict(mix))
    values = []
    for architecture in config.architectures:
        trained = train_segmenter(
            config,
            architecture,
            _images(data, mix, config.seed),
            data.validation,
            data.num_classes,
            num_steps=_num_steps(config, data),
            num_validations=config.epochs,
            seed=cell_seed(config.seed, SEARCH_SEED),
            augment=mix.arm == "augmented",
            first_foreground=data.first_foreground,
        )
        values.append(trained.validation_iou)
    return float(np.nan_to_num(np.mean(values)))


def _suggested(config: TuneConfig, data: _Data, trial: Any) -> Mix | None:
    """The mix that Optuna wants tried; None where it cannot be."""
    name = trial.suggest_categorical("synthetic_set", sorted(data.synthetic))
    share = trial.suggest_categorical("keep_share", list(config.keep_shares)) if name in data.scored else 1.0
    real = _number(trial.suggest_categorical("real", [str(x) for x in config.real_counts]), data, len(data.train))
    kept = max(1, round(share * len(data.synthetic[name])))
    asked = trial.suggest_categorical("synthetic", [str(x) for x in config.synthetic_counts])
    added = _number(asked, data, kept)
    arm = trial.suggest_categorical("arm", list(config.arms))
    if real > len(data.train) or added > kept or real + added == 0:
        return None
    if added == 0:
        return Mix("", real, 0, arm, 1.0)
    return None if 0 < real < len(data.train) else Mix(name, real, added, arm, share)


def _number(asked: str, data: _Data, available: int) -> int:
    return {"all": available, "equal": len(data.train)}[asked] if asked in ("all", "equal") else int(asked)


def _kept(data: _Data, mix: Mix) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Pairs of the mix's set that pass its threshold."""
    order = data.order[mix.synthetic_set]
    return np.sort(order[: max(1, round(mix.keep_share * len(order)))])


def _images(data: _Data, mix: Mix, seed: int) -> MixedImages:
    real = subset(len(data.train), mix.num_real_images, "real", seed, SEARCH_SEED)
    if mix.num_synthetic_images == 0:
        return MixedImages(((data.train, real),))
    kept = _kept(data, mix)
    added = kept[subset(len(kept), mix.num_synthetic_images, "synthetic", seed, SEARCH_SEED)]
    return MixedImages(((data.train, real), (data.synthetic[mix.synthetic_set], added)))


def _num_steps(config: TuneConfig, data: _Data) -> int:
    """The same for every mix: those of the largest one."""
    largest = max(len(one) for one in data.synthetic.values()) + len(data.train)
    return config.epochs * -(-largest // config.batch_size)


def _best(config: TuneConfig, data: _Data, trials: list[Any]) -> tuple[Mix, float]:
    """The best mix that has synthetic images in it: whether it beats none is for the test images to say.

    Raises:
        DataError: no such mix was tried.
    """
    found = [(trial.value, _mix_of(trial)) for trial in trials if "mix" in trial.user_attrs]
    found = [(value, mix) for value, mix in found if mix.synthetic_set in (*data.synthetic, "")]
    painted = [(value, mix) for value, mix in found if mix.num_synthetic_images and mix.num_real_images]
    if not painted:
        raise DataError("No mix of real and synthetic images was tried; give more --trials or other counts.")
    value, mix = max(painted, key=lambda one: float(one[0]))
    plain = max((float(other) for other, one in found if not one.num_synthetic_images), default=float("nan"))
    if plain >= value:
        say(f"On the validation images real images alone ({plain:.3f}) are as good as the best mix ({value:.3f}).")
    return mix, float(value)


def _mix_of(trial: Any) -> Mix:
    """The mix that a trial of the database tried."""
    values = trial.user_attrs["mix"]
    kinds = get_type_hints(Mix)
    if not isinstance(values, dict) or set(values) != set(kinds):
        raise OutputError(f"Trial {trial.number} of the search has another form of mix; remove trials.db.")
    for name, kind in kinds.items():
        wanted = float | int if kind is float else kind
        if not isinstance(values[name], wanted):
            raise OutputError(f"Trial {trial.number} of the search has {name} = {values[name]!r}; remove trials.db.")
    return Mix(**values)


def _study_of(
    config: TuneConfig,
    mix: Mix,
    dataset: SegmentationDataset,
    synthetic: Mapping[str, SegmentationDataset],
    data: _Data,
    out: Path,
) -> Path:
    source = synthetic[mix.synthetic_set]
    pairs = source.require("train")
    chosen = _filtered(source, [pairs[int(k)] for k in _kept(data, mix)], out / "best" / _digest(mix))
    own = set(TuneConfig.model_fields) - {"trials", "keep_shares", "storage", "arms"}
    values = {key: value for key, value in config.plain().items() if key in own} | {
        "real_counts": [mix.num_real_images],
        "synthetic_counts": [0, mix.num_synthetic_images],
        "arms": [mix.arm],
        "baseline": mix.arm,
        "primary": {"real": mix.num_real_images, "synthetic": mix.num_synthetic_images, "arm": mix.arm},
        "protocol": "equal-steps",
        "seed": config.seed + 1,
    }
    study = out / f"study-{_digest(mix)}"
    is_late = any(other.parent != study for other in out.glob("study-*/results.parquet"))
    if is_late:
        say("An earlier winner of this search has read the test images, so the tests of this one promise too much.")
    return evaluate(build(EvaluateConfig, values), dataset, {mix.synthetic_set: chosen}, study, is_late=is_late)


def _digest(mix: Mix) -> str:
    return f"{mix.synthetic_set}-{mix.num_synthetic_images}-{mix.keep_share:g}-{mix.arm}"


def _filtered(source: SegmentationDataset, pairs: list[Pair], folder: Path) -> SegmentationDataset:
    """A set of some pairs of another, which share their files where the file system can."""
    for pair in pairs:
        for file in (pair.image, pair.mask, pair.instances):
            if file is not None:
                copy_file(file, folder / file.relative_to(source.folder))
    write_metadata(folder / "train", [dict(pair.metadata) for pair in pairs])
    source.info.write(folder)
    return SegmentationDataset(folder)


def _note(value: float | None) -> str:
    return "" if value is None else f"validation IoU {value:.3f}"
