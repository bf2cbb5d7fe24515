"""edit_identity: whether edits still show the person of their source."""

import dagster as dg
import polars as pl

from assets import stage
from assets.drawing import content
from assets.editing import sheets
from assets.measuring import descriptors
from settings.profile import Profile
from store import Store


@stage.asset(code_version="1", pool="gpu")
def edit_identity(
    context: dg.AssetExecutionContext,
    edited_samples: pl.DataFrame,
    store: dg.ResourceParam[Store],
    profile: dg.ResourceParam[Profile],
) -> dg.MaterializeResult:
    """How far apart the faces of every edit and its source are, and whether they are one person's. Empty
    where the profile names nobody who knows faces.
    """
    from evaluation import partners

    edited = edited_samples.drop("model", "fingerprint")
    seen, seen_now, seen_before = descriptors(context, store, profile, sheets.sources(edited))
    pictures = edited.with_columns(content())
    described, made, reused = descriptors(context, store, profile, pictures)
    of_source = seen.select("source_index", _of_source="descriptor")
    pairs = described.join(of_source, on="source_index", how="left", maintain_order="left", validate="m:1")
    faces = partners.faces(pairs["descriptor"], pairs["_of_source"])
    table = described.drop("content_hash", "descriptor").with_columns(faces)
    return stage.result(
        table,
        model_calls=made + seen_now,
        reused=reused + seen_before,
        needed=profile.identity is not None,
        same_person=table["same_person"].mean(),
    )
