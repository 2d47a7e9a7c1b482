"""The description of a dataset as a page: what it says, what its pictures show, and what it never lets through."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from described import COLOURS, object_areas, pixels_of, write_dataset
from isdm.cli import main
from isdm.data.dataset import DatasetInfo, SegmentationClass, SegmentationDataset
from isdm.data.describing import gather
from isdm.data.overlays import overlay, small_image, small_mask
from isdm.errors import DataError, OutputError
from isdm.report import dataset_figures
from isdm.report.contact_sheet import contact_sheet, draw_pairs
from isdm.report.dataset_page import describe_dataset

HOSTILE = '<script>alert("$x_{")</script>\n\'裂纹'
NAMES = ("background", "scratch", HOSTILE, "fray & dent")
FIGURES = ("class-pixels", "class-images", "object-sizes", "group-sizes")


def hashes(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def random_masks(count: int, seed: int) -> list[np.ndarray]:
    """Masks of different sizes with boxes of the classes 1 to 3; the last is empty."""
    rng = np.random.default_rng(seed)
    masks = []
    for _ in range(count):
        mask = np.zeros(rng.integers(20, 60, 2), np.uint8)
        for value in (1, 1, 1, 2, 3, 255):
            y, x = rng.integers(0, 15, 2)
            mask[y : y + rng.integers(1, 20), x : x + rng.integers(1, 20)] = value
        masks.append(mask)
    masks[-1][:] = 0
    return masks


MASKS = {"train": random_masks(6, 0), "test": random_masks(3, 1)}
EVERY = [mask for masks in MASKS.values() for mask in masks]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> SegmentationDataset:
    return write_dataset(
        tmp_path_factory.mktemp("page") / "tiles",
        MASKS,
        NAMES,
        groups={"train": ["a", "a", "a", HOSTILE, HOSTILE, "b"], "test": ["c", "c", "d"]},
        name=f"tiles {HOSTILE}",
        stem="<i>p",
        notes=[f"note {HOSTILE}"],
    )


@pytest.fixture(scope="module")
def described(dataset: SegmentationDataset) -> Path:
    out = dataset.folder.parent / "description"
    before = hashes(dataset.folder)
    describe_dataset(dataset, out)
    assert hashes(dataset.folder) == before
    return out


@pytest.fixture(scope="module")
def page(described: Path) -> str:
    return (described / "index.html").read_text("utf-8")


def test_all_files_are_there_and_no_leftovers(described: Path) -> None:
    figures = {f"figures/{name}{end}" for name in FIGURES for end in (".png", ".pdf")}
    assert set(hashes(described)) == figures | {
        "index.html", "statistics.json", "provenance.json", "figures/contact-sheet.png",
    }  # fmt: skip
    assert {path.name for path in described.parent.iterdir()} == {"tiles", "description"}


@pytest.mark.parametrize("name", [*FIGURES, "contact-sheet"])
def test_pictures_show_something(described: Path, name: str) -> None:
    with Image.open(described / "figures" / f"{name}.png") as picture:
        assert min(picture.size) > 300
        assert len(picture.convert("RGB").getcolors(2**24) or ()) > 20


def test_the_figures_have_the_colours_of_the_classes(described: Path) -> None:
    for name in ("class-pixels", "object-sizes", "contact-sheet"):
        with Image.open(described / "figures" / f"{name}.png") as picture:
            found = {tuple(colour) for _, colour in picture.convert("RGB").getcolors(2**24) or ()}
        assert set(COLOURS[1:]) <= found, name


def text_of(page: str) -> str:
    """The page's words, in one line."""
    body = re.sub(r"<style>.*?</style>", "", page, flags=re.S)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", body))


def test_the_page_holds_the_numbers(page: str) -> None:
    text = text_of(page)
    labelled = sum(pixels_of(EVERY, i) for i in range(4))
    foreground = sum(pixels_of(EVERY, i) for i in (1, 2, 3))
    assert "pairs 9 6 train + 3 test" in text
    assert "groups 5 the largest has 3" in text
    assert f"foreground {100 * foreground / labelled:.2f} % of all labelled pixels" in text
    assert f"ignored {100 * pixels_of(EVERY, 255) / (labelled + pixels_of(EVERY, 255)):.2f} % of all" in text
    assert "without foreground 2 images, 22.22 % of all" in text
    scratch, images = pixels_of(EVERY, 1), sum((mask == 1).any() for mask in EVERY)
    assert (
        f"scratch 1 {scratch:,} {100 * scratch / labelled:.2f} % {100 * scratch / foreground:.2f} % {images} " in text
    )
    areas = object_areas(EVERY, 1)
    middle = f"{np.median(areas):,.1f}".removesuffix(".0")
    assert f"{len(areas)}" in text
    assert re.search(rf"scratch {len(areas)} [\d,.]+ {re.escape(middle)} [\d,.]+ [\d,.]+ ", text)


