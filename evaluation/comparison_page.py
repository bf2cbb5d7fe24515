"""Two experiments, or two editors, on one page: which differences stand, each AU by itself, and who is better
on what.

Tests live in `comparisons`; which tables are read is the caller's business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

import facs
from evaluation import comparisons, edits, partners, tables
from evaluation.tables import DEFINITIONS, WITNESSES, short


class NotComparable(ValueError):
    """The two were not measured by the same judges, or of different prompts."""


@dataclass(frozen=True)
class Page:
    """What stands on the page of `first` beside `second`."""

    first: str
    second: str
    guidance: tuple[float | None, float | None] | None
    """What the pictures of each were drawn with; None where they differ, and of editors."""
    judges: Mapping[str, str]
    """The model behind each judge."""
    samples: Mapping[str, int]
    """How many of each kind."""
    differences: pl.DataFrame
    """`comparisons.compare` of the two."""
    aus: pl.DataFrame
    """`comparisons.compare_aus` of the two: a family of tests of its own."""
    unit: str = "prompts"
    """What is exchanged, in print."""
    notes: Sequence[str] = ()
    """What else a reader must know before believing it."""

    @property
    def prompts(self) -> int:
        """Prompts that are exchanged."""
        return int(self.differences["prompts"].max() or 0)  # type: ignore[arg-type]

    def better_on(self, name: str | None) -> list[str]:
        """The measures on which `name` is better, each with kinds and judges; None: those on which nobody
        is, as far as these pictures show."""
        standing = self.differences.drop_nulls("difference").filter(pl.col("better").eq_missing(name))
        found = []
        for (metric,), part in standing.group_by("metric", maintain_order=True):
            where = []
            for (kind,), rows in part.group_by("kind", maintain_order=True):
                who = [judge for judge in rows["judge"] if judge not in WITNESSES.values()]
                whole = not who or set(who) == set(self.judges)
                where.append(str(kind) if whole else f"{kind} by {' and '.join(who)}")
            found.append(f"{DEFINITIONS[str(metric)].label} ({', '.join(where)})")
        return found

    def as_plain(self) -> dict[str, Any]:
        """All of it as plain values, for machines."""
        return {
            "first": self.first,
            "second": self.second,
            "guidance": None if self.guidance is None else list(self.guidance),
            "prompts": self.prompts,
            "samples": dict(self.samples),
            "judges": dict(self.judges),
            "notes": list(self.notes),
            "level": comparisons.LEVEL,
            "differences": self.differences.to_dicts(),
            "aus": self.aus.to_dicts(),
            "better": {name: self.better_on(name) for name in (self.first, self.second)},
            "undecided": self.better_on(None),
        }


def page(
    first: str,
    second: str,
    au_scores: Mapping[str, pl.DataFrame],
    clip_scores: Mapping[str, pl.DataFrame],
    identity_scores: Mapping[str, pl.DataFrame] | None = None,
    kinds: Sequence[str] = tables.KINDS,
    unit: str = "prompts",
    notes: Sequence[str] = (),
) -> Page:
    """The page of two experiments; `au_scores` (with `judge`, `model`, `fingerprint`), `clip_scores` and,
    where identity was measured, `identity_scores` hold a frame each. `unit` is what `prompt_index` numbers;
    `notes` are shown.

    Raises NotComparable where a judge, CLIP or who knows faces was another model for one than for the other,
    or where the two were given different samples.
    """
    seen = identity_scores or {}
    for what, scores in (("CLIP", clip_scores), ("identity", seen), *_by_judge(au_scores).items()):
        who = [set(scores[name]["fingerprint"].drop_nulls()) for name in (first, second) if name in scores]
        if len(who) == 2 and who[0] != who[1]:
            raise NotComparable(
                f"{what} was one model for {first} and another for {second}: their numbers are not comparable"
            )
    by_judge = _by_judge(au_scores)
    judged = {judge: frames for judge, frames in by_judge.items() if len(frames) == 2}
    alone = [f"{judge} measured only {', '.join(of)}" for judge, of in by_judge.items() if len(of) == 1]
    if not judged:
        raise NotComparable(f"no judge measured both {first} and {second}")
    try:
        beside = {name: partners.joined(frame, seen.get(name)) for name, frame in clip_scores.items()}
        differences = comparisons.compare(judged, beside, [(first, second)], kinds)
        aus = comparisons.compare_aus(judged, first, second)
    except ValueError as error:
        raise NotComparable(str(error)) from None
    frames = next(iter(judged.values()))
    shown = frames[first].filter(pl.col("kind").is_in(kinds))
    drawn = all("guidance" in frames[name].columns for name in (first, second))
    return Page(
        first,
        second,
        (_only(frames[first]["guidance"]), _only(frames[second]["guidance"])) if drawn else None,
        {judge: ", ".join(of[first]["model"].drop_nulls().unique().sort()) for judge, of in judged.items()},
        {kind: count for kind in kinds if (count := shown.filter(kind=kind).height)},
        differences,
        aus,
        unit,
        [*notes, *alone],
    )


def page_of_editors(
    first: str,
    second: str,
    scores: pl.DataFrame,
    fidelities: pl.DataFrame,
    identities: pl.DataFrame | None = None,
) -> Page:
    """The page of two editors by their edits at strength 1; `scores` is an edit_scores, `fidelities` an
    edit_fidelity, and `identities` an edit_identity table, where that was measured. Source pictures are what
    is exchanged. Raises NotComparable.
    """

    def of(table: pl.DataFrame) -> dict[str, pl.DataFrame]:
        at_once = table.filter(strength=1.0).rename({"source_index": "prompt_index"})
        return {name: part for name in (first, second) if (part := at_once.filter(editor=name)).height}

    # how much changed at all is no merit, and PSNR says what L1 does
    beside = fidelities.drop("l1", "outside_psnr", "kept")
    known = None if identities is None else of(identities)
    return page(first, second, of(scores), of(beside), known, edits.KINDS, "source pictures")


def text(found: Page) -> str:
    """The page for a terminal."""
    first, second = found.first, found.second
    *most, last = (f"{count} {kind}" for kind, count in found.samples.items())
    counted = f"{', '.join(most)} and {last}" if most else last
    judges = ", ".join(f"{judge} ({model})" if model else judge for judge, model in found.judges.items())
    drawn = [
        f"{name} at {'several scales' if scale is None else f'{scale:g}'}"
        for name, scale in zip((first, second), found.guidance or (), strict=False)
    ]
    blocks = [
        f"{first} beside {second}: {counted} samples of {found.prompts} {found.unit}\n"
        f"judges: {judges}"
        + (f"; guidance: {', '.join(drawn)}" if drawn else "")
        + "".join(f"\nnote: {note}" for note in found.notes)
    ]
    for (kind,), part in found.differences.drop_nulls("difference").group_by("kind", maintain_order=True):
        heads = [str(kind), "judge", first, second, "difference, 95 % interval", "p, Holm", "better"]
        lines = [
            [
                DEFINITIONS[row["metric"]].label,
                row["judge"],
                short(row["first_value"]),
                short(row["second_value"]),
                _interval(row),
                comparisons.p_text(row["p_holm"]),
                row["better"] or "–",
            ]
            for row in part.iter_rows(named=True)
        ]
        blocks.append(tables.aligned([heads, *lines]))
    if found.aus["difference"].count():
        blocks.append(_aus(found))
    blocks.append("\n".join(_verdict(found)))
    return "\n\n".join(blocks)


def _aus(found: Page) -> str:
    """A line an AU: what each judge measures of both, the difference with its interval, and who is better."""
    cells = {(row["au"], row["judge"]): row for row in found.aus.iter_rows(named=True)}
    heads = ["AU-MSE prompted, each AU alone"]
    for judge in found.judges:
        heads += [f"{judge}: {found.first}", found.second, "difference", "better"]
    lines = []
    for au in facs.ACTION_UNITS:
        line = [f"AU{au} {facs.NAMES[au]}"]
        for judge in found.judges:
            row = cells[au, judge]
            if row["difference"] is None:
                line += ["not read", "", "", ""]
            else:
                values = short(row["first_value"]), short(row["second_value"])
                line += [*values, _interval(row), row["better"] or "–"]
        lines.append(line)
    return tables.aligned([heads, *lines])


def _verdict(found: Page) -> list[str]:
    tests = found.differences["p"].count()
    if tests * 2.0 ** (1 - found.prompts) >= comparisons.LEVEL:
        return [
            f"{tests} tests of {found.prompts} {found.unit} cannot show that a difference stands: take more."
        ]
    lines = []
    for name in (found.first, found.second):
        better = found.better_on(name)
        lines.append(f"{name} is better: {'; '.join(better) if better else 'on nothing that stands'}.")
        won = [
            f"{found.aus.filter(judge=judge, better=name).height} of "
            f"{found.aus.filter(judge=judge)['difference'].count()} AUs by {judge}"
            for judge in found.judges
            if found.aus.filter(judge=judge, better=name).height
        ]
        lines += [f"  AU by AU: {', '.join(won)}."] if won else []
    if undecided := found.better_on(None):
        lines.append(f"No difference stands: {'; '.join(undecided)}.")
    lines.append(
        f"A difference stands where p < {comparisons.LEVEL} after Holm's correction: over the measures, and "
        "over the AUs. Of another training these tests say nothing."
    )
    return lines


def _interval(row: Mapping[str, Any]) -> str:
    return f"{short(row['difference'])} [{short(row['low'])}, {short(row['high'])}]"


def _by_judge(au_scores: Mapping[str, pl.DataFrame]) -> dict[str, dict[str, pl.DataFrame]]:
    """The rows of each judge, in the order in which they stand, and of each experiment."""
    found: dict[str, dict[str, pl.DataFrame]] = {}
    for name, frame in au_scores.items():
        for (judge,), rows in frame.group_by("judge", maintain_order=True):
            found.setdefault(str(judge), {})[name] = rows
    return found


def _only(values: pl.Series) -> float | None:
    several = values.unique()
    return float(several[0]) if len(several) == 1 else None
