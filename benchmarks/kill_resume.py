"""Claim: a stage that is killed at any moment and started again ends with the result of an undisturbed run.

Every stage is killed with SIGKILL at random instants, a third of the time between writing and renaming a file, which
is cut in half then. After each kill no file may stand half-written under its final name; in the end every file, the
weights to the bit, must be that of the run that nobody disturbed.
    python benchmarks/kill_resume.py --kills 200
    python benchmarks/kill_resume.py --kills 100 --signal SIGTERM --out benchmarks/results/signal_resume.json
With another signal than SIGKILL each stage must leave with that signal's exit code, and how long it takes is told.
A run that was ended goes on behind the last stage that it has finished.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "POLARS_MAX_THREADS": "1"}
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from harness import RESULTS, machine, write_result
from killed_stages import STAGES, write_source
from killing import Stage, kill_and_compare, run_to_the_end

SHARES = {"evaluate on Ray": 0.2}
"""Kills of a stage as a share of the others'; a cluster takes long to start."""

KEPT_OUT = frozenset({"evaluate on Ray"})
"""Stages whose result no later one reads."""


def finished_before(arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The stages that a run with the same kills has finished before it was ended."""
    if not arguments.out.is_file():
        return {}
    before = json.loads(arguments.out.read_text("utf-8"))
    same = all(before.get(key) == value for key, value in question(arguments).items())
    return before["stages"] if same and not before["complete"] else {}


def question(arguments: argparse.Namespace) -> dict[str, Any]:
    """What a run that goes on must have in common with the one before."""
    return {"signal": arguments.signal, "wanted": arguments.kills, "seed": arguments.seed}


def write(arguments: argparse.Namespace, stages: dict[str, dict[str, Any]], num_stages: int) -> None:
    """Write what is known so far; a run that is ended early leaves the stages that it has finished."""
    result = {
        "claim": "Killed at any moment and started again, every stage ends as if nobody had disturbed it.",
        "complete": len(stages) == num_stages,
        **question(arguments),
        "kills": sum(stage["kills"] for stage in stages.values()),
        "between_writing_and_renaming": sum(stage["between_writing_and_renaming"] for stage in stages.values()),
        "differences": sum(len(stage["differences"]) for stage in stages.values()),
        "stages": stages,
        "machine": machine(),
    }
    write_result(arguments.out, result)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--kills", type=int, default=200, help="of all stages together")
    options.add_argument("--stages", nargs="+", choices=tuple(STAGES), default=list(STAGES))
    options.add_argument("--signal", choices=("SIGKILL", "SIGTERM", "SIGINT"), default="SIGKILL")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--out", type=Path, default=RESULTS / "kill_resume.json")
    arguments = options.parse_args()
    work = Path(tempfile.mkdtemp(prefix="kill-resume-"))
    given = work / "given"
    given.mkdir()
    run_to_the_end(Stage("source", write_source), given)
    weights = {name: SHARES.get(name, 1.0) for name in arguments.stages}
    stages = finished_before(arguments)
    for name, stage in STAGES.items():
        if name in weights and name not in stages:
            num_kills = round(arguments.kills * weights[name] / sum(weights.values()))
            (work / "run").mkdir()
            rng = random.Random(f"{arguments.seed} {name}")
            result = kill_and_compare(stage, given, work / "run", num_kills, rng, signal.Signals[arguments.signal])
            stages[name] = vars(result)
            write(arguments, stages, len(weights))
            if name not in KEPT_OUT:
                shutil.rmtree(given / stage.name, ignore_errors=True)
                (work / "run" / "whole" / stage.name).rename(given / stage.name)
            shutil.rmtree(work / "run")
        elif name not in KEPT_OUT:
            run_to_the_end(stage, given)
        if len(stages) == len(weights):
            break
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
