"""Damaged files that follow the code: what reached new lines of a reader is damaged further (atheris, libFuzzer).

    pip install atheris
    python benchmarks/coverage_fuzz.py --seconds 60                       every reader for a minute
    python benchmarks/coverage_fuzz.py --only COCO --seconds 600 --keep corpus
With --only the other readers' figures in the result file stay.

An input is one file of a small valid tree (`tests/fuzz_targets.py`): its first byte says which, the rest is the
content. Half the changes are libFuzzer's own, half those of `tests/fuzz_mutations.py`, which know the formats. A
traceback, ten seconds for one input or 4 GB of memory is a finding, whose input is kept.
"""

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}

RESULTS = Path(__file__).parent / "results"
SECONDS_AN_INPUT = 10
MOST_MB = 4096
MOST_BYTES = 20_000
STATUS = re.compile(r"^#(\d+)\s+(\w+)\s+cov: (\d+) ft: \d+ corp: (\d+)", re.MULTILINE)
"""libFuzzer's lines: number of inputs, event, lines reached, inputs kept."""


def fuzz_one(name: str, corpus: Path, seconds: int) -> None:
    """Fuzz a reader in this process, which libFuzzer ends."""
    import atheris

    with atheris.instrument_imports(include=["isdm"]):
        from fuzz_mutations import damaged
        from fuzz_targets import TARGETS
        from isdm.errors import IsdmError

        target = TARGETS[name]
        place = Path(tempfile.mkdtemp(prefix="coverage-fuzz-"))
        target.write(place)
        target.read(place)  # imports what is imported late
    seeds = {str(path.relative_to(place)): path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()}
    names = [path for path in seeds if not path.endswith(target.spare or ("/",))]
    for path in names if target.alone else ():
        (place / path).unlink()
    for number, path in enumerate(names):
        (corpus / f"seed-{number}").write_bytes(bytes([number]) + seeds[path])
    warnings.simplefilter("ignore")

    def try_one(data: bytes) -> None:
        path = place / names[data[0] % len(names) if data else 0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data[1:])
        quiet, sys.stderr = sys.stderr, Path("/dev/null").open("w")  # noqa: SIM115
        try:
            target.read(place)
        except IsdmError:
            pass
        except BaseException:  # libFuzzer ends the process at once
            (corpus.parent / f"found-{path.name}").write_bytes(data[1:])
            raise
        finally:
            sys.stderr.close()
            sys.stderr = quiet
            if target.alone:
                path.unlink()
            else:
                path.write_bytes(seeds[str(path.relative_to(place))])

    def change(data: bytes, most: int, seed: int) -> bytes:
        rng = random.Random(seed)
        if not data or rng.random() < 0.5:
            return bytes(atheris.Mutate(data, most))
        suffix = Path(names[data[0] % len(names)]).suffix
        try:
            return (data[:1] + damaged(data[1:], suffix, rng))[:most]
        except Exception:  # what knows the format needs something that it can parse
            return bytes(atheris.Mutate(data, most))

    limits = [f"-timeout={SECONDS_AN_INPUT}", f"-rss_limit_mb={MOST_MB}", f"-max_len={MOST_BYTES}"]
    options = [f"-max_total_time={seconds}", f"-artifact_prefix={corpus.parent}/found-", "-print_final_stats=0"]
    atheris.Setup([name, *limits, *options, str(corpus)], try_one, custom_mutator=change)
    atheris.Fuzz()


def run_target(name: str, seconds: int, keep: Path) -> dict[str, Any]:
    """Fuzz a reader for some seconds, in as many processes as findings make needed."""
    folder = keep / name.replace(" ", "-")
    (folder / "corpus").mkdir(parents=True, exist_ok=True)
    inputs = reached = kept = findings = 0
    end = time.monotonic() + seconds
    while (left := round(end - time.monotonic())) > 0:
        command = [sys.executable, __file__, "--fuzz", name, "--seconds", str(left), "--keep", str(folder / "corpus")]
        ended = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        lines = STATUS.findall(ended.stderr)
        if not lines:
            raise RuntimeError(f"{name!r} cannot be fuzzed:\n{ended.stderr[-3000:]}")
        inputs += int(lines[-1][0])
        reached, kept = (max(old, int(new)) for old, new in zip((reached, kept), lines[-1][2:], strict=True))
        if ended.returncode != 0:
            findings += 1
            print(f"{name}: a finding, kept in {folder}\n{ended.stdout[-3000:]}{ended.stderr[-3000:]}", flush=True)
    return {
        "inputs": inputs,
        "places_reached": reached,
        "inputs_kept": kept,
        "findings": findings,
        "seconds": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="for each reader")
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--keep", type=Path, help="folder for findings and for the inputs that reach something new")
    parser.add_argument("--fuzz", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=RESULTS / "coverage_fuzz.json")
    arguments = parser.parse_args()
    if arguments.fuzz is not None:
        fuzz_one(arguments.fuzz, arguments.keep, arguments.seconds)
    from fuzz_targets import TARGETS

    keep = arguments.keep or Path(tempfile.mkdtemp(prefix="coverage-fuzz-"))
    by_target: dict[str, dict[str, Any]] = {}
    if arguments.only and arguments.out.is_file():
        by_target = json.loads(arguments.out.read_text("utf-8"))["by_target"]
    for name in arguments.only or TARGETS:
        by_target[name] = run_target(name, arguments.seconds, keep)
        print(f"{name}: {by_target[name]}", flush=True)
        sums = {key: sum(line[key] for line in by_target.values()) for key in ("inputs", "findings")}
        arguments.out.write_text(json.dumps({"sums": sums, "by_target": by_target}, indent=2) + "\n")
    sys.exit(bool(sums["findings"]))


if __name__ == "__main__":
    main()
