"""Claim: a cell of the study is at least 3 times faster than a plain training loop.

Plain: segmentation_models_pytorch in float32, pictures opened by a standard DataLoader with two workers, Adam, Dice,
the validation images read after every epoch, the test images once. isdm: `run_cell`, with images decoded once for all
cells (that time is measured apart), and the precision and order in memory that the hardware picks.
    python benchmarks/segmenter_cell.py isdm-demo/run
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import segmentation_models_pytorch as smp
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from harness import RESULTS, alternate, claim, machine, medians, timings
from isdm import SegmentationDataset
from isdm.config import EvaluateConfig, build
from isdm.data.dataset import Pair
from isdm.evaluation.cells import Cell, load_study_data, run_cell
from isdm.evaluation.rows import Row
from isdm.files import write_json
from isdm.metrics.segmentation import mean_foreground_iou
from isdm.training.segmentation import count_pixels

CLAIM = "A cell of the study against a plain loop over segmentation_models_pytorch: at least 3 times faster."
CLASSES = {"unetplusplus": smp.UnetPlusPlus, "fpn": smp.FPN, "deeplabv3plus": smp.DeepLabV3Plus}


class Files(Dataset[tuple[Tensor, Tensor]]):
    """Pairs opened from their files each time they are asked for."""

    def __init__(self, pairs: list[Pair], size: int) -> None:
        self.pairs, self.size = pairs, (size, size)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        with Image.open(self.pairs[index].image) as image, Image.open(self.pairs[index].mask) as mask:
            picture = np.asarray(image.convert("RGB").resize(self.size, Image.Resampling.BICUBIC), np.float32) / 255
            labels = np.asarray(mask.resize(self.size, Image.Resampling.NEAREST), np.int64)
        picture = (picture - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
        return torch.from_numpy(picture.astype(np.float32)).permute(2, 0, 1), torch.from_numpy(labels)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("run", type=Path, help="folder of a finished `isdm run` or demo")
    options.add_argument("--architectures", nargs="+", default=["fpn", "unetplusplus", "deeplabv3plus"])
    options.add_argument("--encoder", default="resnet34")
    options.add_argument("--epochs", type=int, default=2)
    options.add_argument("--batch", type=int, default=8)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--out", type=Path, default=RESULTS / "segmenter_cell.json")
    arguments = options.parse_args()
    dataset = SegmentationDataset(arguments.run / "data")
    start = time.perf_counter()
    data = load_study_data(dataset, {})
    decoding = time.perf_counter() - start
    size = data.train.images.shape[1]
    result = {"claim": CLAIM, "size": size, "train_images": len(data.train), "batch": arguments.batch}
    result |= {"epochs": arguments.epochs, "encoder": arguments.encoder, "decoding_once_seconds": decoding}
    for name in arguments.architectures:
        values = {"encoder": arguments.encoder, "encoder_weights": "none", "epochs": arguments.epochs}
        config = build(EvaluateConfig, values | {"batch_size": arguments.batch})
        steps = arguments.epochs * -(-len(data.train) // arguments.batch)

        def ours(config: EvaluateConfig = config, name: str = name, steps: int = steps) -> None:
            with TemporaryDirectory() as folder:
                cell = Cell(Row(len(data.train), 0), "row", name, 0, steps)
                run_cell(config, cell, data, Path(folder), lambda: None)

        ways = {"plain": plain(name, dataset, size, arguments), "isdm": ours}
        seconds = alternate(ways, arguments.rounds, warmup=1)
        median = medians(seconds)
        result[name] = timings(seconds) | {"speedup": claim(median["plain"] / median["isdm"], 3.0)}
        print(name, result[name])
    write_json(arguments.out, result | {"machine": machine()})


def plain(name: str, dataset: SegmentationDataset, size: int, arguments: argparse.Namespace) -> Callable[[], None]:
    """The loop that anyone would write."""
    num_classes = dataset.info.num_classes

    def loader(split: str, shuffle: bool) -> DataLoader[tuple[Tensor, Tensor]]:
        pairs = dataset.require(split)  # type: ignore[arg-type]
        return DataLoader(Files(pairs, size), arguments.batch, shuffle=shuffle, num_workers=2)

    @torch.no_grad()
    def read(network: torch.nn.Module, split: str) -> float:
        network.eval()
        found = [(network(x).argmax(1).numpy(), y.numpy()) for x, y in loader(split, shuffle=False)]
        predicted, truth = (np.concatenate(side) for side in zip(*found, strict=True))
        return mean_foreground_iou(count_pixels(predicted, truth, num_classes))

    def run() -> None:
        network = CLASSES[name](arguments.encoder, encoder_weights=None, classes=num_classes)
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
        loss_of = smp.losses.DiceLoss("multiclass", from_logits=True, ignore_index=255)
        for _ in range(arguments.epochs):
            network.train()
            for images, masks in loader("train", shuffle=True):
                optimizer.zero_grad()
                loss_of(network(images), masks).backward()
                optimizer.step()
            read(network, "validation")
        read(network, "test")

    return run


if __name__ == "__main__":
    main()
