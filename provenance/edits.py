"""Why an edit of a given face is what it is: whose picture it was made of, what was asked, who made it after
which training, what was read in it. As data, and as paragraphs; a sample's life is `provenance.why`.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

import facs
from provenance.moments import Commit, Moment
from provenance.samples import HASH, SHOWN, UnknownSample
from provenance.story import Paragraph
from provenance.trainings import TRAINED_ON
from settings import nearest
from store import MissingTable, hash_file

EDITED, TRAINED, LAST = "edited_samples", "trained_editors", "training_set"
MEASURED = {
    "edit_fidelity": ("clip_i", "l1", "outside_l1", "outside_psnr"),
    "edit_identity": ("identity_distance", "same_person"),
}
"""What was measured of an edit beside its source, by table."""


@dataclass(frozen=True)
class Reading:
    """The twelve intensities that a judge read in an edit; null for one that it does not read, all of them
    null without a face."""

    judge: str
    model: str | None
    intensities: tuple[float | None, ...]


@dataclass(frozen=True)
class Origin:
    """The training of an editor. `version` is that of `trained_editors`, `training_set` that of the table
    which it, or the experiment whose adapter it edits with, was trained on. `row` is empty where that version
    is no longer kept. source_split: where the source picture was then; null where it was no part of that."""

    version: int
    row: Mapping[str, Any]
    settings: Mapping[str, Any]
    experiment: str | None
    training_set: int | None
    source_split: str | None


@dataclass(frozen=True)
class EditTrail:
    """An edit: its `row` of edited_samples, as `commit` wrote it; intensities are twelve each: `shown` by the
    source, `asked` for, and `told` to the editor, which differ where the strength is not 1. `stale` names the
    inputs of which there is a newer version, with both."""

    edit: str
    row: Mapping[str, Any]
    commit: Commit
    shown: tuple[float, ...]
    asked: tuple[float, ...]
    told: tuple[float, ...]
    origin: Origin
    readings: tuple[Reading, ...] = ()
    measures: Mapping[str, float | None] = field(default_factory=dict)
    stale: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    at: str = "now"

    def as_json(self) -> str:
        """All of it, for machines."""
        return json.dumps(asdict(self), indent=2, default=str)


def why(moment: Moment, said: str) -> EditTrail | None:
    """The trail of the edit that `said` names: EDITOR/ID (ganimation/individual/003/au12/4), its file, that
    file's name, or its hash; None where there is no such edit.

    Raises UnknownSample for what names several, or is nearly the id of one.
    """
    commit = moment.commit(EDITED)
    if commit is None:
        return None
    rows = _named(moment, said)
    if rows.height > 1:
        names = rows.select(pl.concat_str("editor", "sample_id", separator="/")).to_series().head(SHOWN)
        more = f" and {rows.height - SHOWN} more" if rows.height > SHOWN else ""
        raise UnknownSample(f"{said!r} is the edit {', '.join(names)}{more}: say which")
    if rows.is_empty():
        _refuse_near(moment, said)
        return None
    row = rows.row(0, named=True)
    shown = tuple(float(row[f"source_{column}"]) for column in facs.COLUMNS)
    asked = tuple(float(row[column]) for column in facs.COLUMNS)
    told = tuple(was + row["strength"] * (wanted - was) for was, wanted in zip(shown, asked, strict=True))
    newest = {name: moment.history(name)[0].version for name in commit.upstream if moment.history(name)}
    return EditTrail(
        f"{row['editor']}/{row['sample_id']}",
        row,
        commit,
        shown,
        asked,
        told,
        _origin(moment, commit, row),
        tuple(_readings(moment, row)),
        _measures(moment, row),
        {name: (used, newest[name]) for name, used in commit.upstream.items() if newest.get(name, 0) > used},
        moment.told,
    )


def _named(moment: Moment, said: str) -> pl.DataFrame:
    editor, _, sample = said.partition("/")
    path = Path(said).expanduser()
    content = hash_file(path) if path.is_file() else said if HASH.fullmatch(said) else None
    which = (pl.col("editor") == editor) & (pl.col("sample_id") == sample)
    which |= (pl.col("sample_id") == said) | (pl.col("file") == path.name)
    if content is not None:
        which |= pl.col("file").str.starts_with(content)
    found = moment.where(EDITED, which)
    assert found is not None
    return found


def _refuse_near(moment: Moment, said: str) -> None:
    """Raises UnknownSample for what begins as an id and is none, naming the nearest."""
    editor, _, sample = said.partition("/")
    rows = moment.where(EDITED, pl.col("editor") == editor, ["sample_id"])
    if rows is not None and rows.height and sample:
        close = nearest.hint(sample, rows["sample_id"].to_list())
        raise UnknownSample(f"the editor {editor} made no edit {sample!r} in {moment.store.home}{close}")


def _origin(moment: Moment, commit: Commit, row: Mapping[str, Any]) -> Origin:
    """The training behind the edit, as the version that it was made from says."""
    version = commit.upstream[TRAINED]
    made = next((one for one in moment.history(TRAINED) if one.version == version), None)
    try:
        rows = moment.at(TRAINED, version, pl.col("editor") == row["editor"])
    except MissingTable:
        made, rows = None, pl.DataFrame()
    if made is None or rows.is_empty():
        return Origin(version, {}, {}, None, None, None)
    settings = made.settings.get("editing.editors", {}).get(row["editor"], {})
    trained, experiment = rows.row(0, named=True), settings.get("experiment")
    reads = made.upstream
    if experiment is not None:
        stage = f"trained_model/{experiment}"
        models = [one for one in moment.history(stage) if one.version == made.upstream.get(stage)]
        reads = models[0].upstream if models else {}
    read = reads.get(LAST) if trained["folder"] is not None else None
    return Origin(version, trained, settings, experiment, read, _split(moment, read, row))


def _split(moment: Moment, training_set: int | None, row: Mapping[str, Any]) -> str | None:
    if training_set is None:
        return None
    same = (pl.col("content_hash") == row["source_hash"]) & pl.col("keep")
    try:
        splits = moment.at(LAST, training_set, same, ["split"])["split"].to_list()
    except MissingTable:
        return None
    return TRAINED_ON if TRAINED_ON in splits else next(iter(splits), None)


def _of_edit(moment: Moment, stage: str, row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of `stage` about that very picture: none where it was measured before it was made anew."""
    mine = [pl.col(name) == row[name] for name in ("editor", "sample_id", "file")]
    rows = moment.where(stage, pl.all_horizontal(mine))
    return [] if rows is None else rows.to_dicts()


