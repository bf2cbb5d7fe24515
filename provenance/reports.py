"""The words of counterfactuals, differences and impacts, as paragraphs. A trail's are `provenance.story`."""

from collections.abc import Iterator
from typing import Any

from provenance.counterfactual import Counterfactual, Fate
from provenance.diff import Sides
from provenance.difference import Count, Difference
from provenance.impact import Impact
from provenance.story import Paragraph, drawn

SHOWN = 12
EXPOSURE = "made from it: that says nothing of how much it changed them"


def counterfactual(found: Counterfactual) -> list[Paragraph]:
    """What a sample would be, and what else would move."""
    title = f"if {found.setting}"
    when = f"(it is {_short(found.now)})" if found.now is not None else ""
    lines = [_fate(found.before) + " → " + _fate(found.after)]
    if _fate(found.before) == _fate(found.after):
        lines = [f"{_fate(found.before)}, as it is"]
    lines += [f"AU{au}: {_short(before)} → {_short(after)}" for au, before, after in found.moved]
    lines += [] if found.moved else ["none of its labels would move"]
    return [Paragraph(title, when, tuple(lines)), data_set(found.difference, "the data set would differ")]


def data_set(found: Difference, title: str = "data set") -> Paragraph:
    """How two data sets differ."""
    lines = [f"{found.before:,} samples before, {found.after:,} after"]
    lines += [f"+ {_count(one)}: {one.reason} at {one.stage} before" for one in found.came]
    lines += [f"− {_count(one)}: {one.reason} at {one.stage} after" for one in found.went]
    for one in found.moved:
        line = f"AU{one.au}: {one.samples:,} labels differ"
        if one.mean is not None:
            line += f", by {_short(one.mean)} on the mean; most: {one.sample_id} {_short(one.before)} → "
            line += _short(one.after)
        lines.append(line + (f"; {one.appeared:,} of them null on one side" if one.appeared else ""))
    for scale in found.scales:
        lines.append(
            f"scale of AU{scale.au}, {scale.step}: {scale.end} {_short(scale.before)} set by "
            f"{scale.sample_before or 'nobody'} → {_short(scale.after)} set by "
            f"{scale.sample_after or 'nobody'}"
        )
    lines += [f"{found.other_split:,} samples in another split"] if found.other_split else []
    lines += [f"{found.other_caption:,} samples with another caption"] if found.other_caption else []
    return Paragraph(title, "", tuple(lines if found else [*lines, "nothing differs"]))


def sides(found: Sides) -> list[Paragraph]:
    """What differs between two versions, runs or experiments."""
    parts = [] if found.data_set is None else [data_set(found.data_set)]
    settings = [f"{one.name}: {_short(one.first)} → {_short(one.second)}" for one in found.settings]
    parts.append(Paragraph("settings", "", tuple(settings or ["the same"])))
    models = [f"{one.stage}: {', '.join(one.first)} → {', '.join(one.second)}" for one in found.models]
    parts.append(Paragraph("models", "", tuple(models or ["the same"])))
    scores = [
        f"{one.experiment}, {one.kind}, {one.metric}{f' by {one.judge}' * bool(one.judge)}: "
        f"{_interval(one.first, one.first_interval)} | {_interval(one.second, one.second_interval)}"
        for one in found.scores
    ]
    if scores:
        parts.append(Paragraph("scores", "first | second", tuple(scores)))
    versions = [f"{stage}: {_short(old)} → {_short(new)}" for stage, (old, new) in found.versions.items()]
    parts.append(Paragraph("versions", "", tuple(versions or ["the same"])))
    return parts


def impact(found: Impact) -> list[Paragraph]:
    """What rests on a sample, file, model or run."""
    return list(_impact(found))


def verdict(found: Impact) -> str:
    """One line: how much rests on it."""
    models = len({one.key for one in found.trainings}) or sum(
        len(versions) for stage, versions in found.tables.items() if stage.startswith("trained_model/")
    )
    counts = (
        _many(len(found.samples), "sample") if len(found.samples) > 1 else "",
        f"in {_many(len(found.versions), 'version')} of the data set" if found.versions else "",
        f"sets {_many(len(found.scales), 'end')} of scales" if found.scales else "",
        f"{_many(models, 'trained model')} made from it" if models else "no trained model made from it",
    )
    return f"a {found.kind}: {', '.join(filter(None, counts))}"


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


def _impact(found: Impact) -> Iterator[Paragraph]:
    if len(found.samples) > 1:
        more = f"and {len(found.samples) - SHOWN:,} more"
        yield Paragraph("samples", "", (*found.samples[:SHOWN], *([more] * (len(found.samples) > SHOWN))))
    if found.holds:
        lines = (
            f"{one.stage}, version {one.version}: {one.rows:,} of {one.of:,} rows" for one in found.holds
        )
        yield Paragraph("rows", "", tuple(lines))
    if found.scales:
        yield Paragraph(
            "labels of others",
            "",
            tuple(
                f"AU{one.au} {one.step}: its {one.end} is set by {one.sample_id}; {one.labels:,} labels are "
                "corrected with it"
                for one in found.scales
            ),
        )
    if found.duplicates:
        yield Paragraph("left out because they repeat it", "", found.duplicates[:SHOWN])
    for one in found.trainings:
        how = drawn(one) if one.split == "train" else f"held out for {one.split}"
        line = f"{one.method}, {one.steps:,} steps, key {one.key}; {how}"
        yield Paragraph(f"model of {', '.join(one.experiments)}", "", (line,))
    if found.tables:
        lines = (f"{stage}: version {', '.join(map(str, which))}" for stage, which in found.tables.items())
        yield Paragraph(EXPOSURE, "", tuple(lines))


def _fate(one: Fate) -> str:
    if one.kept:
        return f"kept, split {one.split}"
    return f"dropped by {one.stage}: {one.reason}" if one.stage else "not in the data set"


def _count(one: Count) -> str:
    return f"{one.samples:,} samples, such as {one.example}"


def _interval(value: float | None, interval: tuple[float | None, float | None]) -> str:
    if value is None:
        return "none"
    return (
        _short(value)
        if None in interval
        else f"{_short(value)} ({_short(interval[0])}–{_short(interval[1])})"
    )


def _short(value: Any) -> str:
    return "none" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
