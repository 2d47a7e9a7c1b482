"""A thousand damaged command lines: each ends with exit code 0, 1 or 2 and a word, and never with a traceback.

    python benchmarks/sweep.py --commands 1000

The commands (`tests/cli_sweep.py`) run in this process up to where their real work (training, painting) begins. Each
follows from its number alone.
"""

import argparse
import json
import os
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from cli_sweep import case, make_world

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commands", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS / "sweep.json")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    codes: Counter[str] = Counter()
    problems = []
    slowest = (0.0, [""])
    with tempfile.TemporaryDirectory() as place:
        world = Path(place) / "world"
        make_world(world)
        for index in range(arguments.first, arguments.first + arguments.commands):
            start = time.monotonic()
            ending = case(world, index)
            slowest = max(slowest, (time.monotonic() - start, ending.arguments))
            codes[str(ending.code)] += 1
            if ending.problem is not None:
                problems.append(index)
                print(f"{index}: {ending.problem}: isdm {ending.arguments}\n{ending.error[-1500:]}\n", flush=True)
    result = {
        "commands": arguments.commands,
        "first": arguments.first,
        "exit_codes": dict(sorted(codes.items())),
        "tracebacks_and_other_problems": len(problems),
        "slowest_seconds": round(slowest[0], 1),
    }
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result), slowest[1])
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
