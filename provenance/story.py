"""The words of a trail: what `fineface why` prints, as paragraphs. What is told is found by
`provenance.why`."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import facs
import reasons
from curation import overrides
from provenance.trainings import TRAINED_ON, Training
from provenance.values import ORIGINS, Correction, Value
from provenance.why import CORRECTIONS, LAST, STATISTICS, Earlier, Knot, Map, Step, Trail, Verdict
from reasons import Reason

Mark = Literal["kept", "dropped", "told", "absent"]

_TOLD_ELSEWHERE = {
    *("sample_id", "source", "keep", "model", "fingerprint", "landmarks", "overruled", *reasons.COLUMNS),
    *("override", "overruled_by", "overruled_at", "override_reason", "model_keep"),
    *("model_reason_code", "model_reason_detail", "caption_fault", "file_kind"),
}
_ONCE = ("file", "content_hash", "width", "height", "subject", "original_file", "original_hash", "faces")
_BOX, _CROP = ("face_x", "face_y", "face_width", "face_height"), ("crop_x", "crop_y", "crop_side")
_QUESTIONS = ("cartoon", "real")
_SETTINGS_NOT_TOLD = ("corrections.recipe",)
_LONGEST = 100
_SCORES = ("au_mse_prompted", "au_mse_all", "clip_i")


@dataclass(frozen=True)
class Paragraph:
    """A stage, or what else there is to tell. `when` is version and time."""

    title: str
    when: str
    lines: tuple[str, ...]
    mark: Mark = "told"


def render(trail: Trail, every_au: bool = False) -> str:
    """The trail as plain text: the verdict, then a paragraph a stage."""
    lines = [trail.sample_id, verdict(trail)]
    for part in tell(trail, every_au):
        lines += [
            "",
            f"{part.title}{f', {part.when}' if part.when else ''}",
            *(f"  {line}" for line in part.lines),
        ]
    return "\n".join(lines)


def verdict(trail: Trail) -> str:
    """One line: kept or dropped, and by what; of a kept one the AUs that are not 0."""
    found = trail.verdict
    said = _verdict(found)
    active = [f"{value.name}={_short(value.label)}" for value in trail.values if value.label]
    labels = f"; {' '.join(active)}" if active and found.state in ("kept", "gone") else ""
    return said + labels + (f" ({trail.at})" if trail.at != "now" else "")


def _verdict(found: Verdict) -> str:
    reason = _reason(found.reason_code, found.reason_detail)
    if found.state == "kept":
        return f"KEPT: {found.stage} holds it, split {found.split}"
    if found.state == "forgotten":
        return f"FORGOTTEN, as was asked by {found.reason_detail}"
    if found.state == "gone":
        return f"GONE: the tables of today do not have it; the last version that had, up to {found.stage}"
    if found.state == "unsettled":
        return f"not settled yet: {found.stage} kept it, what comes after is not written or has no row of it"
    described = f" ({Reason.of(found.reason_code).description})" if found.reason_code else ""
    by = f"{found.stage}, by {found.model}" if found.model else found.stage
    return f"DROPPED by {by}: {reason}{described}"


def tell(trail: Trail, every_au: bool = False) -> list[Paragraph]:
    """What there is to tell, in order. AUs that are 0 from beginning to end are left out, unless asked
    for."""
    told: dict[str, Any] = {}
    parts: list[Paragraph] = []
    over = False
    if trail.tombstone is not None:
        models = trail.tombstone["trained_on"]
        made = (
            f"models that were trained on it: {', '.join(models)}" if models else "no model was trained on it"
        )
        parts.append(Paragraph("forgotten", "", (made, "nothing else is kept of it than hashes"), "dropped"))
    for step in trail.steps:
        if step.stage == STATISTICS or step.version is None or (step.row is None and not step.labels):
            continue
        lines = [*_judged(step), *_people(step), *_row(step, told, trail)]
        if step.stage == CORRECTIONS and not over:
            lines += _values(trail, every_au)
        lines += _made(step)
        mark: Mark = "dropped" if step.row and step.row.get("keep") is False else "kept"
        over = over or mark == "dropped"
        parts.append(Paragraph(step.stage, _when(step), tuple(lines), mark))
    parts += _missing(trail, over)
    parts += [_training(one) for one in trail.trainings]
    if trail.earlier:
        parts.append(Paragraph("earlier", "newest first", tuple(map(_earlier, trail.earlier))))
    return parts


def _when(step: Step) -> str:
    assert step.timestamp is not None
    run = f", run {step.metadata['run_id'][:8]}" if step.metadata.get("run_id") else ""
    return f"version {step.version} of {step.timestamp:%Y-%m-%d %H:%M:%S} UTC{run}"


def _made(step: Step) -> Iterator[str]:
    """How the table was made: settings, who answered, and what is newer now."""
    settings = {name: value for name, value in step.settings.items() if name not in _SETTINGS_NOT_TOLD}
    for name, value in sorted(settings.items()):
        yield f"settings: {_cut(f'{name} {json.dumps(value, sort_keys=True)}')}"
    if (model := step.answered) is not None:
        known = dict(model.parts)
        weights = f", weights {known.pop('weights')}" if isinstance(known.get("weights"), str) else ""
        yield f"model: {model.name}{weights}" + (
            f", fingerprint {model.fingerprint}" * bool(model.fingerprint)
        )
        if known:
            yield _cut(
                "made of: " + ", ".join(f"{name} {_plain(value)}" for name, value in sorted(known.items()))
            )
        if model.packages:
            yield "environment: " + ", ".join(
                f"{name} {value}" for name, value in sorted(model.packages.items())
            )
    for upstream, (used, newest) in step.stale.items():
        yield f"written from version {used} of {upstream}; that is at version {newest} now"
    for one in step.acceptances:
        who = f"{one['author']} on {one['time']:%Y-%m-%d %H:%M} UTC: {one['reason']}"
        yield f"check {one['check']} failed ({_cut(one['said'])}), accepted by {who}"


def _judged(step: Step) -> list[str]:
    row = step.row
    if row is None:
        return ["no row of this sample"]
    reason = _reason(row.get("reason_code"), row.get("reason_detail"))
    if row.get("keep") is False:
        return [f"DROPPED: {reason}"]
    return [f"kept: {reason}"] if reason else []


def _reason(code: str | None, detail: str | None) -> str:
    return ": ".join(filter(None, (code, detail)))


def _people(step: Step) -> list[str]:
    """Every label a person gave, and whether the last of them (of each AU) is in the row yet."""
    latest = {label.get("au"): label for label in step.labels}
    lines = [
        f"label: {overrides.said(one)}, by {one['author']} on {one['time']:%Y-%m-%d %H:%M:%S} UTC: "
        f"{one['reason']}"
        + ("" if latest[one.get("au")] is not one or applied(one, step) else " (not applied yet)")
        for one in step.labels
    ]
    row = step.row or {}
    if row.get("override") is not None:
        below = _reason(row.get("model_reason_code"), row.get("model_reason_detail"))
        lines.append(f"the model's own verdict: {'keep' if row['model_keep'] else f'drop, {below}'}")
    return lines


def applied(label: Mapping[str, Any], step: Step) -> bool:
    """Whether the row of `step` follows `label`, the last one of its AU or of its verdict."""
    row, undone = step.row or {}, label["verdict"] == "undo"
    if label.get("au") is None:
        return bool(row.get("overruled_at") == (None if undone else label["time"]))
    if undone:
        return label["au"] not in (row.get("overruled") or ())
    return bool(row.get(f"au{label['au']}") == label["value"])


def _row(step: Step, told: dict[str, Any], trail: Trail) -> Iterator[str]:
    """What a row holds that was not told before."""
    row = dict(step.row or {})
    for name in _TOLD_ELSEWHERE | {name for name in _ONCE if told.get(name) == row.get(name)}:
        row.pop(name, None)
    if "original_file" in row and row.get("original_file") == told.get("file"):
        row.pop("original_file")
    if "original_hash" in row and row.get("original_hash") == told.get("content_hash"):
        row.pop("original_hash")
    told.update(
        {name: value for name, value in (step.row or {}).items() if name in _ONCE and value is not None}
    )
    if step.stage == trail.steps[0].stage and trail.member is not None:
        yield f"unpacked from the archive's member {trail.member.name}, {trail.member.size:,} bytes"
    if box := _numbers(row, _BOX, told):
        yield "face box: x {}, y {}, {} × {} px".format(*box)
    if square := _numbers(row, _CROP, told):
        yield "seen: the square from x {}, y {}, {} px wide".format(*square)
    for name in _QUESTIONS:
        if (answer := row.pop(f"{name}_answer", None)) is not None:
            yield _answer(step, name, answer, row.pop(f"{name}_score", None))
    known = "rendered with" if step.stage == "raw_rendered" else "manual labels"
    for prefix, title in (("au", "action units"), ("label_au", known)):
        columns = {au: row.pop(f"{prefix}{au}", None) for au in facs.ACTION_UNITS if f"{prefix}{au}" in row}
        given: dict[str | int, float] = {au: value for au, value in columns.items() if value is not None}
        if given and step.stage != CORRECTIONS:
            unknown = [f"AU{au}" for au, value in columns.items() if value is None]
            text = facs.describe(facs.parse(given)) + (f" (none for {', '.join(unknown)})" if unknown else "")
            yield f"{title}: {text}"
    for au in facs.ACTION_UNITS:
        for part in ("raw", "power", "scaled", "mapped"):
            row.pop(f"au{au}_{part}", None)
    sides = row.pop("width", None), row.pop("height", None)
    if None not in sides:
        yield f"size: {sides[0]} × {sides[1]} px"
    for name, value in row.items():
        if value is not None:
            yield f"{name}: {value if name.endswith('file') or name == 'origin' else _cut(_plain(value))}"


def _numbers(row: dict[str, Any], names: Sequence[str], told: dict[str, Any]) -> list[str] | None:
    """The numbers of these columns, taken out of `row`; None where they are not there, or told before."""
    found = tuple(row.pop(name, None) for name in names)
    if None in found or told.get(names[0]) == found:
        return None
    told[names[0]] = found
    return [f"{value:g}" for value in found]


def _answer(step: Step, name: str, answer: str, score: float | None) -> str:
    said = step.settings.get("photorealism", {})
    question = said.get("questions", {}).get(name, name)
    limit = said.get("thresholds", {}).get(name)
    scored = "" if score is None else f", P(yes) {_short(score)}"
    against = "" if limit is None else f", threshold {limit:g}"
    return f"“{' '.join(answer.split())}” to “{question}”{scored}{against}"


def _values(trail: Trail, every_au: bool) -> Iterator[str]:
    """Each AU's way from reading to label, with what set the numbers on it."""
    idle = []
    for value in trail.values:
        if not value.matters and not every_au:
            idle.append(value.name)
        elif value.origin != "manual":
            yield value_line(value)
            yield from (f"  {line}" for one in value.corrections for line in correction_lines(one))
    yield from _maps(trail)
    if idle:
        yield f"0 from beginning to end: {', '.join(idle)}"


