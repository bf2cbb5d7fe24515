"""edited_samples: what every editor makes of the held-out pictures."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from assets import calls, stage
from assets.editing import sheets
from assets.editing.sheets import FILES
from assets.fitting import JOB
from inference import questions
from settings.profile import Profile
from store import Store, file_system
from store.trained import model_here

if TYPE_CHECKING:
    from inference.abilities import Editor


@stage.asset(code_version="1", kinds={"torch"}, pool="gpu")
def edited_samples(
    context: dg.AssetExecutionContext,
    trained_editors: pl.DataFrame,
    training_set: pl.DataFrame,
    store: dg.ResourceParam[Store],
    profile: dg.ResourceParam[Profile],
) -> dg.MaterializeResult:
    """A picture for every editor, held-out picture and AU vector of `evaluation.edit_protocol`; `file` names
    it, `source_file` the picture that it was made of.
    """
    from evaluation import edit_protocol

    found = edit_protocol.sources(training_set, profile.editing.pictures, profile.editing.seed)
    edits = edit_protocol.build(found, profile.editing.strengths)
    asked = edit_protocol.targets(edits).with_columns(
        pl.concat_list(edit_protocol.SOURCE).alias("source"),
        pl.col("file_kind").alias("source_kind"),
        pl.col("file").alias("source_file"),
        pl.col("content_hash").alias("source_hash"),
    )
    tables, made, reused = [], 0, 0
    told: dict[str, Any] = {}
    for row in trained_editors.to_dicts():
        question = questions.edits(editor(store, profile, row), store.files(FILES))
        answers = calls.ask(context, store, question, asked, profile)
        table = calls.readable(answers.frame).drop(
            "target", "source", "content_hash", "reason_code", "reason_detail"
        )
        tables.append(table.select(pl.lit(row["editor"]).alias("editor"), pl.all()))
        made, reused = made + answers.asked, reused + answers.reused
        told[row["editor"]] = stage.picture(sheets.of_editor(store, tables[-1]), row["editor"])
    return stage.result(pl.concat(tables), model_calls=made, reused=reused, **told)


def editor(store: Store, profile: Profile, trained: Mapping[str, Any]) -> "Editor":
    """Who edits with the model `trained`, a row of its table. Raises CorruptFile for one that is no longer
    what was trained."""
    from methods.editing import editor as editors
    from training.job import TrainingJob

    settings = profile.editing.editors[trained["editor"]]
    folder = None if trained["folder"] is None else model_here(store.home, trained["folder"])
    adapter = None
    if settings.adapter is not None:
        adapter = TrainingJob.read(file_system.local((store.home / trained["folder"]).parents[1] / JOB)).train
    material = editors.Material(
        folder=folder,
        model_hash=trained["model_hash"],
        adapter=adapter,
        base=profile.base,
        faces=profile.framing.model,
        batch_size=profile.editing.batch_size,
    )
    return editors.editor(settings, material)
