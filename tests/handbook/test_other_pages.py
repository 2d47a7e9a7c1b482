"""The commands of the pages that take folders for granted, run for real in a place where all of these lie.

Left out is what names other machines; `tests/synthesis/test_cluster.py` joins a cluster by its address.
"""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from handbook_pages import DOCS, isdm_arguments
from handbook_tour import smaller, steps_of, walk
from isdm.cli.app import app
from isdm.data.builtin import generate_fruit_views
from saved_images import save_image

ELSEWHERE = frozenset({"--ray", "torchrun", "srun", "studio"})
NO_SUCH_MACHINE = frozenset({"srun", "torchrun", "10.0.0.1:6379"})
MADE_BEFORE = (
    "isdm data import photos data --group-by '^(part\\d+)' --defect-free good --size 32",
    "isdm train data --out model --steps 2 --set drop_rate=0.2",
    "isdm sample model --data data --out synthetic -n 6 --sampler ddim --steps 2",
    "isdm sample model --data data --out selected -n 6 --sampler ddim --steps 2 --seed 1",
    "isdm audit synthetic --real data --out audit",
)
"""How the folders come about that the pages speak of."""
ALSO_CALLED = {
    "tiles": "data",
    "tuned": "model",
    "tuned-model": "model",
    "synthetic-1": "synthetic",
    "synthetic-2": "selected",
    "good-parts": "good",
}
EXPERIMENT = """
data: {source: photos, size: 32}
train: {steps: 1, preset: tiny, batch_size: 2, unet: {base_channels: 8, spade_channels: 8, norm_groups: 4}}
finetune: {steps: 1, batch_size: 2}
sample: {num_samples: 4, sampler: ddim, steps: 2}
evaluate:
  {epochs: 1, architectures: [fpn], encoder: mobilenet_v2, encoder_weights: none, synthetic_counts: [0, all],
   real_counts: [all], repeats: 1, batch_size: 8}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place with photographs, a dataset, a model and synthetic sets."""
    place = tmp_path_factory.mktemp("made")
    for number, view in enumerate(generate_fruit_views(num_fruits=14, num_views=2, size_px=48, seed=0)):
        name = view.name.replace("fruit0", "part").replace("_view", "_") + ".png"
        if number >= 20:
            save_image(place / "good" / name, view.image)
        else:
            save_image(place / "photos" / "images" / name, view.image)
            save_image(place / "photos" / "masks" / name, view.mask)
    (place / "experiment.yaml").write_text(EXPERIMENT)
    (place / "own-images.yaml").write_text(EXPERIMENT)
    (place / "folds.yaml").write_text(f"folds: 2\n{EXPERIMENT}")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for line in MADE_BEFORE:
            app(smaller(shlex.split(line)[1:]), standalone_mode=False)
    return place


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it to write in."""
    place = Path(shutil.copytree(made, tmp_path / "here"))
    monkeypatch.chdir(place)
    return place


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "least"),
    [
        ("audit", 1),
        ("guide", 3),
        ("how-many", 4),
        ("own-data", 5),
        ("recipes", 4),
        ("study", 5),
        ("synthesis", 3),
    ],
)
def test_every_command_of_the_page_runs(here: Path, page: str, least: int) -> None:
    written = results(DOCS / f"{page}.md")
    for name, of in ALSO_CALLED.items():
        if name not in written:
            (here / name).parent.mkdir(parents=True, exist_ok=True)
            (here / name).symlink_to(here / of)
    for name in written:
        shutil.rmtree(here / name, ignore_errors=True)
    assert walk(DOCS / f"{page}.md", but=ELSEWHERE) >= least


@pytest.mark.slow
@pytest.mark.ray
def test_the_clusters_page_runs_on_this_machine(here: Path) -> None:
    """Its `--ray auto`, and its `torchrun` with two processes; what names other machines needs those."""
    pytest.importorskip("ray")
    (here / "first").mkdir()
    (here / "model").rename(here / "first" / "model")
    lines = [line for _, line in steps_of(DOCS / "cluster.md") if line.startswith("torchrun")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for line in lines:
        words = shlex.split(line)
        words[words.index("--nproc_per_node") + 1] = "2"
        place = words.index("isdm") + 1
        command = [sys.executable, "-m", "torch.distributed.run", *words[1:place], *smaller(words[place:])]
        subprocess.run(command, check=True, env=environment, capture_output=True, timeout=300)
        shutil.rmtree(here / "model")
    assert len(lines) == 2
    shutil.rmtree(here / "synthetic")
    (here / "first" / "model").rename(here / "model")
    assert walk(DOCS / "cluster.md", but=NO_SUCH_MACHINE) == 2


def results(page: Path) -> set[str]:
    """The folders that the page's commands write."""
    found = set()
    for _, line in steps_of(page):
        arguments = isdm_arguments(shlex.split(line, comments=True)) or []
        if "--out" in arguments:
            found.add(arguments[arguments.index("--out") + 1])
        elif arguments[:2] in (["data", "import"], ["data", "export"]):
            found.add(arguments[3])
    return found
