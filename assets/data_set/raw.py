"""raw_affectnet, raw_disfa, raw_folder, raw_rendered: what there is, as frames tables with the bad rows."""

from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

import facs
import reasons
import stages
from assets import calls, pictures, stage
from assets.data_set import forgotten as people
from curation import forgotten, frames, training_set
from curation.sources import affectnet, disfa, folder
from inference import abilities, questions
from provenance import forgetting
from reasons import Kind
from settings.profile import Profile
from store import HashCache, Store, file_system


@stage.asset(code_version="2", kinds={"polars"}, deps=[people.forgotten])
def raw_affectnet(
    context: dg.AssetExecutionContext, store: dg.ResourceParam[Store], profile: dg.ResourceParam[Profile]
) -> dg.MaterializeResult:
    """AffectNet: one row a line of its lists (2017 release, unpacked or in RAR parts), or one a crop."""
    raw = _here(context, profile.raw.affectnet)
    if raw is None:
        return _not_used(store)
    table = affectnet.read(
        raw,
        HashCache(store).hash_readable_files,
        store.memo("probes"),
        min_side=profile.resolution.min_side,
        store=store,
        progress=calls.logged(context, "members of the archive"),
        say=context.log.info,
    )
    return _described(store, table, raw)


@stage.asset(code_version="2", kinds={"polars"}, deps=[people.forgotten])
def raw_disfa(
    context: dg.AssetExecutionContext, store: dg.ResourceParam[Store], profile: dg.ResourceParam[Profile]
) -> dg.MaterializeResult:
    """DISFA: one row a labelled frame, extracted into the store; of frames without an active AU about a
    tenth.
    """
    raw = _here(context, profile.raw.disfa)
    if raw is None:
        return _not_used(store)
    found: list[str] = []
    table = disfa.read(
        raw,
        store.files("frames"),
        HashCache(store).hash_readable_files,
        store.home / "files" / "videos",
        cameras=profile.disfa.cameras,
        exclude_faulty=profile.disfa.exclude_faulty,
        first_frame=profile.disfa.first_frame,
        first_label=profile.disfa.first_label,
        memo=store.memo("probes"),
        say=context.log.info,
        note=found.append,
    )
    settings = profile.disfa
    drawn = training_set.draw_no_au(
        table, settings.no_au_share, settings.seed, share_of=settings.neutral_share_of
    )
    notes = stage.listed(found)
    return _described(store, drawn, raw, pictures_found=notes)


@stage.asset(code_version="1", kinds={"polars"}, deps=[people.forgotten])
def raw_folder(
    context: dg.AssetExecutionContext, store: dg.ResourceParam[Store], profile: dg.ResourceParam[Profile]
) -> dg.MaterializeResult:
    """Any folder of portraits, with the captions that lie beside them."""
    raw = _here(context, profile.raw.folder)
    if raw is None:
        return _not_used(store)
    found = folder.read(raw, HashCache(store).hash_readable_files, store.memo("probes"))
    return _described(store, found, raw)


@stage.asset(code_version="1", kinds={"polars"}, deps=[people.forgotten])
def raw_rendered(
    context: dg.AssetExecutionContext, store: dg.ResourceParam[Store], profile: dg.ResourceParam[Profile]
) -> dg.MaterializeResult:
    """Rendered faces with exact intensities, every AU alike often at each, and captions that say nothing of
    the expression. Each is rendered once.
    """
    settings = profile.rendered.chosen
    if not settings["pictures"]:
        return _not_used(store)
    side = profile.base.size
    renderer = abilities.build("known_faces", {**settings, "side": side})
    plan = renderer.plan()
    question = questions.renderings(renderer, plan.drop("caption"), store.files(questions.RENDERINGS))
    shown = calls.ask(context, store, question, plan, profile)
    person = pl.col("person").cast(pl.String)
    rows = store.located(shown.frame).select(
        pl.format(f"{stages.RENDERED}/{{}}", "picture_id").alias("sample_id"),
        pl.lit(stages.RENDERED).alias("source"),
        "path",
        pl.format("{}: person {}, {}, {}, {}", "model", person, "gender", "age", "skin").alias("origin"),
        pl.col("file").str.strip_suffix(".png").alias("content_hash"),
        pl.lit(side).alias("width"),
        pl.lit(side).alias("height"),
        person.alias("subject"),
        *frames.LABELS,
        pl.col("caption").alias("raw_caption"),
        *frames.KEPT,
    )
    table = frames.finished(rows)
    return _described(
        store,
        table,
        None,
        model_calls=shown.asked,
        reused=shown.reused,
        action_units=stage.markdown(shown_intensities(table)),
        people=stage.markdown(
            plan.group_by("skin", "age", "gender").agg(_people).sort("skin", "age", "gender")
        ),
    )


