"""What a study allows to be said, in plain words that are never stronger than its numbers."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from isdm.report.comparisons import FALSE_ALARMS, IMAGE_RECALL, is_shown
from isdm.report.tables import (
    CLASS,
    FOREGROUND,
    Score,
    architecture_name,
    architectures_of,
    baseline_of,
    points,
    scores_of,
)
from isdm.report.worth import worth_in_real_images

Line = Mapping[str, Any]

HARDLY_LEARNT = 0.05
"""A mean foreground IoU below which a network has learnt too little for comparisons to mean anything."""

MOST_TOLD = 4
"""Shown differences of an architecture that have a sentence each: the largest gains, and the worst of all."""

_SYNTHETIC_ALONE = re.compile(r"synthetic only \((\d+)\)(.*)", re.DOTALL)


def headline(comparisons: pl.DataFrame) -> str:
    """One sentence: whether synthetic images were shown to help, and where."""
    tested: list[Line] = list(comparisons.filter(pl.col("is_tested")).iter_rows(named=True))
    if not tested:
        return _why_nothing_is_compared(comparisons)
    if max(line["num_repeats"] for line in tested) < 2:
        return "With a single training of each configuration no gain can be shown or ruled out."
    names = list(dict.fromkeys(architecture_name(line["architecture"]) for line in tested))
    up, down = ([_name(line) for line in tested if is_shown(line) and sign * line["gain"] > 0] for sign in (1, -1))
    up, down = list(dict.fromkeys(up)), list(dict.fromkeys(down))
    rows = {line["row"] for line in tested}
    what = _capital(_label_of(tested[0]["label"])) if len(rows) == 1 else "Adding synthetic images"
    if len(rows) > 1 and all(_is_of_synthetic_alone(line["label"]) for line in tested):
        what = "Training on synthetic images alone"
    many = f"{len(names)} architecture{'s' if len(names) > 1 else ''}"
    if up:
        text = f"{what} raises the mean foreground IoU for {_listed(up)} ({len(up)} of {many})"
        text += " in at least one amount" if len(rows) > 1 else ""
        return text + (f", and lowers it for {_listed(down)}." if down else ".")
    if down:
        return (
            f"{what} lowers the mean foreground IoU for {_listed(down)} ({len(down)} of {many}); no gain was shown."
        )
    low, high = (100 * pick(line["gain"] for line in tested) for pick in (min, max))
    span = points(low) if points(low) == points(high) else f"{points(low)} to {points(high)}"
    return (
        f"No gain was shown: {what[0].lower() + what[1:]} changed the mean foreground IoU by {span} points, which "
        f"cannot be told from chance for {'any of ' + many if len(names) > 1 else names[0]}."
    )


def _why_nothing_is_compared(comparisons: pl.DataFrame) -> str:
    if comparisons.is_empty():
        return (
            "Nothing can be compared yet: counts.parquet, which intervals and tests are made from, is missing, as "
            "earlier versions left it. Run `isdm evaluate` again; finished cells are kept."
        )
    if comparisons.filter(pl.col("measure") == FOREGROUND).is_empty():
        return "Nothing can be compared: no test image shows a class but the background."
    return "Nothing can be compared yet: no architecture has both real images alone and added synthetic ones."


def basis(
    comparisons: pl.DataFrame, primary: str | None, num_sets: int, num_folds: int = 1, *, is_late: bool = False
) -> str:
    """What the verdict rests on: what was tested, and what the intervals cover.

    `is_late`: another study had read the test scores of the named row before.
    """
    tested = comparisons.filter(pl.col("is_tested"))
    if tested.is_empty():
        return ""
    count = tested.height
    if primary is not None:
        when = "after another study had read its test scores, so its tests promise too much"
        how = f"One comparison was named {when if is_late else 'before any test score was read'}"
        how += f"; its {count} tests, one for each architecture," if count > 1 else ""
    else:
        how = "No comparison was named beforehand" + (f", so all {count} were tested; they" if count > 1 else "")
    how += " are corrected for their number (Holm)" if count > 1 else ""
    groups, repeats = (min(tested[name].to_list()) for name in ("num_groups", "num_repeats"))
    chance = f"{groups} groups of test images" + (f" and {repeats} trainings" if repeats > 1 else "")
    if tested["p_value"].is_null().all():
        return f"{how}. Too few test groups show what is measured to give an interval."
    text = f"{how}. Intervals are 95 % and cover the choice of {chance}"
    if num_sets and num_folds > 1:
        text += f"; {num_folds} generators, one for each fold, painted what they hold for"
    elif num_sets:
        sets = "the one synthetic set" if num_sets == 1 else f"the {num_sets} synthetic sets"
        text += f"; they hold for {sets} used, and a generator trained with another seed may do better or worse"
    return text + "."


def verdicts(summary: pl.DataFrame, comparisons: pl.DataFrame) -> list[str]:
    """For each architecture one text, its lines in order of weight."""
    found = []
    for architecture in architectures_of(summary):
        name = architecture_name(architecture)
        scores = scores_of(summary, architecture)
        baseline = _score(scores, baseline_of(summary, architecture))
        others = [score for score in scores if baseline is not None and score.row != baseline.row]
        others = [
            score for score in others if score.painted or baseline is None or score.num_real == baseline.num_real
        ]
        if not scores:
            found.append(f"{name}: no class of the test images has an IoU, so nothing can be compared.")
        elif baseline is None:
            found.append(f"{name}: the result for all real images alone is missing, so nothing can be compared.")
        elif not others:
            found.append(f"{name}: only real images alone have been measured ({baseline.mean:.3f}).")
        else:
            lines = _lines(comparisons, architecture)
            if max(score.mean for score in scores) < HARDLY_LEARNT:
                found.append("\n".join([_unlearnt_sentence(name, scores), *_tested_sentences(name, lines)]))
                continue
            tested, best = _tested_sentences(name, lines), _best_sentence(others, baseline, lines)
            sentences = [*tested, best] if tested else [f"{name}: {best[0].lower()}{best[1:]}"]
            sentences += [
                _control_sentence(others, baseline, lines),
                _class_sentence(comparisons, architecture, lines),
                _picture_sentence(comparisons, architecture, lines),
            ]
            sentences.append(worth_in_real_images(summary, architecture, lines))
            found.append("\n".join(sentence for sentence in sentences if sentence))
    return found


def _unlearnt_sentence(name: str, scores: Sequence[Score]) -> str:
    return (
        f"{name} hardly learnt to find anything (at best {_best(scores).mean:.3f}): give it more epochs, a higher "
        f"learning rate or pretrained weights before anything can be compared."
    )


def _lines(comparisons: pl.DataFrame, architecture: str) -> dict[str, Line]:
    """Comparisons of the mean foreground IoU by row."""
    chosen = comparisons.filter((pl.col("architecture") == architecture) & (pl.col("measure") == FOREGROUND))
    return {line["row"]: line for line in chosen.iter_rows(named=True) if line["gain"] is not None}


def _tested_sentences(name: str, lines: Mapping[str, Line]) -> list[str]:
    """What the tests of an architecture show; with many of them, the strongest and how many there were."""
    tested = [line for line in lines.values() if line["is_tested"]]
    if not tested:
        return []
    if len(tested) == 1:
        return [f"{name}: {tested_sentence(tested[0])}"]
    shown = [line for line in tested if is_shown(line)]
    if not shown:
        least = max(tested, key=lambda line: line["gain"])
        return [
            f"{name}: none of {len(tested)} configurations differs from its reference by more than chance; nearest "
            f"to a gain: {tested_sentence(least)}"
        ]
    order = sorted(shown, key=lambda line: -line["gain"])
    told = order if len(order) <= MOST_TOLD else [*order[: MOST_TOLD - 1], order[-1]]
    num_gains = sum(line["gain"] > 0 for line in shown)
    ends = f"{num_gains} gain{'' if num_gains == 1 else 's'}"
    num_losses = len(shown) - num_gains
    ends += f", {num_losses} loss{'' if num_losses == 1 else 'es'}"
    return [
        f"{name}: {tested_sentence(told[0])}",
        *(_capital(tested_sentence(line)) for line in told[1:]),
        f"Beyond chance, of {len(tested)} configurations tested: {ends}.",
    ]


def tested_sentence(line: Line) -> str:
    """One comparison: the change with its interval, and whether it is beyond chance."""
    facts = f"{line['value']:.3f} against {line['reference_value']:.3f} for {line['reference_label']}"
    what = _label_of(line["label"])
    if line["num_repeats"] < 2:
        return (
            f"{what} changes the mean foreground IoU by {change(line)} ({facts}); with a single repeat this "
            f"cannot be told from chance."
        )
    if line["p_value"] is None:
        return (
            f"{what} changes it by {points(100 * line['gain'])} points ({facts}); as a class is seen in one test "
            f"group alone, nothing tells this from chance. Merge such classes, or test on more."
        )
    p_value = p_text(line["adjusted_p"])
    if is_shown(line):
        verb = "raises" if line["gain"] > 0 else "lowers"
        return f"{what} {verb} the mean foreground IoU: {change(line)} ({facts}; corrected {p_value})."
    text = f"{what} changes it by {change(line)} ({facts}; corrected {p_value}), which cannot be told from chance."
    if line["smallest_gain"] is None:  # nothing varied, as where neither finds anything
        return text
    gain = f"{100 * line['smallest_gain']:.1f} points"
    return f"{text} A true gain of {gain} would have been found in 4 of 5 such studies."


def change(line: Line) -> str:
    """ "+2.1 points [0.8, 3.3]"."""
    text = f"{points(100 * line['gain'])} points"
    if line["lower"] is None:
        return text
    return f"{text} [{points(100 * line['lower'])}, {points(100 * line['upper'])}]"


def p_text(value: float | None) -> str:
    """ "p = 0.012", with as many digits as matter."""
    if value is None:
        return "p undefined"
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}" if value < 0.1 else f"p = {value:.2f}"


def _best_sentence(others: Sequence[Score], baseline: Score, lines: Mapping[str, Line]) -> str:
    best = _best(others)
    if f"{best.mean:.3f}" <= f"{baseline.mean:.3f}":  # as it is shown
        return f"No configuration has a higher mean than {baseline.label} ({baseline.mean:.3f})."
    text = f"The best mean is that of {best.label}: {best.mean:.3f} against {baseline.mean:.3f} for {baseline.label}"
    line = lines.get(best.row)
    if line is not None and not line["is_tested"]:
        text += f", {change(line)}"
        if line["reference"] != baseline.row:  # fewer real images are compared with as few
            text += f" over {line['reference_label']}"
    return text + "; it was picked after the fact, so on new images its lead will be smaller."


def _control_sentence(others: Sequence[Score], baseline: Score, lines: Mapping[str, Line]) -> str:
    """Where a control without synthetic images ran, say how far it gets: gains may not need painting."""
    painted = [score for score in others if score.painted]
    controls = [score for score in others if not score.painted and score.num_real == baseline.num_real]
    if not painted or not controls:
        return ""
    control = _best(controls)
    line = lines.get(control.row)
    text = f"Without synthetic images {control.label} reaches {control.mean:.3f}"
    text += f" ({change(line)})" if line is not None else ""
    return text + ("." if _best(others) is not control else "; no row with synthetic images has a higher mean.")


def _class_sentence(comparisons: pl.DataFrame, architecture: str, lines: Mapping[str, Line]) -> str:
    """How the classes fare in the tested row, or in the best one: from the worst to the best."""
    row = _told_row(lines)
    if row is None:
        return ""
    classes = comparisons.filter(
        (pl.col("architecture") == architecture)
        & (pl.col("row") == row["row"])
        & (pl.col("measure") == CLASS)
        & pl.col("is_foreground")
        & pl.col("gain").is_not_null()
    ).sort("gain")
    if classes.height < 2:
        return ""
    worst, best = classes.row(0, named=True), classes.row(-1, named=True)
    ends = [f"{change(line)} ({line['detail']})" for line in (worst, best)]
    text = f"By class, {row['label']} ranges from {ends[0]} to {ends[1]}"
    if classes["lower"].null_count() == 0:  # of a class that a single test group shows nobody knows what it may lose
        most = max(0.0, *(-100 * lower for lower in classes["lower"].to_list()))
        text += f"; no class loses more than {most:.1f} points, as far as the intervals tell"
    return text + "."


def _picture_sentence(comparisons: pl.DataFrame, architecture: str, lines: Mapping[str, Line]) -> str:
    """What the tested row, or the best one, does to whole pictures: an IoU says little of how often it cries."""
    row = _told_row(lines)
    if row is None:
        return ""
    chosen = comparisons.filter(
        (pl.col("architecture") == architecture) & (pl.col("row") == row["row"]) & pl.col("gain").is_not_null()
    )
    told = []
    for measure, what in ((IMAGE_RECALL, "defective ones are noticed"), (FALSE_ALARMS, "good ones are alarmed")):
        for line in chosen.filter(pl.col("measure") == measure).iter_rows(named=True):
            told.append(f"{100 * line['value']:.1f} % of the {what}, {change(line)}")
    return f"By whole pictures, untested: {'; '.join(told)}." if told else ""


def _told_row(lines: Mapping[str, Line]) -> Line | None:
    """Of the tested rows, or of all, the one that gains most."""
    tested = [line for line in lines.values() if line["is_tested"]] or list(lines.values())
    return max(tested, key=lambda line: float(line["gain"]), default=None)


def _name(line: Line) -> str:
    return architecture_name(line["architecture"])


def _label_of(label: str) -> str:
    """What was done, from a row's label: "adding 700 synthetic images" of "real + 700 synthetic"."""
    if ", then " in label:
        first, _, rest = label.partition(", then ")
        rest = (
            rest.replace(", augmented", " images under augmentation") if ", augmented" in rest else f"{rest} images"
        )
        return f"training on {first} images, then on {rest},"
    if (alone := _SYNTHETIC_ALONE.match(label)) is not None:
        return f"training on {alone[1]} synthetic images alone" + alone[2].replace(
            ", augmented", " under augmentation"
        )
    if " + " not in label:
        return label
    kept, _, added = label.partition(" + ")
    added = re.sub(r"^(\d+ [a-z]+)", r"\1 images", added).replace(", augmented", " under augmentation")
    return f"adding {added}" + ("" if kept == "real" else f" to {kept}")


def _is_of_synthetic_alone(label: str) -> bool:
    return _SYNTHETIC_ALONE.match(label) is not None


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _best(scores: Sequence[Score]) -> Score:
    return max(scores, key=lambda score: score.mean)


def _score(scores: Sequence[Score], row: str | None) -> Score | None:
    return next((score for score in scores if score.row == row), None)