def _readings(moment: Moment, row: Mapping[str, Any]) -> Iterator[Reading]:
    for read in _of_edit(moment, "edit_scores", row):
        intensities = tuple(read[f"measured_{column}"] for column in facs.COLUMNS)
        yield Reading(read["judge"], read["model"], intensities)


def _measures(moment: Moment, row: Mapping[str, Any]) -> dict[str, float | None]:
    found: dict[str, float | None] = {"kept": row["kept"]}
    for stage, names in MEASURED.items():
        for measured in _of_edit(moment, stage, row):
            found |= {name: measured[name] for name in names}
    return found


def verdict(trail: EditTrail) -> str:
    """One line: what was asked of whose face."""
    at = f" ({trail.at})" if trail.at != "now" else ""
    return (
        f"EDITED by {trail.row['editor']}: {trail.row['source_id']}, "
        f"{facs.describe(trail.shown)} → {facs.describe(trail.asked)}{at}"
    )


def tell(trail: EditTrail) -> list[Paragraph]:
    """What there is to tell: the source, the request, the editor and its training, the edit, the judges."""
    row, commit = trail.row, trail.commit
    source = [
        f"{row['source_id']}, {row['source_kind']}/{row['source_file']}, content {row['source_hash']}",
        f"its label: {facs.describe(trail.shown)}, of which `fineface why {row['source_id']}` tells more",
    ]
    asked = [f"{row['kind']}: {facs.describe(trail.asked)}"]
    if row["strength"] != 1:
        asked.append(
            f"× {row['strength']:g} of the change, so the editor is told {facs.describe(trail.told)}"
        )
    made = [f"{row['file_kind']}/{row['file']}", f"model: {row['model']}, fingerprint {row['fingerprint']}"]
    made += [
        f"made from version {used} of {name}; that is at version {newest} now"
        for name, (used, newest) in trail.stale.items()
    ]
    run = f", run {commit.run_id[:8]}" if commit.run_id else ""
    when = f"version {commit.version} of {commit.timestamp:%Y-%m-%d %H:%M:%S} UTC{run}"
    return [
        Paragraph("source picture", "", tuple(source)),
        Paragraph("asked for", "", tuple(asked)),
        Paragraph(
            f"editor {row['editor']}",
            f"version {trail.origin.version} of {TRAINED}",
            (*_trained(trail.origin),),
        ),
        Paragraph(EDITED, when, tuple(made), "kept"),
        _judged(trail),
    ]


def _trained(origin: Origin) -> Iterator[str]:
    if not origin.row:
        yield "that version is no longer kept"
        return
    row = origin.row
    if row["folder"] is None:
        yield f"{row['method']}: nothing is trained"
    else:
        whose = f"the adapter of the experiment {origin.experiment}: " if origin.experiment else ""
        yield (
            f"{row['method']}, {whose}{row['steps']:,} steps on {row['samples']:,} pictures of version "
            f"{origin.training_set} of {LAST}, model {row['model_hash']}, training {row['key']}"
        )
        where = origin.source_split
        if where == TRAINED_ON:
            yield "the source picture was among those: this edit is of a face that the editor was trained on"
        elif where is not None:
            yield f"the source picture was held out from it (split {where})"
    if origin.settings:
        yield f"settings: {json.dumps(origin.settings, sort_keys=True)}"


def _judged(trail: EditTrail) -> Paragraph:
    lines = []
    for one in trail.readings:
        read = [
            (value, wanted)
            for value, wanted in zip(one.intensities, trail.asked, strict=True)
            if value is not None
        ]
        said = "no face"
        if read:
            error = sum((value - wanted) ** 2 for value, wanted in read) / len(read)
            # tenths: what a judge reads of an AU at rest is seldom quite 0
            said = facs.describe([round(value or 0.0, 1) for value in one.intensities])
            said += f": AU-MSE all {error:.2f}"
        lines.append(f"{one.judge} ({one.model}) reads {said}")
    known = {name: value for name, value in trail.measures.items() if value is not None}
    if known:
        lines.append(
            "beside its source: " + ", ".join(f"{name} {value:.4g}" for name, value in known.items())
        )
    return Paragraph("measured", "", tuple(lines) or ("not measured yet",), "told" if lines else "absent")
