"""What people say of synthetic pairs: `judgements.jsonl` beside `metadata.jsonl`.

One object a line: `image_file_name`, `verdict` (`keep`, `drop`, or `none` to take an earlier one back) and `time`.
Lines are only ever appended, and the last on a picture counts. The file is no part of a dataset's fingerprint, for
people judge what is finished; a stage that takes pairs names the verdicts among its inputs.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from isdm.errors import DataError
from isdm.files import append_json_line, read_json_lines, sha256_of_json

FILE_NAME = "judgements.jsonl"
DROPPED = "dropped by a person"
KEPT = "kept by a person"

Verdict = Literal["keep", "drop", "none"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


def read_judgements(split_folder: Path) -> dict[str, bool]:
    """Whether a person keeps the picture of each `image_file_name`; only pictures that were judged are in it.

    Raises:
        DataError: a line is no judgement. A last line that a kill has cut is left out.
    """
    path = split_folder / FILE_NAME
    if not path.is_file():
        return {}
    found: dict[str, bool] = {}
    for number, line in enumerate(read_json_lines(path, tolerate_cut_tail=True), start=1):
        if not isinstance(line, dict) or line.get("verdict") not in VERDICTS or "image_file_name" not in line:
            raise DataError(
                f"{path}, line {number} must have image_file_name and verdict ({', '.join(VERDICTS)}); mend or "
                f"remove it."
            )
        found.pop(str(line["image_file_name"]), None)
        if line["verdict"] != "none":
            found[str(line["image_file_name"])] = line["verdict"] == "keep"
    return found


def append_judgement(split_folder: Path, image_file_name: str, verdict: Verdict) -> None:
    """Add a person's verdict on a picture, durably."""
    time = datetime.now(UTC).isoformat(timespec="seconds")
    append_json_line(split_folder / FILE_NAME, {"image_file_name": image_file_name, "verdict": verdict, "time": time})


def with_judgements(fingerprint: str, judgements: Mapping[str, bool]) -> str:
    """The fingerprint of pairs together with what people say of them; itself where they say nothing."""
    record: Any = [fingerprint, sorted(judgements.items())]
    return sha256_of_json(record) if judgements else fingerprint
