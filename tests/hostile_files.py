"""Files that mean harm: pickles that run code when they are loaded, and archives that unfold."""

import io
import pickle
import zipfile
from pathlib import Path

import torch

SENTINEL = "the-code-was-run"


class RunsCode:
    """Unpickled, it makes a file."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.sentinel,)


def pickle_bomb(path: Path, sentinel: Path) -> Path:
    """A plain pickle that makes `sentinel` when it is loaded."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(RunsCode(sentinel)))
    return path


def torch_bomb(path: Path, sentinel: Path) -> Path:
    """The same as `torch.save` writes it, beside a harmless tensor."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"weights": {"a": torch.zeros(2)}, "counters": RunsCode(sentinel)}, path)
    return path


def compressed_checkpoint(path: Path, num_zeros: int = 4_000_000) -> Path:
    """A checkpoint whose parts are compressed, so that it unfolds to far more than it holds."""
    plain = io.BytesIO()
    torch.save({"a": torch.zeros(num_zeros)}, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for part in source.infolist():
            packed.writestr(part.filename, source.read(part))
    return path
