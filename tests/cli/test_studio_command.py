"""`isdm studio` as the handbook gives it: a process that serves until it is interrupted."""

import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from handbook_pages import DOCS, isdm_arguments, page_commands
from isdm.config import SampleConfig, build
from isdm.synthesis.generate import sample
from studios import MODEL, make_parts


@pytest.mark.slow
def test_the_handbooks_command_serves_and_ends_on_ctrl_c(tmp_path: Path) -> None:
    parts = make_parts(tmp_path)
    parts.folder.rename(tmp_path / "tiles")
    (tmp_path / "model").symlink_to(MODEL)
    arguments = next(found for _, words in page_commands(DOCS / "studio.md") if (found := isdm_arguments(words)))
    config = build(SampleConfig, {"num_samples": 2, "steps": 2, "sampler": "ddim", "device": "cpu"})
    sample(config, MODEL, type(parts)(tmp_path / "tiles"), tmp_path / "synthetic")
    process = subprocess.Popen(
        [sys.executable, "-m", "isdm", *arguments, "--port", "0"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    address = None
    while address is None:
        line = process.stderr.readline()
        assert line, "it ended before it named its address"
        address = re.search(r"http://127\.0\.0\.1:\d+/", line)
    with urllib.request.urlopen(address.group()) as answer:
        assert "isdm studio" in answer.read().decode()
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "what was painted and judged is saved" in told
    assert "Traceback" not in told
