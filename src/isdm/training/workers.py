"""The processes of one training: a single one, or those that `torchrun` started, through Accelerate.

    torchrun --nproc_per_node 2 -m isdm train DATASET --out MODEL

Sample g of a run is the same whatever the number of processes: with P of them and `batch_size` B, a step takes
the next P * B samples, process p the p-th B of them. Gradients are averaged, so P processes follow the curve of
one with P times the batch.
"""

import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn

from isdm.hardware import select_device


class Workers:
    """The processes that train together, seen from one of them."""

    def __init__(self, device: str) -> None:
        self._accelerator: Any = None
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            use_cpu = device == "cpu" or not torch.cuda.is_available()
            self._accelerator = Accelerator(cpu=use_cpu)
            self.device: torch.device = self._accelerator.device
        else:
            self.device = select_device(device)

    @property
    def count(self) -> int:
        """Number of processes."""
        return 1 if self._accelerator is None else int(self._accelerator.num_processes)

    @property
    def index(self) -> int:
        """Which of them this is."""
        return 0 if self._accelerator is None else int(self._accelerator.process_index)

    @property
    def is_main(self) -> bool:
        """Whether this one writes the files."""
        return self.index == 0

    def wrap(self, network: nn.Module) -> nn.Module:
        """Give the network whose gradients are averaged over the processes."""
        return network if self._accelerator is None else self._accelerator.prepare_model(network)

    def gather(self, rows: Tensor) -> Tensor:
        """Put the rows (B, …) of all processes one after another, in their order."""
        return rows if self._accelerator is None else self._accelerator.gather(rows)

    def of_first(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the first process has of values (M,) that each has: by them all decide alike."""
        rows = torch.from_numpy(values)[None].to(self.device)
        first: NDArray[np.float64] = self.gather(rows)[0].cpu().numpy()
        return first

    def main_first(self) -> AbstractContextManager[object]:
        """Within, the main process goes first and the others follow when it is through."""
        return nullcontext() if self._accelerator is None else self._accelerator.main_process_first()

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self._accelerator is not None:
            self._accelerator.wait_for_everyone()
