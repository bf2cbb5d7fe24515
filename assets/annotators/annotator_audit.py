"""annotator_audit: every estimator against rendered faces of known intensities."""

from typing import Any

import dagster as dg
import polars as pl

from assets import calls, pictures, stage
from assets.data_set.au_annotation import annotate
from inference import abilities, questions
from settings.profile import Profile
from store import Store


@stage.asset(code_version="1", kinds={"polars", "torch"}, pool="gpu")
def annotator_audit(
    context: dg.AssetExecutionContext, store: dg.ResourceParam[Store], profile: dg.ResourceParam[Profile]
) -> dg.MaterializeResult:
    """What each estimator reads in rendered faces of known intensities: an error with the truth known.

    Rendered faces are not photographs: what an estimator cannot read here it will hardly read there, and what
    it reads here it need not.
    """
    from evaluation import annotator_audit as audit
    from evaluation import figures

    renderer = abilities.build("known_faces", profile.audit.model_dump())
    plan = renderer.plan()
    question = questions.renderings(renderer, plan, store.files(questions.RENDERINGS))
    shown = calls.ask(context, store, question, plan, profile)
    content = pl.col("file").str.head(32).alias("content_hash")
    truth = shown.frame.select(*plan.columns, "file_kind", "file", content)
    made, reused = shown.asked, shown.reused
    tables: list[pl.DataFrame] = []
    told: dict[str, Any] = {}
    for name, estimator in (("labeller", profile.au_estimator), ("second", profile.second_au_estimator)):
        if estimator is None:
            continue
        faces = truth.select("picture_id", "file_kind", "file", "content_hash")
        read, asked, known = annotate(context, store, estimator, faces, profile)
        table = audit.joined(truth, read).with_columns(read.select("model", "fingerprint"))
        tables.append(table.select(pl.lit(name).alias("annotator"), pl.all()))
        told[name] = stage.markdown(audit.by_au(table))
        made, reused = made + asked, reused + known
    curves = {table["annotator"][0]: audit.curves(table) for table in tables}
    alone = pictures.spread(truth.filter(kind="alone", person=0))
    paths = store.located(alone)["path"].to_list()
    return stage.result(
        pl.concat(tables),
        model_calls=made,
        reused=reused,
        **told,
        responses=stage.picture(figures.intensity_curves(curves), "read against rendered intensities"),
        sheet=stage.picture(pictures.contact_sheet(paths), "rendered faces"),
    )
