"""A sample's story as links of a chain, ready to be shown: what `provenance.why` found, in its order."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import facs
import reasons
import stages
from app.thumbnails import SIDES, address
from curation import overrides
from provenance.story import applied, drawn
from provenance.trainings import TRAINED_ON
from provenance.why import OVERRIDES, STATISTICS, Setter, Step, Trail

State = Literal["kept", "dropped", "absent", "overruled"]

TITLES = {
    "raw_affectnet": "In AffectNet",
    "raw_disfa": "In DISFA",
    "raw_folder": "In the folder of portraits",
    "raw_rendered": "Rendered, with these intensities",
    "face_crop": "The part that is seen",
    "resolution": "Is it large enough?",
    "photorealism": "Is it a photograph?",
    "au_annotation": "What the estimator read",
    "disfa_readings": "What the labeller reads in this frame",
    "captions": "What it shows, in words",
    "au_corrections": "What the recipe made of the readings",
    "training_set": "In the training set",
    "latents": "Encoded for training",
}
"""How each stage reads in a story; another one goes by its name."""

_STEPS = ("raw", "power", "scaled", "mapped")
_AUS = {f"{prefix}au{au}" for prefix in ("", "label_", "measured_") for au in facs.ACTION_UNITS}
_AUS |= {f"au{au}_{step}" for au in facs.ACTION_UNITS for step in _STEPS}
_FILES = {
    "file_kind",
    "file",
    "original_file",
    "content_hash",
    "original_hash",
    "fingerprint",
    "perceptual_hash",
}
_TOLD = {
    "sample_id",
    "source",
    "keep",
    *reasons.COLUMNS,
    "overruled",
    "override",
    "overruled_by",
    "overruled_at",
}
_FILES |= {*stages.BOX, "crop_x", "crop_y", "crop_side"}
_TOLD |= {"override_reason", "model_keep", "landmarks", "face_box", "head_pose"}


@dataclass(frozen=True)
class Bar:
    """An AU at a link: its value, what came before it, and where its scale was set."""

    au: int
    value: float | None
    steps: tuple[tuple[str, float], ...] = ()
    setters: tuple[tuple[Setter, str | None], ...] = ()
    overruled: bool = False

    @property
    def name(self) -> str:
        return facs.NAMES[self.au]


@dataclass(frozen=True)
class Link:
    """A stage in the story: what it said of the sample, and by what.

    facts: names and values of its row, small: what only a machine reads. people: what was said over it.
    """

    stage: str
    title: str
    state: State
    verdict: str
    picture: str | None = None
    facts: tuple[tuple[str, str], ...] = ()
    small: tuple[tuple[str, str], ...] = ()
    bars: tuple[Bar, ...] = ()
    people: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    text: str = ""


@dataclass(frozen=True)
class Training:
    """A trained model that had the sample: whose it is, its table, how often it was drawn."""

    experiments: tuple[str, ...]
    table: str
    told: str


@dataclass(frozen=True)
class Story:
    """A sample's verdict in one line, and its links, first to last."""

    sample_id: str
    state: Literal["kept", "dropped", "open"]
    verdict: str
    picture: str | None
    links: tuple[Link, ...]
    trainings: tuple[Training, ...] = ()
    stands: Mapping[str, str] = field(default_factory=dict)
    """What a person said and was not taken back: an AU ("AU4") or a stage, and what."""


def told(trail: Trail, picture_of: Callable[[str], str | None], verdict: str) -> Story:
    """The story of `trail`. `picture_of` gives the address of a sample's picture, `verdict` its one line."""
    steps = [step for step in trail.steps if step.version is not None]
    setters = next((step.setters for step in steps if step.stage == STATISTICS), ())
    links, over = [], False
    for step in steps:
        if step.stage in (STATISTICS, OVERRIDES) or (over and step.row is None and not step.labels):
            continue
        links.append(_link(step, setters, picture_of))
        over = over or (step.row or {}).get("keep") is False
    keep = trail.verdict.keep
    state: Literal["kept", "dropped", "open"] = "open" if keep is None else "kept" if keep else "dropped"
    return Story(
        trail.sample_id,
        state,
        verdict,
        picture_of(trail.sample_id),
        tuple(links),
        _trainings(trail),
        _standing(steps),
    )