def test_numbers_as_json(described: Path) -> None:
    values = json.loads((described / "statistics.json").read_text("utf-8"))
    assert [entry["name"] for entry in values["classes"]] == list(NAMES)
    assert [entry["px"] for entry in values["classes"]] == [pixels_of(EVERY, i) for i in range(4)]
    for class_id in (1, 2, 3):
        areas = [int(area) for area, count in values["classes"][class_id]["areas_px"].items() for _ in range(count)]
        assert areas == object_areas(EVERY, class_id)


def test_hostile_names_are_escaped(page: str) -> None:
    assert "<script" not in page
    assert "<i>p" not in page
    assert page.count("&lt;script&gt;") > 5
    assert "&lt;i&gt;p0-train" in page


def test_page_loads_nothing(page: str) -> None:
    loaded = re.findall(r'(?:src|srcset|href)\s*=\s*"([^"]*)"|url\(([^)]*)\)', page)
    addresses = [first or second for first, second in loaded]
    inside = re.compile(r"(figures/[\w-]+\.(png|pdf)|statistics\.json)$")
    assert len(addresses) > 30
    assert all(address.startswith("data:image/") or inside.match(address) for address in addresses)
    assert "default-src 'none'" in page
    assert "width=device-width" in page


def test_every_pair_of_the_sheet_is_on_the_page(page: str) -> None:
    assert page.count('class="shot"') == 2 * 9
    assert "class 2 &amp;" not in page
    assert "test, " in page


def test_the_same_command_again_changes_nothing(dataset: SegmentationDataset, described: Path) -> None:
    before = hashes(described)
    statistics = describe_dataset(dataset, described)
    assert statistics.num_pairs == 9
    assert hashes(described) == before


