"""disfa_readings and annotator_agreement: the labeller against manual labels and a second estimator."""

import dagster as dg
import polars as pl

import facs
import reasons
from assets import stage
from assets.data_set.au_annotation import annotate
from curation.frames import LABELS
from settings.profile import Profile
from store import Store

PAIRS = (("labeller", "second"), ("labeller", "manual"), ("second", "manual"))


@stage.asset(code_version="1", kinds={"polars", "torch"}, pool="gpu")
def disfa_readings(
    context: dg.AssetExecutionContext,
    raw_disfa: pl.DataFrame,
    face_crop: pl.DataFrame,
    store: dg.ResourceParam[Store],
    profile: dg.ResourceParam[Profile],
) -> dg.MaterializeResult:
    """What the labeller reads in manually labelled frames, beside the labels.

    Empty where nothing needs it, that is without a second estimator and without the recipe `calibrated`.
    """
    pictures = stage.kept(face_crop).select("sample_id", "source", "file_kind", "file", "content_hash")
    frames = raw_disfa.select("sample_id", "subject", *LABELS).join(
        pictures if profile.reads_labelled_frames else pictures.clear(),
        on="sample_id",
        maintain_order="left",
    )
    read, made, reused = annotate(context, store, profile.au_estimator, frames, profile)
    table = read.select(
        *frames.columns,
        *facs.COLUMNS,
        "faces",
        "model",
        "fingerprint",
        pl.col("reason_code").is_null().alias("keep"),
        *reasons.COLUMNS,
    )
    return stage.result(table, model_calls=made, reused=reused, needed=profile.reads_labelled_frames)


@stage.asset(code_version="1", kinds={"polars", "torch"}, pool="gpu")
def annotator_agreement(
    context: dg.AssetExecutionContext,
    au_annotation: pl.DataFrame,
    disfa_readings: pl.DataFrame,
    store: dg.ResourceParam[Store],
    profile: dg.ResourceParam[Profile],
) -> dg.MaterializeResult:
    """Agreement of the labeller, the second estimator and DISFA's coders, an AU and pair of them."""
    from evaluation import agreement, figures

    manual = disfa_readings.select(pl.col(LABELS).name.replace("^label_", ""))
    annotators = {
        "photographs": {"labeller": au_annotation},
        "DISFA": {"labeller": disfa_readings, "manual": manual},
    }
    made = reused = 0
    if profile.second_au_estimator is not None:
        for readings in annotators.values():
            pictures = readings["labeller"].select("file_kind", "file", "content_hash")
            found = annotate(context, store, profile.second_au_estimator, pictures, profile)
            readings["second"], made, reused = found[0], made + found[1], reused + found[2]
    parts = [
        agreement.compare(pictures, readings, [pair for pair in PAIRS if set(pair) <= set(readings)])
        for pictures, readings in annotators.items()
        if readings["labeller"].height
    ]
    table = pl.concat([agreement.AGREEMENT.to_frame(), *parts])
    described = {"agreement": stage.markdown(table), "faces": stage.markdown(_faces(annotators))}
    if table.height:
        described["picture"] = stage.picture(figures.agreement(table), "agreement of annotators")
    return stage.result(table, model_calls=made, reused=reused, **described)


def _faces(annotators: dict[str, dict[str, pl.DataFrame]]) -> pl.DataFrame:
    """In how many pictures each estimator found a face: where it found none, nothing was compared."""
    rows = [
        (pictures, name, table.height, table["reason_code"].null_count())
        for pictures, readings in annotators.items()
        for name, table in readings.items()
        if name != "manual"
    ]
    return pl.DataFrame(rows, schema=["pictures", "annotator", "count", "with a face"], orient="row")
