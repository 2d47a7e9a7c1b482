"""Claim: importing costs at most 1.3 times a bare Pillow loop that decodes, resizes and encodes, in under 1 GB.

All sides use the same cores in turn. The bare loop does nothing else: no check, no mask rule, no metadata, no search
for near-duplicates, and nothing is made durable. It is timed as Pillow writes PNG files by itself, and with the very
settings of the import; the import is timed with and without the search. What a side leaves to be written to the disk
is written before the next one begins. On a machine that others use too, compare the CPU seconds. The memory is the
peak of a process that imports by the command line.
    python benchmarks/data_import.py --pairs 10000
    taskset -c 1 python benchmarks/data_import.py --pairs 500      on one core
    python benchmarks/data_import.py --memory-only 1000 10000 100000
    python benchmarks/data_import.py --memory-only 1000 10000 100000 --layout coco
The last two read the peak memory alone, for pairs of 64x64 made 32x32, as their number grows.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from harness import RESULTS, alternate, claim, machine, medians, timings
from isdm.config import DataConfig, build
from isdm.data.importing import import_dataset
from isdm.data.preparing import COMPRESSION
from isdm.files import write_json
from isdm.parallel import num_cores
from layout_trees import LAYOUTS, as_layout

SIZE, SMALL = 512, 256
SIZE_FOR_MEMORY, SMALL_FOR_MEMORY = 64, 32
TELLING_ITS_PEAK = """
import atexit, pathlib
atexit.register(lambda: print(pathlib.Path("/proc/self/status").read_text()))
from isdm.cli import main
main()
"""


def make_source(folder: Path, pairs: int, size: int = SIZE) -> Path:
    """Photograph-like JPEG images of size x size and masks of 0 and 255, once."""
    source = folder / f"source-{pairs}-{size}"
    if (source / "complete").is_file():
        return source
    for kind in ("images", "masks"):
        (source / kind).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for index in range(pairs):
        coarse = Image.fromarray(rng.integers(0, 256, (24, 24, 3), np.uint8))
        picture = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC)).astype(np.int16)
        noisy = (picture + rng.integers(-6, 7, (size, size, 1))).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(source / "images" / f"{index:05d}.jpg", quality=92)
        mask = np.zeros((size, size), np.uint8)
        top, left = rng.integers(0, size * 7 // 8, 2)
        mask[top : top + size // 8, left : left + size // 12] = 255
        Image.fromarray(mask).save(source / "masks" / f"{index:05d}.png")
    (source / "complete").touch()
    return source


def bare_loop(source: Path, out: Path, image_settings: dict[str, int], mask_settings: dict[str, int]) -> None:
    """What no import can do without."""
    shutil.rmtree(out, ignore_errors=True)
    (out / "images").mkdir(parents=True)
    (out / "masks").mkdir()

    def one(path: Path) -> None:
        with Image.open(path) as image:
            small = image.convert("RGB").resize((SMALL, SMALL), Image.Resampling.BICUBIC)
        small.save(out / "images" / f"{path.stem}.png", **image_settings)
        with Image.open(source / "masks" / f"{path.stem}.png") as mask:
            small = mask.resize((SMALL, SMALL), Image.Resampling.NEAREST)
        small.save(out / "masks" / f"{path.stem}.png", **mask_settings)

    with ThreadPoolExecutor(num_cores()) as threads:
        list(threads.map(one, sorted((source / "images").iterdir())))


def imported(source: Path, out: Path, *, near_duplicates: bool) -> None:
    shutil.rmtree(out, ignore_errors=True)
    options = {"source": source, "size": SMALL, "near_duplicates": near_duplicates}
    import_dataset(build(DataConfig, options), out)


def peak_memory_mb(source: Path, out: Path, size: int = SMALL, *options: str) -> float:
    """Of `isdm data import`, with the search for near-duplicates unless the options switch it off.

    The process tells it itself: to the system a child's peak begins with what its parent had when it made it.
    """
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-c", TELLING_ITS_PEAK, "data", "import", source, out, "--size", str(size), *options]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return int(said.split("VmHWM:")[1].split()[0]) / 1024


def memory_by_number(work: Path, numbers: list[int], out: Path, layout: str, *options: str) -> None:
    """Write the peak memory of an import as the number of pairs grows, beside what was written for other options."""
    result: dict[str, Any] = {
        "claim": "The memory of an import does not grow with the number of pairs.",
        "pixels": [SIZE_FOR_MEMORY, SMALL_FOR_MEMORY],
        "cores": num_cores(),
        "runs": json.loads(out.read_text("utf-8"))["runs"] if out.is_file() else [],
        "machine": machine(),
    }
    for pairs in numbers:
        source = as_layout(make_source(work, pairs, SIZE_FOR_MEMORY), layout)
        start = time.monotonic()
        peak = peak_memory_mb(source, work / "out", SMALL_FOR_MEMORY, *options)
        seconds = round(time.monotonic() - start, 1)
        told = {"pairs": pairs, "layout": layout, "options": list(options)}
        run = {**told, "peak_mb": round(peak, 1), "seconds": seconds}
        result["runs"].append(run)
        write_json(out, result)
        print(run, flush=True)
        shutil.rmtree(work / "out")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--pairs", type=int, default=2000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--work", type=Path, default=Path("runs/data_import"))
    options.add_argument("--memory-only", type=int, nargs="+", metavar="PAIRS")
    options.add_argument("--layout", choices=LAYOUTS, default="folders", help="with --memory-only")
    options.add_argument("--no-near-duplicates", action="store_true", help="with --memory-only")
    options.add_argument("--out", type=Path)
    arguments = options.parse_args()
    if arguments.memory_only:
        out = arguments.out or RESULTS / "data_import_memory.json"
        more = ["--no-near-duplicates"] if arguments.no_near_duplicates else []
        memory_by_number(arguments.work, arguments.memory_only, out, arguments.layout, *more)
        return
    source = make_source(arguments.work, arguments.pairs)
    place = arguments.work / "out"
    of_masks = {"compress_level": COMPRESSION}
    of_images = {**of_masks, "compress_type": zlib.Z_RLE}
    ways = {
        "bare Pillow loop": lambda: bare_loop(source, place, {}, {}),
        "bare loop, same PNG settings": lambda: bare_loop(source, place, of_images, of_masks),
        "import": lambda: imported(source, place, near_duplicates=False),
        "import and near-duplicates": lambda: imported(source, place, near_duplicates=True),
    }
    cpu_seconds: dict[str, list[float]] = {name: [] for name in ways}

    def counted(name: str) -> None:
        start = time.process_time()
        ways[name]()
        cpu_seconds[name].append(time.process_time() - start)

    seconds = alternate({name: partial(counted, name) for name in ways}, arguments.rounds, warmup=0, before=os.sync)
    result: dict[str, Any] = {
        "claim": "Importing 512x512 to 256x256 within 1.3 times of a bare Pillow loop, in under 1 GB.",
        "pairs": arguments.pairs,
        "cores": num_cores(),
        **timings(seconds),
        "peak_memory_mb": peak_memory_mb(source, place),
        "machine": machine(),
    }
    result["median_cpu_seconds"] = medians(cpu_seconds)
    median = result["median_seconds"]
    imports = [name for name in median if name.startswith("import")]
    result["ratio"] = {
        bare: {name: median[name] / median[bare] for name in imports} for bare in median if bare not in imports
    }
    in_cpu = result["median_cpu_seconds"]
    result["ratio_of_cpu_seconds"] = {
        bare: {name: in_cpu[name] / in_cpu[bare] for name in imports} for bare in median if bare not in imports
    }
    result["bare_over_import"] = {
        bare: claim(1 / ratio["import"], 1 / 1.3) for bare, ratio in result["ratio"].items()
    }
    write_json(arguments.out or RESULTS / "data_import.json", result)
    for bare, ratios in result["ratio"].items():
        for name, ratio in ratios.items():
            in_cpu_seconds = result["ratio_of_cpu_seconds"][bare][name]
            print(f"{name}: {ratio:.2f} times the {bare}, {in_cpu_seconds:.2f} in CPU seconds")
    print(f"peak memory {result['peak_memory_mb']:.0f} MB")


if __name__ == "__main__":
    main()