def test_other_folders_are_refused_untouched(dataset: SegmentationDataset, described: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(OutputError, match="holds something that isdm did not make"):
        describe_dataset(dataset, tmp_path / "mine")
    assert hashes(tmp_path) == {"mine/thesis.txt": hashlib.sha256(b"precious").hexdigest()}
    other = write_dataset(tmp_path / "other", {"train": [np.eye(5)]}, NAMES[:2])
    with pytest.raises(OutputError, match="was made from other options or inputs"):
        describe_dataset(other, described)
    with pytest.raises(OutputError, match="did not make"):
        describe_dataset(other, other.folder)
    with pytest.raises(OutputError, match="no name of its own"):
        describe_dataset(other, Path("/"))


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """No figures: they take most of the time."""
    monkeypatch.setattr("isdm.report.dataset_page._figures", lambda *_: {})


@pytest.mark.usefixtures("fast")
def test_a_broken_off_description_leaves_nothing(
    dataset: SegmentationDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("isdm.report.dataset_page.as_json", killed)
        with pytest.raises(KeyboardInterrupt):
            describe_dataset(dataset, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "out").mkdir()
    describe_dataset(dataset, tmp_path / "out")
    assert (tmp_path / "out" / "index.html").is_file()


@pytest.mark.usefixtures("fast")
def test_a_damaged_image_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", {"train": [np.eye(5), np.eye(5)]}, NAMES[:2])
    damaged = tmp_path / "d" / "train" / "images" / "p1-train.png"
    damaged.write_bytes(damaged.read_bytes()[:60])
    with pytest.raises(DataError, match=r"p1-train\.png cannot be read"):
        describe_dataset(dataset, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


INFO = DatasetInfo("d", tuple(SegmentationClass(i, str(i), colour) for i, colour in enumerate(COLOURS)))


def test_a_mask_is_a_tint_within_a_contour() -> None:
    picture = Image.new("RGB", (40, 30), (100, 100, 100))
    mask = np.zeros((30, 40), np.uint8)
    mask[10:20, 10:20] = 2
    mask[10:20, 30:35] = 255
    pixels = np.asarray(overlay(picture, mask, INFO)).astype(int)
    assert pixels[9, 15].tolist() == list(COLOURS[2])
    expected = 0.65 * 100 + 0.35 * np.array(COLOURS[2])
    assert np.abs(pixels[15, 15] - expected).max() <= 1
    assert pixels[8, 15].max() < 60, "a dark seam around a light colour"
    assert pixels[3, 3].tolist() == [100, 100, 100]
    assert len(set(pixels[15, 32].tolist())) == 1, "ignored pixels are grey"


def test_a_single_pixel_of_a_large_image_is_seen() -> None:
    mask = np.zeros((999, 1301), np.uint8)
    mask[501, 777] = 3
    mask[100:800, 10:500] = 1
    small = small_mask(mask, (240, 184))
    assert np.argwhere(small == 3).tolist() == [[501 * 184 // 999, 777 * 240 // 1301]]
    nearest = np.asarray(Image.fromarray(mask).resize((240, 184), Image.Resampling.NEAREST))
    assert (small != nearest).sum() == 1


@pytest.mark.parametrize("bit_depth", [8, 16])
def test_images_are_shown_in_their_own_greys(bit_depth: int) -> None:
    top = 2**bit_depth - 1
    image = np.linspace(0, top, 300).astype(np.uint8 if bit_depth == 8 else np.uint16)[None, :, None].repeat(30, 0)
    picture = small_image(image)
    assert (picture.size, picture.mode) == ((240, 24), "RGB")
    row = np.asarray(picture)[12, :, 0].astype(int)
    assert np.abs(row - np.linspace(0, 255, 240)).max() <= 2


@pytest.mark.parametrize(("num_classes", "num_pairs", "channels", "bit_depth"), [(2, 2, 1, 16), (200, 30, 3, 8)])
def test_few_and_many_classes_and_pairs(
    tmp_path: Path, num_classes: int, num_pairs: int, channels: int, bit_depth: int
) -> None:
    masks = [np.arange(index, index + 48).reshape(6, 8) * 7 % num_classes for index in range(num_pairs)]
    names = ["background", *(f"class number {i}" for i in range(1, num_classes))]
    dataset = write_dataset(tmp_path / "d", {"train": masks}, names, channels=channels, bit_depth=bit_depth)
    statistics = gather(dataset)
    pairs = draw_pairs(dataset, statistics)
    assert {i for pair in pairs for i in pair.class_ids} == {i for mask in masks for i in np.unique(mask) if i}
    assert contact_sheet(pairs, statistics).width >= 640
    drawn = (
        dataset_figures.class_pixels_figure(statistics),
        dataset_figures.class_images_figure(statistics, stacked=True),
        dataset_figures.object_sizes_figure(statistics),
    )
    for figure in drawn:
        assert figure is not None
        figure.draw_without_rendering()
        assert all(len(axes.get_yticks()) <= 41 for axes in figure.axes)
    assert dataset_figures.group_sizes_figure(statistics) is None, "every pair is a group of its own"


def test_without_any_foreground(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", {"train": [np.zeros((5, 5))] * 2}, NAMES[:3])
    statistics = gather(dataset)
    assert dataset_figures.object_sizes_figure(statistics) is None
    panels = dataset_figures.class_pixels_figure(statistics).axes
    assert [axes.get_title(loc="left") for axes in panels] == ["with background"]
    (images,) = dataset_figures.class_images_figure(statistics).axes
    assert [label.get_text() for label in images.get_yticklabels()] == ["scratch", "class 2", "no foreground"]
    assert sum(bar.get_width() for bar in images.patches) == 2


def test_the_shares_in_the_figure_are_right(dataset: SegmentationDataset) -> None:
    figure = dataset_figures.class_pixels_figure(gather(dataset))
    every, foreground = ([text.get_text() for text in axes.get_yticklabels()] for axes in figure.axes)
    counts = {i: pixels_of(EVERY, i) for i in range(4)}
    for axes, labels, ids in zip(figure.axes, (every, foreground), ((0, 1, 2, 3), (1, 2, 3)), strict=True):
        order = sorted(ids, key=lambda i: -counts[i])
        total = sum(counts[i] for i in ids)
        assert [bar.get_width() for bar in axes.patches] == pytest.approx([100 * counts[i] / total for i in order])
        assert labels == [{2: "class 2", 3: "fray & dent"}.get(i, NAMES[i]) for i in order]


def run_isdm(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["isdm", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert not caught.value.code


@pytest.mark.usefixtures("fast")
def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    masks = [np.array([[1] * 50, [1] * 45 + [2] * 5, [0] * 50])]  # class 2: exactly 5 % of the foreground
    write_dataset(tmp_path / "d", {"train": masks}, ["bg", "[/b]:smile:", "rare"], notes=["masks hold ids"])
    run_isdm(monkeypatch, "data", "describe", tmp_path / "d")
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert lines[0] == "tiles: RGB of 8 bits, 3 classes"
    assert "Without foreground: 0 of 1 images." in lines
    assert "Groups: 1; the largest, train/p0-train, counts 1." in lines
    assert "Source: masks hold ids." in lines
    assert lines[-1].startswith("--classes '[/b]:smile:' (keeps the classes above 5 % of the defective pixels: ")
    assert re.search(r"rare +3\.33 +5\.00 +1 +1 +5", printed)
    assert [path.name for path in tmp_path.iterdir()] == ["d"]
    run_isdm(monkeypatch, "data", "describe", tmp_path / "d", "--out", tmp_path / "page")
    again = capsys.readouterr().out.splitlines()
    assert again[:-1] == lines
    assert again[-1] == f"Page: {tmp_path / 'page' / 'index.html'}"
    assert (tmp_path / "page" / "index.html").is_file()


def test_the_page_needs_no_torch() -> None:
    code = "import sys, isdm.report.dataset_page; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
