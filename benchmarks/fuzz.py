"""Damaged files by the hundred thousand: whatever a reader is given, it reads it or refuses it with an `IsdmError`.

    python benchmarks/fuzz.py --inputs 100000
    python benchmarks/fuzz.py --only COCO --first 1234 --inputs 1        one input again, with its traceback

An input is one file of a small valid tree (`tests/fuzz_targets.py`) that was damaged (`tests/fuzz_mutations.py`). It
follows from its target and number alone. Every target runs in a process of its own, so that a crash costs one input,
under a limit of address space; an input that takes longer than the time limit counts as hanging. The damaged file of
each finding is kept.
"""

import argparse
import faulthandler
import json
import multiprocessing
import platform
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from fuzz_mutations import damaged
from fuzz_targets import TARGETS, Target
from isdm.errors import IsdmError

RESULTS = Path(__file__).parent / "results"
SECONDS = 10.0
MORE_BYTES = 2 * 2**30
"""Address space that a reader may take beyond what the process has before the first input."""
PROBLEMS = ("traceback", "hang", "memory", "crash")


class HangError(Exception):
    """An input took longer than the limit."""


def seeds_of(target: Target, folder: Path) -> dict[str, bytes]:
    """The valid tree, by relative path."""
    target.write(folder)
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def write_tree(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def damage(name: str, index: int, target: Target, seeds: dict[str, bytes]) -> tuple[str, bytes]:
    """Which file of input number `index` is damaged, and its content."""
    rng = random.Random(f"{name}/{index}")
    path = rng.choice([path for path in seeds if not path.endswith(target.spare or ("/",))])
    return path, damaged(seeds[path], Path(path).suffix, rng)


def outcome(target: Target, folder: Path, seconds: float) -> tuple[str, str]:
    """How a reader takes the folder: accepted, refused, or a problem with its traceback."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        target.read(folder)
    except IsdmError:
        return "refused", ""
    except HangError:
        return "hang", traceback.format_exc()
    except MemoryError:
        return "memory", traceback.format_exc()
    except Exception:  # what this script looks for
        return "traceback", traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return "accepted", ""


def work(name: str, first: int, stop: int, seconds: float, connection: Connection) -> None:
    """Try inputs `first` to `stop` of a target and tell of each."""

    def hang(_: int, frame: FrameType | None) -> None:
        raise HangError

    signal.signal(signal.SIGALRM, hang)
    faulthandler.enable()
    warnings.simplefilter("ignore")
    sys.stderr = Path("/dev/null").open("w")  # noqa: SIM115  # what readers say is not looked at here
    target = TARGETS[name]
    with tempfile.TemporaryDirectory() as place:
        seeds = seeds_of(target, Path(place) / "seed") if (Path(place) / "seed").mkdir() is None else {}
        target.read(Path(place) / "seed")  # the valid tree must pass, and imports what is imported late
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MORE_BYTES, resource.RLIM_INFINITY))
        folder = Path(place) / "tree"
        write_tree(folder, {} if target.alone else seeds)
        for index in range(first, stop):
            path, content = damage(name, index, target, seeds)
            write_tree(folder, {path: content})
            connection.send((index, "begun", path, ""))
            found, trace = outcome(target, folder, seconds)
            connection.send((index, found, path, trace))
            (folder / path).unlink() if target.alone else (folder / path).write_bytes(seeds[path])
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        connection.send((stop, "peak", str(peak), ""))


def run_target(name: str, first: int, count: int, seconds: float, findings: list[dict[str, Any]]) -> dict[str, Any]:
    """Try `count` inputs of a target, in as many processes as crashes make needed."""
    counts: Counter[str] = Counter()
    peak, at, stop, start = 0, first, first + count, time.monotonic()
    while at < stop:
        ours, theirs = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("fork").Process(target=work, args=(name, at, stop, seconds, theirs))
        process.start()
        theirs.close()
        began, begun, told = at, None, True
        while told:
            told = ours.poll(6 * seconds + 60)
            if not told:
                break
            try:
                index, found, path, trace = ours.recv()
            except EOFError:
                break
            if found == "begun":
                begun = (index, path)
                continue
            at = index + 1
            if found == "peak":
                peak, at = max(peak, int(path)), stop
                break
            begun = None
            counts[found] += 1
            if found in PROBLEMS:
                findings.append({"target": name, "index": index, "file": path, "kind": found, "trace": trace})
        if begun is not None:  # the process died, or a call into a library never came back
            counts["crash" if told else "hang"] += 1
            findings.append(
                {"target": name, "index": begun[0], "file": begun[1], "kind": "crash or hang", "trace": ""}
            )
            at = begun[0] + 1
        elif at == began:
            raise RuntimeError(f"{name!r}: the valid tree does not pass, or input {at} cannot be made")
        process.kill()
        process.join()
    line = {kind: counts[kind] for kind in ("accepted", "refused", *PROBLEMS)}
    return {"inputs": count, **line, "peak_mb": peak // 10**6, "seconds": round(time.monotonic() - start, 1)}


def read_result(arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """What a run from the same first inputs that was ended has tried; it goes on behind that."""
    if arguments.only or not arguments.out.is_file():
        return {}
    before = json.loads(arguments.out.read_text())
    return before["by_target"] if before["first"] == arguments.first and not before["complete"] else {}


def write_result(arguments: argparse.Namespace, by_target: dict[str, dict[str, Any]]) -> dict[str, int]:
    """Write what has been tried so far; gives the sums."""
    sums = {
        key: sum(line[key] for line in by_target.values()) for key in ("inputs", "accepted", "refused", *PROBLEMS)
    }
    result = {
        "sums": sums,
        "peak_mb": max(line["peak_mb"] for line in by_target.values()),
        "limits": {"seconds_an_input": arguments.seconds, "more_address_space_mb": MORE_BYTES // 10**6},
        "by_target": by_target,
        "first": arguments.first,
        "complete": len(by_target) == len(TARGETS),
        "python": platform.python_version(),
    }
    if not arguments.only:
        arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    return sums


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000, help="in all, shared among the targets by weight")
    parser.add_argument("--first", type=int, default=0, help="number of each target's first input")
    parser.add_argument("--only", choices=list(TARGETS), nargs="*")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="time limit of one input")
    parser.add_argument("--keep", type=Path, help="folder for the damaged file of each finding")
    parser.add_argument("--out", type=Path, default=RESULTS / "fuzz.json")
    arguments = parser.parse_args()
    names = arguments.only or list(TARGETS)
    total = sum(TARGETS[name].weight for name in names)
    findings: list[dict[str, Any]] = []
    by_target = read_result(arguments)
    for name in names:
        if name in by_target:
            continue
        count = -(-int(arguments.inputs * TARGETS[name].weight) // int(total)) if len(names) > 1 else arguments.inputs
        by_target[name] = run_target(name, arguments.first, count, arguments.seconds, findings)
        print(f"{name}: {by_target[name]}", flush=True)
        write_result(arguments, by_target)
        for finding in findings:
            if finding["target"] == name:
                print(f"{finding['kind']} {finding['index']} ({finding['file']})\n{finding['trace']}", flush=True)
    for finding in findings:
        if arguments.keep is not None:
            with tempfile.TemporaryDirectory() as place:
                target = TARGETS[finding["target"]]
                seeds = seeds_of(target, Path(place))
                path, content = damage(finding["target"], finding["index"], target, seeds)
            kept = arguments.keep / f"{finding['target'].replace(' ', '-')}-{finding['index']}-{Path(path).name}"
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(content)
    sums = write_result(arguments, by_target)
    print(json.dumps(sums))
    sys.exit(bool(findings))


if __name__ == "__main__":
    main()