_people = pl.col("person").n_unique().alias("people")


def shown_intensities(table: pl.DataFrame) -> pl.DataFrame:
    """In how many pictures each AU has each intensity, and in how many it is the only one."""
    active = pl.sum_horizontal(pl.col(label) > 0 for label in frames.LABELS)
    return pl.DataFrame(
        {
            "AU": f"AU{au} {facs.NAMES[au]}",
            **{str(level): int((table[label] == level).sum()) for level in range(1, int(facs.MAXIMUM) + 1)},
            "alone": table.filter(pl.col(label) > 0, active == 1).height,
        }
        for au, label in zip(facs.ACTION_UNITS, frames.LABELS, strict=True)
    )


def _here(context: dg.AssetExecutionContext, raw: Path | None) -> Path | None:
    """The folder of raw data; one in a bucket is first brought up to date here."""
    if raw is not None and file_system.is_elsewhere(raw):
        context.log.info(f"fetching what is new in {file_system.address(raw)}")
        file_system.local(raw)
    return raw


def _not_used(store: Store) -> dg.MaterializeResult:
    note = "none: the profile does not use this source"
    return stage.result(store.named(frames.finished([])), folder=note)


def _described(store: Store, found: pl.DataFrame, raw: Path | None, **metadata: Any) -> dg.MaterializeResult:
    """The table names files by what they are, and speaks of them so: no path of this machine is in it."""
    texts = pl.col("origin", "reason_detail")
    for place in filter(None, (raw, store.home / "files")):
        found = found.with_columns(texts.str.replace_all(f"{place}/", "", literal=True))
    table = store.named(found)
    tombstones = people.read(store)
    back = forgotten.returned(table, tombstones)
    if back.height:  # what was read of them just now
        forgetting.erase(store, forgetting.traces(store, back["sample_id"].to_list(), back))
        table = forgotten.drop(table, tombstones)
        found = found.join(back, on="sample_id", how="anti", maintain_order="left")
    where = None if raw is None else dg.MetadataValue.path(raw)
    return stage.result(table, folder=where, **metadata, **pictures.sheets(found))


def _checks(asset: dg.AssetsDefinition) -> list[dg.AssetChecksDefinition]:
    name = asset.key.path[-1]

    @stage.asset_check(
        asset=asset,
        name=f"{name}_not_empty",
        blocking=True,
        description="A source that the profile uses has usable pictures.",
    )
    def not_empty(table: pl.DataFrame, profile: dg.ResourceParam[Profile]) -> dg.AssetCheckResult:
        kept, used = stage.kept(table).height, name.removeprefix("raw_") in profile.sources
        return stage.check(kept > 0 or not used, kept=kept, used=used)

    @stage.asset_check(
        asset=asset,
        name=f"{name}_quarantine_small",
        description="The share of unusable rows stays below the limit; rows left out by rule do not count.",
    )
    def quarantine_small(table: pl.DataFrame, profile: dg.ResourceParam[Profile]) -> dg.AssetCheckResult:
        share = stage.share(table["reason_code"].is_in(reasons.of_kind(Kind.UNUSABLE)).fill_null(False))
        limit = profile.limits["quarantined"]
        return stage.check(share <= limit, dg.AssetCheckSeverity.WARN, share=share, limit=limit)

    return [not_empty, quarantine_small]


checks = [check for asset in (raw_affectnet, raw_disfa, raw_folder, raw_rendered) for check in _checks(asset)]