def value_line(value: Value) -> str:
    """An AU, its reading, its label, and where the label is from."""
    label = "none" if value.label is None else _short(value.label)
    reading = "none" if value.reading is None else _short(value.reading)
    return f"{value.name} {facs.NAMES[value.au]}: reading {reading} → label {label} ({ORIGINS[value.origin]})"


def correction_lines(one: Correction) -> Iterator[str]:
    """A step of the recipe, and the samples that set its numbers."""
    after = "none" if one.after is None else _short(one.after)
    numbers = ", ".join(f"{name} {_short(number)}" for name, number in one.numbers.items())
    yield f"{one.step}: {one.formula}" + (f" with {numbers}" if numbers else "") + f" → {after}"
    for end, sample in (
        ("minimum", one.minimum_sample_id),
        ("maximum", one.maximum_sample_id),
        ("top", one.top_sample_id),
    ):
        if sample is not None:
            yield f"  {end} set by {sample}"


def _maps(trail: Trail) -> Iterator[str]:
    step = next((step for step in trail.steps if step.stage == STATISTICS), None)
    for one in step.maps if step else ():
        yield from _map(one)


def _map(one: Map) -> Iterator[str]:
    if not one.knots:
        yield f"AU{one.au}: as read, no positive among {one.samples:,} labelled frames"
    for knot in one.knots:
        yield f"AU{one.au}: {_knot(knot)}"


