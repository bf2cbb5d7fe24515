"""What it would cost to bring a home up to date: about how many model calls and training steps, by stage.
Read from tables and the raw folders' listing; no model is asked, nothing is opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from assets.needs import PROMPTS, SAMPLES
from curation import probing
from curation.frames import RawDataError
from curation.sources import listing
from provenance import lineage
from settings.profile import Profile, SidecarCaptions, VouchedPhotorealism
from stages import RENDERED, SOURCES, WEB
from store import Store

WHO = "content_hash"
DRAWN, SCORED = "generated_samples", ("generated_samples", "au_scores", "clip_scores")
FRAMES = ("disfa",)
RENDERING = f"raw_{RENDERED}"


def calls(store: Store, profile: Profile, outdated: Mapping[str, str]) -> dict[str, int]:
    """About how many model calls a run would make by stage, training steps for trained_model; stages without
    any are left out. `outdated` says of every table that is behind the times why.

    Of the rows there are, those count that a stage has not answered, or all where its code or settings
    changed: what a memo knows is asked of nobody, so it may be fewer. New pictures count by the share that
    came so far as that stage before.
    """
    new = new_pictures(store, profile)
    if outdated.get(RENDERING) in (lineage.NEVER, lineage.CHANGED):
        new |= {RENDERED: profile.rendered.pictures}
    found: dict[str, int] = {RENDERING: new.get(RENDERED, 0)}
    for stage, parents in _asked(profile).items():
        rows = pl.concat([_contents(store, table, sources) for table, sources in parents]).unique()
        again = outdated.get(stage) in (lineage.NEVER, lineage.CHANGED)
        known = rows.clear() if again else _contents(store, stage)
        found[stage] = rows.join(known, on=WHO, how="anti").height
        for table, sources in parents:
            found[stage] += sum(round(new.get(one, 0) * _share(store, table, one)) for one in sources)
    if profile.second_au_estimator is not None:
        found["annotator_agreement"] = found["au_annotation"] + found.get("disfa_readings", 0)
    trains = any(found.values()) or "training_set" in outdated
    for name, experiment in profile.experiments.items():
        anew = trains or f"trained_model/{name}" in outdated
        steps = getattr(experiment.train, "steps", 0) if anew else 0
        found["trained_model"] = found.get("trained_model", 0) + steps
        wanted = experiment.train.drawn_before
        if wanted is not None and (trains or f"class_images/{name}" in outdated):
            found["class_images"] = found.get("class_images", 0) + wanted.count
        for stage in (*SCORED, *(["identity_scores"] if profile.identity is not None else [])):
            if anew or f"{stage}/{name}" in outdated:
                found[stage] = found.get(stage, 0) + _pictures(store, f"{stage}/{name}", profile)
    return {stage: count for stage, count in found.items() if count}


def new_pictures(store: Store, profile: Profile) -> dict[str, int]:
    """How many picture files lie in each raw folder that its table does not name; sources without any are
    left out."""
    found = {}
    for source, folder in profile.raw:
        if folder is None or not Path(folder).is_dir():
            continue
        try:
            names = [name for name in listing.files(folder) if Path(name).suffix.lower() in probing.SUFFIXES]
        except RawDataError:
            continue
        table = f"raw_{source}"
        known = set() if store.version(table) is None else set(store.read(table, columns=["file"])["file"])
        found[source] = len({name for name in names if listing.sound(name)} - known)
    return {source: count for source, count in found.items() if count}


def _asked(profile: Profile) -> dict[str, list[tuple[str, tuple[str, ...]]]]:
    """The stages of the data set that ask a model about each row, and whose kept rows those are."""
    asked: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
    if not isinstance(profile.photorealism, VouchedPhotorealism):
        asked["photorealism"] = [("resolution", WEB)]
    asked["au_annotation"] = [("photorealism", WEB)]
    if profile.reads_labelled_frames:
        asked["disfa_readings"] = [("face_crop", FRAMES)]
    if not isinstance(profile.captions, SidecarCaptions):
        asked["captions"] = [("au_annotation", WEB), ("face_crop", FRAMES)]
    return asked | {"latents": [("training_set", SOURCES)]}


def _contents(store: Store, table: str, sources: tuple[str, ...] | None = None) -> pl.DataFrame:
    """What the kept rows of `sources` show; of a stage itself (no sources), all that it has looked at."""
    if store.version(table) is None:
        return pl.DataFrame(schema={WHO: pl.String})
    rows = store.read(table, columns=["source", "keep", WHO])
    if sources is not None:
        rows = rows.filter("keep", pl.col("source").is_in(sources))
    return rows.select(WHO).drop_nulls().unique()


def _share(store: Store, table: str, source: str) -> float:
    """The share of a source's raw rows that `table` keeps; all, where nothing is known of it."""
    raw = f"raw_{source}"
    if store.version(table) is None or store.version(raw) is None:
        return 1.0
    kept = store.read(table, columns=["source", "keep"]).filter("keep", source=source).height
    rows = store.read(raw, columns=["sample_id"]).height
    return kept / rows if rows else 1.0


def _pictures(store: Store, table: str, profile: Profile) -> int:
    """The rows of an experiment's table; before there is one, the protocol's samples."""
    if store.version(table) is not None:
        return int(store.history(table)[0]["metadata"]["rows"])
    return round(SAMPLES * (profile.evaluation.prompts or PROMPTS) / PROMPTS)
