"""Files of weights: no code is run, nothing unfolds, whatever is damaged is refused in a word."""

import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from hostile_files import compressed_checkpoint, pickle_bomb, torch_bomb
from isdm.models.state_files import UnreadableStateError, load_plain_tensors, load_weights


def saved(path: Path, value: Any) -> Path:
    torch.save(value, path)
    return path


def test_a_state_dict_is_read_plain_or_in_its_place(tmp_path: Path) -> None:
    weights = {"a": torch.arange(3.0), "b": torch.ones(2, 2).T}
    assert load_weights(saved(tmp_path / "a.pt", weights)).keys() == weights.keys()
    inner = load_weights(saved(tmp_path / "b.pt", {"state_dict": weights, "epoch": 3}))
    assert torch.equal(inner["a"], weights["a"])
    save_file({"a": weights["a"]}, tmp_path / "c.safetensors")
    assert torch.equal(load_weights(tmp_path / "c.safetensors")["a"], weights["a"])
    state = {"optimizer": {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 0.1}]}}
    assert load_plain_tensors(saved(tmp_path / "d.pt", state))["optimizer"]["param_groups"] == [{"lr": 0.1}]


@pytest.mark.parametrize("make", [pickle_bomb, torch_bomb])
@pytest.mark.parametrize("name", ["a.pt", "a.bin", "a.pth", "a.safetensors"])
def test_no_pickled_code_is_run(tmp_path: Path, make: Any, name: str) -> None:
    sentinel = tmp_path / "sentinel"
    with pytest.raises(UnreadableStateError):
        load_weights(make(tmp_path / name, sentinel))
    assert not sentinel.exists()


def test_a_compressed_checkpoint_is_not_unfolded(tmp_path: Path) -> None:
    path = compressed_checkpoint(tmp_path / "bomb.pt")
    assert path.stat().st_size < 100_000
    with pytest.raises(UnreadableStateError, match="decompression bomb"):
        load_plain_tensors(path)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(1).expand(10**12),
        torch.zeros(1, 1).expand(10**6, 10**6),
        torch.zeros(10**9, device="meta"),
        torch.sparse_coo_tensor(torch.zeros(1, 1, dtype=torch.int64), torch.ones(1), (10**12,)),
    ],
)
def test_a_tensor_that_says_it_is_larger_than_it_is(tmp_path: Path, tensor: torch.Tensor) -> None:
    with pytest.raises(UnreadableStateError, match=r"not plain tensors|larger than it is"):
        load_plain_tensors(saved(tmp_path / "a.pt", {"deep": [{"a": tensor}]}))


def test_containers_that_repeat_themselves_are_looked_into_once(tmp_path: Path) -> None:
    value: list[Any] = [torch.zeros(1)]
    for _ in range(40):
        value = [value] * 10
    assert isinstance(load_plain_tensors(saved(tmp_path / "a.pt", value)), list)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_folder_or_nothing_at_all(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"folder{suffix}").mkdir()
    with pytest.raises(UnreadableStateError, match="no file"):
        load_weights(tmp_path / f"folder{suffix}")
    with pytest.raises(FileNotFoundError):
        load_weights(tmp_path / f"gone{suffix}")


@pytest.mark.parametrize("pickled", [b"\x80\x02X\x01", b"\x80\x02G\x00\x00"])
def test_a_pickle_that_ends_within_a_number(tmp_path: Path, pickled: bytes) -> None:
    """Found by `benchmarks/fuzz.py` (states 6230 and 7013)."""
    saved(tmp_path / "whole.pt", {"a": torch.zeros(1)})
    with zipfile.ZipFile(tmp_path / "whole.pt") as whole, zipfile.ZipFile(tmp_path / "cut.pt", "w") as cut:
        for part in whole.infolist():
            cut.writestr(part.filename, pickled if part.filename.endswith("data.pkl") else whole.read(part))
    with pytest.raises(UnreadableStateError, match="error"):
        load_plain_tensors(tmp_path / "cut.pt")
