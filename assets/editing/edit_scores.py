"""edit_scores and edit_fidelity: what judges read in the edits, and what these changed of their source."""

from typing import Any

import dagster as dg
import numpy as np
import polars as pl

from assets import calls, stage
from assets.editing import sheets
from assets.editing.sheets import FILES
from assets.measuring import embed, measure_by_all
from inference import images, questions
from settings.profile import Profile
from store import Store


@stage.asset(code_version="1", kinds={"torch"}, pool="gpu")
def edit_scores(
    context: dg.AssetExecutionContext,
    edited_samples: pl.DataFrame,
    store: dg.ResourceParam[Store],
    profile: dg.ResourceParam[Profile],
) -> dg.MaterializeResult:
    """The twelve intensities that each judge measures in every edit; null without a face."""
    edited = edited_samples.drop("model", "fingerprint")
    table, made, reused = measure_by_all(context, store, profile, edited)
    told = {name: judge.provider for name, judge in profile.judges.items()}
    return stage.result(table, model_calls=made, reused=reused, **told)


@stage.asset(code_version="1", kinds={"torch"}, pool="gpu")
def edit_fidelity(
    context: dg.AssetExecutionContext,
    edited_samples: pl.DataFrame,
    store: dg.ResourceParam[Store],
    profile: dg.ResourceParam[Profile],
) -> dg.MaterializeResult:
    """What every edit changed of its source: CLIP's cosine, pixels, and pixels outside of the face."""
    from evaluation import edits

    edited = edited_samples.drop("model", "fingerprint")
    sources = sheets.sources(edited)
    question = questions.outlines(profile.framing.model)
    outlines = calls.ask(context, store, question, sources, profile)
    seen = calls.ask(context, store, questions.embeddings(profile.evaluation.embedder), sources, profile)
    embedded, made, reused = embed(context, store, profile, edited)
    of_source = dict(zip(sources["source_index"], seen.frame["embedding"], strict=True))
    cosines = [
        float(np.dot(own, of_source[index]))
        for own, index in embedded.select("embedding", "source_index").iter_rows()
    ]
    faces = dict(zip(sources["source_index"], outlines.frame["outline"].to_list(), strict=True))
    table = embedded.drop("embedding").hstack(
        pl.DataFrame(
            [edits.fidelity(*one) for one in _opened(store, edited, faces)],
            schema=dict.fromkeys(("l1", "outside_l1", "outside_psnr"), pl.Float64),
        )
    )
    return stage.result(
        table.with_columns(pl.Series("clip_i", cosines)),
        model_calls=made + outlines.asked + seen.asked,
        reused=reused + outlines.reused + seen.reused,
        sources_without_face=sum(outline is None for outline in faces.values()),
    )


def _opened(store: Store, edited: pl.DataFrame, faces: dict[int, list[float] | None]) -> Any:
    """Source, edit and the face in the source of each row; a source is opened once a size."""
    from inference.faces import inside

    files = store.files(FILES)
    known: dict[tuple[int, int], tuple[np.ndarray, np.ndarray | None]] = {}
    wanted = edited.select("source_index", "source_kind", "source_file", "file")
    for index, kind, name, file in wanted.iter_rows():
        made = np.asarray(images.load(files.path(file)))
        size = made.shape[0]
        if (index, size) not in known:
            outline = faces[index]
            source = np.asarray(images.load(store.locate(kind, name), size))
            known[index, size] = source, None if outline is None else inside(outline, size)
        source, face = known[index, size]
        yield source, made, face
