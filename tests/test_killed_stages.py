"""The short form of benchmarks/kill_resume.py, in a process of its own: it forks."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HARNESS = Path(__file__).parents[1] / "benchmarks" / "kill_resume.py"


@pytest.mark.slow
def test_killed_stages_end_as_if_nobody_had_disturbed_them(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    command = [sys.executable, str(HARNESS), "--kills", "6", "--out", str(result)]
    subprocess.run([*command, "--stages", "import", "train", "sample"], check=True, capture_output=True)
    found = json.loads(result.read_text())
    assert found["kills"] >= 6
    assert [stage["differences"] for stage in found["stages"].values()] == [[], [], []]
