"""Claim: near-duplicates among 10,000 images in under two minutes on two cores, with memory that is not quadratic.

The pictures are surfaces with stripes and specks of their own, each photographed several times under other light
and cut a little differently. How many of their groups are found again is counted too.
    python benchmarks/near_duplicates.py
"""

import argparse
import resource
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from harness import RESULTS, machine
from isdm.data.image_files import read_picture
from isdm.data.matches import joined_groups
from isdm.data.near_duplicates import find_near_duplicates
from isdm.data.similarity import SIDE_PX, thumbnail
from isdm.files import write_json
from isdm.parallel import in_threads, num_cores

SIZE, VIEWS = 512, 5


def make_pictures(folder: Path, count: int) -> list[Path]:
    """JPEG files of SIZE x SIZE, VIEWS of each surface, once."""
    pictures = folder / f"pictures-{count}"
    paths = [pictures / f"{index:05d}.jpg" for index in range(count)]
    if not (pictures / "complete").is_file():
        pictures.mkdir(parents=True, exist_ok=True)
        for index, path in enumerate(paths):
            _view(index // VIEWS, index % VIEWS).save(path, quality=90)
        (pictures / "complete").touch()
    return paths


def _view(surface: int, view: int) -> Image.Image:
    rng = np.random.default_rng(surface)
    stripes = ndimage.gaussian_filter1d(rng.normal(size=140), 1.2)[None, :]
    specks = ndimage.gaussian_filter(rng.normal(size=(140, 140)), 2.0)
    values = 0.5 + 0.06 * stripes / stripes.std() + 0.08 * specks / specks.std()
    light = np.random.default_rng((surface, view))
    slope = light.uniform(-0.25, 0.25, 2)
    lit = values * light.uniform(0.6, 1.2) + slope[0] * np.linspace(-1, 1, 140)[:, None]
    top, left = light.integers(0, 7, 2)
    part = lit[top : top + 133, left : left + 133] + slope[1] * np.linspace(-1, 1, 133)
    grey = Image.fromarray((part.clip(0, 1) * 255).astype(np.uint8))
    return grey.resize((SIZE, SIZE), Image.Resampling.BICUBIC)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--images", type=int, default=10_000)
    options.add_argument("--work", type=Path, default=Path("runs/near_duplicates"))
    options.add_argument("--out", type=Path, default=RESULTS / "near_duplicates.json")
    arguments = options.parse_args()
    paths = make_pictures(arguments.work, arguments.images)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start, cpu_start = time.perf_counter(), time.process_time()
    thumbnails: NDArray[np.uint8] = np.empty((len(paths), SIDE_PX, SIDE_PX), np.uint8)
    for index, small in enumerate(in_threads(lambda path: thumbnail(read_picture(path)), paths)):
        thumbnails[index] = small
    decoded, cpu_decoded = time.perf_counter(), time.process_time()
    matches = find_near_duplicates(thumbnails)
    finished, cpu_finished = time.perf_counter(), time.process_time()
    surfaces = [index // VIEWS for index in range(len(paths))]
    groups = joined_groups([str(index) for index in range(len(paths))], matches)
    result: dict[str, Any] = {
        "claim": "Near-duplicates among 10,000 images in under two minutes on two cores.",
        "images": len(paths),
        "cores": num_cores(),
        "decode_seconds": decoded - start,
        "search_seconds": finished - decoded,
        "seconds": finished - start,
        "decode_cpu_seconds": cpu_decoded - cpu_start,
        "search_cpu_seconds": cpu_finished - cpu_decoded,
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before,
        "surfaces": len(set(surfaces)),
        "groups_found": len(set(groups)),
        "largest_group": max(Counter(groups).values()),
        "wrong_matches": sum(surfaces[match.first] != surfaces[match.second] for match in matches),
        "machine": machine(),
    }
    write_json(arguments.out, result)
    print({key: value for key, value in result.items() if key != "machine"})


if __name__ == "__main__":
    main()
