"""The words of a trail: what `fineface why` prints. What is told is found by `provenance.why`."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import facs
import reasons
from curation import overrides
from provenance.why import STATISTICS, Map, Setter, Step, Trail
from reasons import Reason

_TOLD_ELSEWHERE = {"sample_id", "source", "keep", *reasons.COLUMNS}
_NOT_OF_THE_COMMIT = {"content_hash", "rows", "settings"}
_WHOLE = {"file", "original_file", "origin"}
_LONGEST = 100


def render(trail: Trail) -> str:
    """The trail as plain text: the verdict, then a paragraph a stage, nulls left out, long values cut."""
    lines = [trail.sample_id, verdict(trail)]
    over = False
    for step in trail.steps:
        lines += ["", *_headline(step, over)]
        if step.row is not None:
            lines += [f"  {line}" for line in _verdict(step.row) + _values(step.row)]
            over = over or step.row.get("keep") is False
        lines += [f"  {line}" for line in _words(step)]
        if not over:
            lines += [f"  {line}" for line in (*_scale(step.setters), *_maps(step.maps))]
    return "\n".join(lines)


def verdict(trail: Trail) -> str:
    """One line: kept or dropped, and by what."""
    found = trail.verdict
    reason = _reason(found.reason_code, found.reason_detail)
    if found.keep:
        split = (trail[found.stage].row or {}).get("split")
        return f"KEPT: {found.stage} holds it, split {split}"
    if found.keep is None:
        return f"not settled yet: {found.stage} kept it, what comes after is not written or has no row of it"
    described = f" ({Reason.of(found.reason_code).description})" if found.reason_code else ""
    by = f"{found.stage}, by {found.model}" if found.model else found.stage
    return f"DROPPED by {by}: {reason}{described}"


def _headline(step: Step, over: bool) -> list[str]:
    if step.version is None:
        return [f"{step.stage}: this table has not been written"]
    lines = [f"{step.stage}, version {step.version} of {step.timestamp:%Y-%m-%d %H:%M:%S} UTC"]
    commit = {name: value for name, value in step.metadata.items() if name not in _NOT_OF_THE_COMMIT}
    if commit:
        lines.append(
            "  commit: " + ", ".join(f"{name} {_short(value)}" for name, value in sorted(commit.items()))
        )
    for name, value in sorted(step.settings.items()):
        lines.append(f"  settings: {_short(f'{name} {json.dumps(value, sort_keys=True)}')}")
    for upstream, (used, newest) in step.stale.items():
        lines.append(f"  written from version {used} of {upstream}; that is at version {newest} now")
    for one in step.acceptances:
        who = f"{one['author']} on {one['time']:%Y-%m-%d %H:%M:%S} UTC: {one['reason']}"
        lines.append(f"  check {one['check']} failed ({_short(one['said'])}), accepted by {who}")
    if step.row is None and step.stage != STATISTICS:
        lines.append("  no row: the sample was dropped before" if over else "  no row of this sample")
    return lines


def _verdict(row: Mapping[str, Any]) -> list[str]:
    reason = _reason(row.get("reason_code"), row.get("reason_detail"))
    if row.get("keep") is False:
        return [f"DROPPED: {reason}"]
    return [f"kept: {reason}"] if reason else []


def _reason(code: str | None, detail: str | None) -> str:
    return ": ".join(filter(None, (code, detail)))


def _words(step: Step) -> list[str]:
    """Every label a person gave, and whether the last of them (of each AU) is in the row yet."""
    latest = {label["au"]: label for label in step.labels}
    return [
        f"label: {overrides.said(one)}, by {one['author']} on {one['time']:%Y-%m-%d %H:%M:%S} UTC: "
        f"{one['reason']}"
        + ("" if latest[one["au"]] is not one or applied(one, step) else " (not applied yet)")
        for one in step.labels
    ]


def applied(label: Mapping[str, Any], step: Step) -> bool:
    """Whether the row of `step` follows `label`, the last one of its AU or of its verdict."""
    row, undone = step.row or {}, label["verdict"] == "undo"
    if label["au"] is None:
        return bool(row.get("overruled_at") == (None if undone else label["time"]))
    if undone:
        return label["au"] not in (row.get("overruled") or ())
    return bool(row.get(f"au{label['au']}") == label["value"])


def _values(row: Mapping[str, Any]) -> list[str]:
    lines, told = [], set(_TOLD_ELSEWHERE)
    for prefix, title in (("au", "action units"), ("label_au", "manual labels")):
        columns = [f"{prefix}{au}" for au in facs.ACTION_UNITS if f"{prefix}{au}" in row]
        told.update(columns)
        given: dict[str | int, float] = {
            au: row[f"{prefix}{au}"] for au in facs.ACTION_UNITS if row.get(f"{prefix}{au}") is not None
        }
        if given:
            unknown = [f"AU{name.removeprefix(prefix)}" for name in columns if row[name] is None]
            text = facs.describe(facs.parse(given)) + (f" (none for {', '.join(unknown)})" if unknown else "")
            lines.append(f"{title}: {text}")
    for au in facs.ACTION_UNITS:
        chain = [(part, row.get(f"au{au}_{part}")) for part in ("raw", "power", "scaled", "mapped")]
        told.update(f"au{au}_{part}" for part, _ in chain)
        chain = [
            (part, value) for part, value in [*chain, ("final", row.get(f"au{au}"))] if value is not None
        ]
        if len(chain) > 1 and any(value for _, value in chain):
            lines.append(f"AU{au}: " + " → ".join(f"{part} {_short(value)}" for part, value in chain))
    others = ((name, value) for name, value in row.items() if name not in told and value is not None)
    return lines + [f"{name}: {value if name in _WHOLE else _short(value)}" for name, value in others]


def _scale(setters: Sequence[Setter]) -> list[str]:
    return [
        f"AU{one.au} {one.step}: {one.end} {_short(one.value)} set by {one.sample_id or 'unknown'}"
        for one in setters
    ]


def _maps(maps: Sequence[Map]) -> list[str]:
    lines = []
    for one in maps:
        if not one.knots:
            lines.append(f"AU{one.au}: as read, no positive among {one.samples:,} labelled frames")
        for knot in one.knots:
            ends = (
                f"{knot.minimum_sample_id} ({_short(knot.minimum)})"
                f" to {knot.maximum_sample_id} ({_short(knot.maximum)})"
            )
            pooled = f"{knot.samples:,} frames, {ends}" if knot.samples else "an anchor"
            becomes = f"reading {_short(knot.reading)} becomes {_short(knot.intensity)}"
            lines.append(f"AU{one.au}: {becomes}: {pooled}")
    return lines


def _short(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
