"""Keep a finished fold of a cross-validation: what pooling and publication need, without pictures, weights or paths.

python docs/results/keep_fold.py runs/tiles/fold-0 docs/results/magnetic-tiles/fold-0

Copied to a run's folder as `fold-0`, it counts there as a fold that was run on another machine.
"""

import shutil
import sys
from pathlib import Path

import yaml

from isdm import provenance

KEPT = (
    "audit/audit.json",
    "audit/provenance.json",
    "study/provenance.json",
    "study/study.yaml",
    "study/results.parquet",
    "study/counts.parquet",
)


def main(fold: Path, out: Path) -> None:
    """Copy what is kept; the source is named without its place."""
    record = provenance.read(fold / "study")
    assert record is not None, f"{fold} has no study"
    assert record.finished, f"{fold}/study is not finished"
    for name in KEPT:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(fold / name, out / name)
    config = yaml.safe_load((fold / "experiment.yaml").read_text())
    config["data"]["source"] = Path(config["data"]["source"]).name
    (out / "experiment.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
