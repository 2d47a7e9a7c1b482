"""Pictures from a run, for those who watch it: what the averaged weights paint so far for a few training masks.

They are always of the same masks, starting from the same noise, and take nothing from the run's random streams, so
neighbouring sheets differ by the network alone and the run goes on as it would without them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from accelerate.utils.memory import should_reduce_batch_size
from numpy.typing import NDArray
from PIL import Image

from isdm.config import SampleConfig, Sampler, TrainConfig
from isdm.data.dataset import IGNORE_INDEX, SegmentationClass
from isdm.data.image_files import ImageArray, MaskArray
from isdm.errors import ModelError
from isdm.files import write_with
from isdm.hardware import autocast
from isdm.model_info import training_scheduler
from isdm.models.unet import SemanticUNet
from isdm.pipeline import SemanticDiffusionPipeline
from isdm.progress import say
from isdm.training.batches import TrainingImages
from isdm.training.checkpoint import Weights
from isdm.training.randomness import grid_choice

if TYPE_CHECKING:
    from isdm.training.run import Run

FOLDER = "samples"
NUM_PICTURES = 4
NUM_STEPS = 10
SAMPLER: Sampler = "dpmsolver++"
LEAST_INTERVAL_STEPS = 1000
SHARE_OF_TIME = 0.02
"""Share of the steps' time that the pictures may take where the options name no interval."""
MASKS_SEARCHED = 200
GAP_PX = 2


def draw_when_due(run: "Run", *, at_end: bool = False) -> None:
    """Write a sheet of pictures if it is time; the first process alone draws, the others wait at the next step."""
    step = run.counters.step
    path = run.out / FOLDER / f"step_{step:08d}.png"
    if not run.workers.is_main or not _is_due(run.config, step, at_end) or path.exists():
        return
    rows = chosen_rows(run.images, run.config.seed)
    try:
        pictures = _paint(run, rows)
    except (ModelError, RuntimeError) as error:
        if not isinstance(error, ModelError) and not should_reduce_batch_size(error):
            raise
        say(f"No pictures of step {step:,}: {str(error).splitlines()[0]}")  # no reason to end a training
        return
    sheet = contact_sheet(run.images.masks[rows], pictures, run.info.classes)
    write_with(path, lambda aside: Image.fromarray(sheet).save(aside, "PNG"))


def _is_due(config: TrainConfig, step: int, at_end: bool) -> bool:
    interval = config.sample_interval_steps
    if interval is None:
        passes = NUM_PICTURES * NUM_STEPS * 2  # with guidance; a training step is about three for each image
        least = int(passes / (3 * config.batch_size) / SHARE_OF_TIME)
        return step >= least if at_end else step % max(LEAST_INTERVAL_STEPS, least) == 0
    return interval > 0 and (at_end or step % interval == 0)


def chosen_rows(images: TrainingImages, seed: int) -> NDArray[np.int64]:
    """Rows of a few masks, in a seeded order, those that show more than background first."""
    order = images.chosen[grid_choice(seed, len(images), MASKS_SEARCHED)]
    shows = (row for row in order if ((images.masks[row] != 0) & (images.masks[row] != IGNORE_INDEX)).any())
    first = list(islice(shows, NUM_PICTURES))
    others = [row for row in order if row not in first]
    return np.array([*first, *others][:NUM_PICTURES])


def _paint(run: "Run", rows: NDArray[np.int64]) -> ImageArray:
    config, images = run.config, run.images
    scheduler = training_scheduler(len(run.schedule), config.noise_schedule, config.prediction)
    with averaged(run.unet, run.ema), autocast(run.device, run.dtype):
        pipeline = SemanticDiffusionPipeline(run.unet, scheduler)
        pipeline.info = run.info
        return pipeline(
            images.masks[rows],
            instances=None if images.instances is None else images.instances[rows],
            seed=config.seed,
            sampler=SAMPLER,
            num_sampling_steps=NUM_STEPS,
            guidance_scale=SampleConfig.model_fields["guidance"].default if run.info.drop_rate else 1.0,
        )


@contextmanager
def averaged(unet: SemanticUNet, ema: Weights) -> Iterator[None]:
    """Within, the network has its averaged weights and is ready to paint; no weight is copied."""
    raw = {name: parameter.data for name, parameter in unet.named_parameters()}
    unet.eval()
    try:
        for name, parameter in unet.named_parameters():
            parameter.data = ema[name]
        yield
    finally:
        for name, parameter in unet.named_parameters():
            parameter.data = raw[name]
        unet.train()


def contact_sheet(
    masks: MaskArray, pictures: ImageArray, classes: tuple[SegmentationClass, ...]
) -> NDArray[np.uint8]:
    """Masks (N, H, W) in their classes' colours, each above its picture (H, W, C): one image (H', W', 3)."""
    colours = np.zeros((256, 3), np.uint8)
    colours[IGNORE_INDEX] = 127
    for entry in classes:
        colours[entry.id] = entry.colour
    visible = (pictures >> 8 if pictures.dtype == np.uint16 else pictures).astype(np.uint8)
    rows = (colours[masks], np.broadcast_to(visible, (*visible.shape[:3], 3)))  # each (N, H, W, 3)
    gaps = ((0, 0), (0, GAP_PX), (0, GAP_PX), (0, 0))
    bordered = [np.concatenate(list(np.pad(row, gaps, constant_values=255)), axis=1) for row in rows]
    return np.concatenate(bordered)[:-GAP_PX, :-GAP_PX]
