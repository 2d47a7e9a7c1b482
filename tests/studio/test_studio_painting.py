"""What is painted is found where it was painted; jobs queue, show themselves, are cancelled, and become pairs."""

import base64
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from isdm.data.dataset import SegmentationDataset
from isdm.evaluation.leaks import check_origin
from isdm.provenance import read
from studios import SIDE_PX, part_with_scratch, serving

WAIT_SECONDS = 120


class Client:
    """Talks to a studio as a script does."""

    def __init__(self, address: str) -> None:
        self.address = address

    def ask(self, path: str, body: bytes | None = None, **headers: str) -> Any:
        """The answer's JSON, or the picture's bytes."""
        own = {"X-Isdm-Studio": "1", **{name.replace("_", "-"): value for name, value in headers.items()}}
        request = urllib.request.Request(self.address + path, data=body, headers=own)
        with urllib.request.urlopen(request, timeout=60) as answer:
            content = answer.read()
        return content if answer.headers["Content-Type"] == "image/png" else json.loads(content)

    def refused(self, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
        """Status and reason of a request that must be refused."""
        with pytest.raises(urllib.error.HTTPError) as caught:
            self.ask(path, body, **headers)
        return caught.value.code, json.loads(caught.value.read())["error"]

    def paint(self, mask: np.ndarray, **values: Any) -> dict[str, Any]:
        """Start a job."""
        text = base64.b64encode(mask.astype(np.uint8).tobytes()).decode()
        return self.ask("/api/jobs", json.dumps({"mask": text, **values}).encode())

    def finished(self, job: dict[str, Any]) -> dict[str, Any]:
        """The job when it is over."""
        end = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < end:
            job = self.ask(f"/api/jobs/{job['number']}")
            if job["state"] not in ("waiting", "painting"):
                return job
            time.sleep(0.05)
        raise AssertionError("the job does not end")


@pytest.fixture
def studio(model: Path, parts: SegmentationDataset, tmp_path: Path) -> Iterator[Client]:
    with serving(model, parts.folder, None, tmp_path / "painted") as address:
        yield Client(address)


def scratch() -> np.ndarray:
    mask = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    mask[7:9, 3:13] = 1
    return mask


def decoded(png: bytes, folder: Path) -> np.ndarray:
    (folder / "seen.png").write_bytes(png)
    return np.asarray(Image.open(folder / "seen.png").convert("L")).astype(float)


class PixelSegmenter:
    """Dark or not, learnt from real pairs: the threshold between the means of both classes."""

    def __init__(self) -> None:
        pairs = [part_with_scratch(number) for number in range(48)]
        grey, masks = np.stack([image[:, :, 0] for image, _ in pairs]), np.stack([mask for _, mask in pairs])
        self.threshold = (grey[masks == 1].mean() + grey[masks == 0].mean()) / 2
        found = grey < self.threshold
        assert (found & (masks == 1)).sum() / (found | (masks == 1)).sum() > 0.9, "it segments real parts"

    def __call__(self, grey: np.ndarray) -> np.ndarray:
        return grey < self.threshold


def test_a_segmenter_finds_the_scratch_where_it_was_painted_and_nothing_there_before(
    studio: Client, tmp_path: Path
) -> None:
    names = studio.ask("/api/state")["photographs"]
    clean = next(k for k, name in enumerate(names) if int(name.removeprefix("part")) % 3 == 0)
    before = decoded(studio.ask(f"/api/photographs/train/{clean}/image.png"), tmp_path)
    job = studio.finished(studio.paint(scratch(), photograph=f"train/{clean}", steps=20, variants=2, seed=3))
    assert job["state"] == "done"
    segmenter = PixelSegmenter()
    assert not segmenter(before).any()
    for variant in range(2):
        after = decoded(studio.ask(f"/api/jobs/{job['number']}/pictures/{variant}.png"), tmp_path)
        found = segmenter(after)
        assert (found & (scratch() == 1)).sum() / (found | (scratch() == 1)).sum() > 0.5
        far = np.ones_like(found)
        far[4:12, 0:16] = False
        assert (after[far] == before[far]).all(), "what nobody touched is the photograph itself"


def test_the_same_seed_gives_the_same_pictures(studio: Client) -> None:
    jobs = [studio.finished(studio.paint(scratch(), steps=3, variants=2, seed=5)) for _ in range(2)]
    first, second = ([studio.ask(f"/api/jobs/{job['number']}/pictures/{k}.png") for k in range(2)] for job in jobs)
    assert first == second
    assert first[0] != first[1]


def test_others_are_answered_while_one_paints_and_cancelling_stops_it(studio: Client) -> None:
    slow = studio.paint(scratch(), steps=1000, variants=8, sampler="ddpm")
    waiting = studio.paint(scratch(), steps=2)
    assert studio.ask("/api/state")["width"] == SIDE_PX
    assert len(studio.ask("/api/defects")) > 3
    while not studio.ask(f"/api/jobs/{slow['number']}")["pictures"]:
        time.sleep(0.05)
    now = studio.ask(f"/api/jobs/{slow['number']}")
    assert (now["state"], now["pictures"]) == ("painting", 8)
    assert now["step"] < 1000
    assert studio.ask(f"/api/jobs/{slow['number']}/pictures/7.png").startswith(b"\x89PNG")
    assert studio.ask(f"/api/jobs/{waiting['number']}")["state"] == "waiting"
    studio.ask(f"/api/jobs/{slow['number']}/cancel", b"")
    assert studio.finished(slow)["state"] == "cancelled"
    assert studio.finished(waiting)["state"] == "done"


def test_painted_pairs_become_a_synthetic_dataset(studio: Client, parts: SegmentationDataset, tmp_path: Path) -> None:
    job = studio.finished(studio.paint(scratch(), steps=2, variants=2, seed=4, guidance=1.0, defects=[0]))
    address = f"/api/jobs/{job['number']}/pictures"
    for variant in (0, 1, 1):
        saved = studio.ask(f"{address}/{variant}/save", b"")
    shown = decoded(studio.ask(f"{address}/1.png"), tmp_path)
    assert saved["painted"] == 2
    painted = SegmentationDataset(tmp_path / "painted")
    pairs = painted.pairs("train")
    assert len(pairs) == 2
    image, mask = painted.load(pairs[1])
    assert (mask == scratch()).all()
    assert (image[:, :, 0] == shown).all(), "the parts are grey, so is what is painted"
    line = pairs[1].metadata
    asked = {"source": "synthetic", "seed": 4, "guidance_scale": 1.0, "num_sampling_steps": 2, "sample_index": 1}
    assert asked.items() <= line.items()
    assert line["source_groups"][0] in {pair.group for pair in parts.pairs("train")}
    assert check_origin("painted", painted, parts) == []
    record = read(tmp_path / "painted")
    assert record is not None
    assert record.finished


def test_a_folder_that_holds_something_else_is_left_alone(model: Path, parts: SegmentationDataset) -> None:
    from isdm.errors import OutputError

    with pytest.raises(OutputError, match="give another"), serving(model, parts.folder, None, parts.folder):
        pass


def test_wrong_requests_are_refused_in_words(studio: Client) -> None:
    assert "3 pixels" in studio.refused("/api/jobs", json.dumps({"mask": "AAAA"}).encode())[1]
    many = base64.b64encode(np.full(SIDE_PX**2, 9, np.uint8).tobytes()).decode()
    assert "class 9" in studio.refused("/api/jobs", json.dumps({"mask": many}).encode())[1]
    assert "steps" in studio.refused("/api/jobs", json.dumps({"mask": many, "steps": 5000}).encode())[1]
    values = {"mask": base64.b64encode(scratch().tobytes()).decode(), "defects": [999]}
    assert "no defect 999" in studio.refused("/api/jobs", json.dumps(values).encode())[1]
    assert "not JSON" in studio.refused("/api/jobs", b"{")[1]
    assert "Nothing is painted" in _refused_photo(studio)
    assert "no photograph" in studio.refused("/api/photographs/train/999")[1]


def _refused_photo(studio: Client) -> str:
    mask = bytes(studio.ask("/api/photographs/train/0")["mask"])
    values = {"mask": base64.b64encode(mask).decode(), "photograph": "train/0"}
    return studio.refused("/api/jobs", json.dumps(values).encode())[1]


class TestUploads:
    def test_a_photograph_is_fitted_and_painted_into(self, studio: Client, tmp_path: Path) -> None:
        Image.fromarray(np.full((50, 80, 3), 170, np.uint8)).save(tmp_path / "part.jpg")
        found = studio.ask("/api/photographs", (tmp_path / "part.jpg").read_bytes(), X_File_Name="..%2Fpart.jpg")
        assert found["name"] == "part.jpg"
        job = studio.finished(studio.paint(scratch(), photograph=found["key"], steps=2, variants=1))
        assert job["state"] == "done"

    def test_what_is_no_picture_or_too_large_is_refused(self, studio: Client, tmp_path: Path) -> None:
        assert "notes.txt" in studio.refused("/api/photographs", b"no picture", X_File_Name="notes.txt")[1]
        Image.new("1", (9000, 9000)).save(tmp_path / "bomb.png")
        told = studio.refused("/api/photographs", (tmp_path / "bomb.png").read_bytes(), X_File_Name="bomb.png")[1]
        assert "bomb.png has 9000x9000 pixels" in told
        assert "20 MB" in studio.refused("/api/photographs", bytes(20_000_001), X_File_Name="big.png")[1]

    def test_a_test_picture_never_becomes_a_pair(self, studio: Client, parts: SegmentationDataset) -> None:
        content = parts.pairs("test")[0].image.read_bytes()
        key = studio.ask("/api/photographs", content, X_File_Name="test.png")["key"]
        mask = scratch()
        job = studio.finished(studio.paint(mask, photograph=key, steps=2, variants=1))
        told = studio.refused(f"/api/jobs/{job['number']}/pictures/0/save", b"")[1]
        assert "validation or test image" in told

    def test_a_picture_with_the_name_of_a_test_picture_is_refused(
        self, studio: Client, parts: SegmentationDataset, tmp_path: Path
    ) -> None:
        rng = np.random.default_rng(0)
        Image.fromarray(rng.integers(0, 256, (90, 90, 3)).astype(np.uint8)).save(tmp_path / "noise.png")
        name = f"{parts.pairs('test')[0].stem}.png"
        key = studio.ask("/api/photographs", (tmp_path / "noise.png").read_bytes(), X_File_Name=name)["key"]
        job = studio.finished(studio.paint(scratch(), photograph=key, steps=2, variants=1))
        told = studio.refused(f"/api/jobs/{job['number']}/pictures/0/save", b"")[1]
        assert "has the name of a validation or test image" in told