def _trainings(trail: Trail) -> tuple[Training, ...]:
    return tuple(
        Training(
            one.experiments,
            one.table,
            drawn(one)
            if one.split == TRAINED_ON
            else f"held out for {one.split}: nothing was learnt from it",
        )
        for one in trail.trainings
    )


def _link(step: Step, setters: Sequence[Setter], picture_of: Callable[[str], str | None]) -> Link:
    row = step.row or {}
    latest = {label["au"]: label for label in step.labels}
    people = tuple(
        f"{one['author']} said {overrides.said(one)} on {one['time']:%Y-%m-%d %H:%M} UTC: {one['reason']}"
        + ("" if latest[one["au"]] is not one or applied(one, step) else " – not applied yet")
        for one in step.labels
    )
    return Link(
        stage=step.stage,
        title=TITLES.get(step.stage, step.stage),
        state=_state(row),
        verdict=_verdict(step, row),
        picture=_picture(step.stage, row),
        facts=tuple(_facts(row)),
        small=tuple(_small(step, row)),
        bars=tuple(_bars(step.stage, row, setters, picture_of)),
        people=people,
        stale=tuple(
            f"made from version {used} of {upstream}, which is at {newest} now"
            for upstream, (used, newest) in step.stale.items()
        ),
        text=row.get("caption") or "" if step.stage == "captions" else "",
    )


def _state(row: Mapping[str, Any]) -> State:
    if not row:
        return "absent"
    if row.get("override") or row.get("overruled"):
        return "overruled"
    return "dropped" if row.get("keep") is False else "kept"


def _verdict(step: Step, row: Mapping[str, Any]) -> str:
    if not row:
        return "no row of this sample"
    code = row.get("reason_code")
    said = reasons.Reason.of(code).description if code else ""
    detail = row.get("reason_detail") or ""
    return " ".join(filter(None, (said, f"({detail})" if detail and said else detail)))


def _picture(stage: str, row: Mapping[str, Any]) -> str | None:
    """Of the raw file and of the part that is seen of it: the others see the same."""
    if stage.startswith("raw_") or stage in ("face_crop", "disfa_readings"):
        return address(row.get("file_kind"), row.get("file"), SIDES[1])
    return None


def _facts(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (name.replace("_", " "), _text(value))
        for name, value in row.items()
        if value is not None and name not in _AUS | _FILES | _TOLD | {"caption"}
    ]


def _small(step: Step, row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What stands behind the link: version, run, files, fingerprints and settings."""
    found = [("version", f"{step.version} of {step.timestamp:%Y-%m-%d %H:%M:%S} UTC")]
    wanted = ("run_id", "code_version", "profile")
    found += [
        (name.replace("_", " "), str(step.metadata[name])) for name in wanted if step.metadata.get(name)
    ]
    found += [
        (name.replace("_", " "), str(row[name])) for name in sorted(_FILES) if row.get(name) is not None
    ]
    found += [(name, json.dumps(value, sort_keys=True)) for name, value in sorted(step.settings.items())]
    return found


def _bars(
    stage: str, row: Mapping[str, Any], setters: Sequence[Setter], picture_of: Callable[[str], str | None]
) -> list[Bar]:
    """The AUs that matter: those that are there, that a step changed, or that a person gave."""
    prefix = "label_au" if stage.startswith("raw_") else "au"
    given = set(row.get("overruled") or ())
    bars = []
    for au in facs.ACTION_UNITS:
        value = row.get(f"{prefix}{au}")
        steps = [(part, row.get(f"au{au}_{part}")) for part in _STEPS]
        known = tuple((part, float(one)) for part, one in steps if one is not None)
        if not value and au not in given and not any(one for _, one in known):
            continue
        scale = [
            (one, picture_of(one.sample_id) if one.sample_id else None) for one in setters if one.au == au
        ]
        bars.append(Bar(au, value, known, tuple(scale) if stage == "au_corrections" else (), au in given))
    return bars


def _standing(steps: Sequence[Step]) -> dict[str, str]:
    found: dict[str, str] = {}
    for step in steps:
        for label in step.labels:
            key = step.stage if label["au"] is None else f"AU{label['au']}"
            found.pop(key, None)
            if label["verdict"] != "undo":
                found[key] = overrides.said(label)
    return found


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