def _knot(knot: Knot) -> str:
    low = f"{knot.minimum_sample_id} ({_short(knot.minimum)})"
    ends = f"{low} to {knot.maximum_sample_id} ({_short(knot.maximum)})"
    pooled = f"{knot.samples:,} frames, {ends}" if knot.samples else "an anchor"
    return f"reading {_short(knot.reading)} becomes {_short(knot.intensity)}: {pooled}"


def _missing(trail: Trail, over: bool) -> Iterator[Paragraph]:
    """The stages that say nothing of the sample, in a line each kind."""
    unwritten = [step.stage for step in trail.steps if step.version is None]
    silent = [
        step.stage
        for step in trail.steps
        if step.version is not None and step.row is None and not step.labels and step.stage != STATISTICS
    ]
    if silent:
        why = "no row: the sample was dropped before" if over else "no row of this sample"
        yield Paragraph(", ".join(silent), "", (why,), "absent")
    if unwritten:
        yield Paragraph(", ".join(unwritten), "", ("not written yet",), "absent")


def _training(one: Training) -> Paragraph:
    title = f"{one.table} of {', '.join(one.experiments)}"
    when = f"{one.timestamp:%Y-%m-%d %H:%M:%S} UTC, from version {one.training_set} of {LAST}"
    lines = [f"{one.method}, {one.steps:,} steps, model {one.model_hash}"]
    if one.split == TRAINED_ON:
        lines.append(f"one of {one.samples:,} samples; {drawn(one)}")
    else:
        lines.append(f"held out for {one.split}: the loss on it was watched, nothing was learnt from it")
    for name, scores in one.scores.items():
        told = [
            f"{one.metric} {_short(one.value)} ({_short(one.low)} to {_short(one.high)})"
            + (f" by {one.judge}" if one.judge else "")
            for one in scores
            if one.kind == "individual" and one.metric in _SCORES
        ]
        if told:
            lines.append(f"{name}, individual AUs: {', '.join(told)}")
    return Paragraph(title, when, tuple(lines))


def drawn(one: Training) -> str:
    """How often a training drew the sample."""
    if one.drawn is not None:
        return f"drawn {_times(one.drawn)}"
    if one.least is None:
        return "how often it was drawn was not noted"
    if one.least == one.most:
        return f"drawn {_times(one.least)}"
    return f"drawn {one.least:,} or {one.most:,} times (which was not noted)"


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count:,} times")


def _earlier(one: Earlier) -> str:
    active = [f"AU{name[2:]}={_short(value)}" for name, value in one.intensities.items() if value]
    labels = f"; {' '.join(active) or 'neutral'}" if one.verdict.state == "kept" else ""
    return f"version {one.version} of {one.timestamp:%Y-%m-%d %H:%M} UTC: {_verdict(one.verdict)}{labels}"


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return json.dumps(value, default=str) if isinstance(value, list | dict) else str(value)


def _short(value: Any) -> str:
    return "none" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
