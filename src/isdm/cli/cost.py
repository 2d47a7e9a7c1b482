"""`isdm run --dry-run`: stages, cells and what they will cost on this machine.

Costs are measured, not guessed, where there is something left to do (`isdm.cli.measuring`).
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from tempfile import gettempdir

from rich.table import Table

from isdm import provenance
from isdm.cli.folds import came_from_elsewhere, finished_folds, fold_of, folder_of
from isdm.cli.measuring import Shape, segmenter_step_seconds, train_step_seconds
from isdm.cli.recorded import changes, refusal
from isdm.config import DataConfig, EvaluateConfig, ExperimentConfig, TrainConfig, limited
from isdm.data.archives import opened_source
from isdm.data.dataset import IGNORE_INDEX, SegmentationDataset
from isdm.data.defect_free import read_defect_free
from isdm.data.image_files import read_picture
from isdm.data.layouts import read_source
from isdm.data.layouts.source import SourcePair
from isdm.data.recipes import with_recipe
from isdm.data.splits import split_sizes
from isdm.differences import told
from isdm.evaluation.cells import Cell
from isdm.evaluation.rows import make_rows
from isdm.evaluation.study import cells_of
from isdm.parallel import in_threads
from isdm.progress import answer, format_seconds, plain_console
from isdm.synthesis.judges import judge_steps
from isdm.text import printable

REFUSED = "refused"


@dataclass(frozen=True)
class Line:
    """One line of the plan; its cost is asked for only where something is left to do."""

    stage: str
    state: str
    work: str
    cost: Callable[[], float] = lambda: 0.0

    @cached_property
    def seconds(self) -> float:
        """What is left of the stage takes so long."""
        return 0.0 if self.state == "done" or self._is_refused else self.cost()

    @property
    def estimate(self) -> str:
        """The same for a person."""
        return "" if self._is_refused else format_seconds(self.seconds)

    @property
    def _is_refused(self) -> bool:
        return self.state.startswith(REFUSED)


def print_plan(config: ExperimentConfig, out: Path, fold: int | None = None) -> None:
    """Print every stage with its state and estimated time, and every cell of the study; write nothing.

    Of a cross-validation that is one fold: `fold`, or the first that is not finished.
    """
    if config.folds is None:
        seconds = _print_stages(config, out)
    elif fold is not None:
        seconds = _print_stages(fold_of(config, fold), folder_of(out, fold), out)
    else:
        finished = finished_folds(config, out)
        begun = next((fold for fold in range(config.folds) if fold not in finished), 0)
        answer(f"{len(finished)} of {config.folds} folds are finished. Fold {begun}; the others are like it.")
        left = config.folds - len(finished)
        seconds = _print_stages(fold_of(config, begun), folder_of(out, begun), out)
        seconds = None if seconds is None else left * seconds
    if seconds is not None:
        answer(f"About {format_seconds(seconds)} on this machine; nothing was written.")


def _print_stages(config: ExperimentConfig, out: Path, whole: Path | None = None) -> float | None:
    """Print the stages of one experiment or fold; gives the seconds of what is not done, None if it is refused."""
    elsewhere = whole is not None and came_from_elsewhere(config, out)
    refused = {} if elsewhere else changes(config, out)
    shape = _shape(config.data, out / "data")
    lines: list[Line] = []

    def train_step() -> float:
        return train_step_seconds(config.train, shape)

    lines.append(Line("data import", _state(out / "data", refused), f"{shape.num_train_images} training images"))
    lines.append(_training_line("train", config.train, shape, train_step, _state(out / "model", refused)))
    if config.finetune is not None:
        scale = config.finetune.batch_size / config.train.batch_size
        finetune = limited(config.finetune, _expected_steps(config.train, shape, train_step))
        state = _state(out / "finetuned", refused)
        lines.append(_training_line("finetune", finetune, shape, lambda: scale * train_step(), state))
    sample = config.candidates()
    passes = sample.num_samples * sample.steps * (1 if sample.guidance == 1 else 2)
    share = passes / config.train.batch_size / 3  # a training step is about three forward passes
    detail = f"{sample.num_samples} images of {config.sample.steps} {config.sample.sampler} steps"
    lines.append(Line("sample", _state(out / "synthetic", refused), detail, lambda: share * train_step()))
    if config.select is not None:
        select, judging = config.select, config.select.folds * judge_steps(config.select, shape.num_train_images)
        lines.append(
            Line(
                "select",
                _state(out / "selected", refused),
                f"{judging} steps of each judge",
                lambda: judging * sum(segmenter_step_seconds(select, name, shape) for name in select.architectures),
            )
        )
    if config.audit is not None:
        audit, steps = config.audit, config.audit.epochs * -(-shape.num_train_images // config.audit.batch_size)
        lines.append(
            Line(
                "audit",
                _state(out / "audit", refused),
                f"{steps} steps of {audit.architecture}",
                lambda: steps * segmenter_step_seconds(audit, audit.architecture, shape),
            )
        )
    lines += _study_lines(config, shape, out / "study", refused)
    table = Table("stage", "state", "work", "estimate")
    for line in lines:
        table.add_row(line.stage, printable(line.state), printable(line.work), line.estimate)
    plain_console(wraps=True).print(table)
    message = refusal(refused, out, whole)
    if message is None:
        return sum(line.seconds for line in lines)
    answer(f"isdm run refuses this; nothing was written. {message}")
    return None


def _state(folder: Path, refused: Mapping[str, Sequence[str]]) -> str:
    """Whether a stage is done, begun or to do; or that `isdm run` refuses what is there, and why."""
    if folder.name in refused:
        return f"{REFUSED}: {told(refused[folder.name])}"
    record = provenance.read(folder)
    return "to do" if record is None else "done" if record.finished else "begun"


def _shape(config: DataConfig, data: Path) -> Shape:
    record = provenance.read(data)
    if record is not None and record.finished:
        dataset = SegmentationDataset(data)
        pairs = dataset.require("train")
        image, _ = dataset.load(pairs[0])
        return Shape((image.shape[0], image.shape[1]), image.shape[2], dataset.info.num_classes, len(pairs))
    with ExitStack() as stack:
        folder = opened_source(config.source, Path(gettempdir()) / "plan", stack).folder
        return _shape_of_source(config.model_copy(update={"source": folder}))


def _shape_of_source(config: DataConfig) -> Shape:
    _, source = read_source(config)
    if config.recipe is not None:
        source, config = with_recipe(source, config)
    image = read_picture(source.pairs[0].image)
    grey = bool((image == image[:, :, :1]).all())
    size = config.size or (image.shape[0], image.shape[1])
    test = config.test if config.folds is None else 1 / config.folds
    sizes = split_sizes(_num_kept(source.pairs, config.max_defect_free), test, config.validation)
    num_extra = len(read_defect_free(config.defect_free, ())) if config.defect_free is not None else 0
    num_train = min(sizes["train"], config.train or sizes["train"])
    return Shape(size, 1 if grey else 3, len(source.class_names), num_train + num_extra)


def _num_kept(pairs: Sequence[SourcePair], max_defect_free: float | None) -> int:
    """Pairs that an import would keep; masks are read only where their number decides."""
    if max_defect_free is None:
        return len(pairs)
    num_defective = sum(in_threads(_shows_foreground, pairs))
    return num_defective + min(len(pairs) - num_defective, int(max_defect_free * num_defective))


def _shows_foreground(pair: SourcePair) -> bool:
    if pair.class_ids is not None:
        return bool(pair.class_ids)
    mask = pair.load_mask()
    return bool(((mask != 0) & (mask != IGNORE_INDEX)).any())


def _expected_steps(config: TrainConfig, shape: Shape, step_seconds: Callable[[], float]) -> int:
    from isdm.training.loop import StopRule

    rule = StopRule.of(config, shape.num_train_images)
    in_time = rule.max_steps if rule.max_seconds is None else int(rule.max_seconds / step_seconds())
    return max(1, min(rule.max_steps, in_time))


def _training_line(
    stage: str, config: TrainConfig, shape: Shape, step_seconds: Callable[[], float], state: str
) -> Line:
    from isdm.training.loop import StopRule

    rule = StopRule.of(config, shape.num_train_images)
    work = f"at most {rule.max_steps:,} steps of {config.batch_size}"
    return Line(stage, state, work, lambda: min(rule.max_steps * step_seconds(), rule.max_seconds or float("inf")))


def _study_lines(
    config: ExperimentConfig, shape: Shape, study: Path, refused: Mapping[str, Sequence[str]]
) -> list[Line]:
    evaluate: EvaluateConfig = config.evaluate
    rows = make_rows(evaluate, shape.num_train_images, {"synthetic": config.sample.num_samples})
    cells = cells_of(evaluate, rows)
    lines: list[Line] = []
    for row in rows:
        for name in evaluate.architectures:
            own = [cell for cell in cells if cell.row == row and cell.architecture == name]
            missing = [cell for cell in own if not cell.is_finished(study)]
            work = f"{row.num_real_images} real + {row.num_synthetic_images} synthetic, {row.arm}, {name}"
            work += f": {len(own)} cells of {own[0].num_steps} steps"
            cost = partial(_cells_seconds, missing, evaluate, name, shape)
            state = "to do" if missing else "done"
            if study.name in refused:  # whose reason the first line gives for all
                state = REFUSED if lines else _state(study, refused)
            lines.append(Line("evaluate", state, work, cost))
    return lines


def _cells_seconds(cells: Sequence[Cell], config: EvaluateConfig, architecture: str, shape: Shape) -> float:
    return segmenter_step_seconds(config, architecture, shape) * sum(cell.num_steps for cell in cells)
