"""What the UI's catalogue says beside a table: which columns it was made of, who owns it, where the app shows
it. What a stage computes lives in its own file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import urlencode

import dagster as dg

import facs
import stages
from curation.frames import LABELS

APP = "FINEFACE_APP"
"""The environment variable that says where `fineface app` listens, if not at its usual place."""
USUAL_PLACE = "http://127.0.0.1:7860"
_CARRIED = {*stages.SAMPLE, *stages.PICTURE, *stages.SIZE, *stages.SUBJECT, *stages.BOX, *stages.LABELS}
_CARRIED |= {*stages.PROMPT} - {"experiment", "guidance"}
_CARRIED |= {*stages.EDIT} - {*stages.MODEL}
"""Columns that are handed on as they are, from the first table that a stage reads."""

_SEEN, _DRAWN = "content_hash", "file"
MADE_OF: Mapping[str, Mapping[str, Sequence[str]]] = {
    "photorealism": {
        **dict.fromkeys(
            ("cartoon_answer", "cartoon_score", "real_answer", "real_score"), (f"resolution.{_SEEN}",)
        ),
        "override": ("overrides.verdict",),
        "override_reason": ("overrides.reason",),
        "overruled_by": ("overrides.author",),
        "overruled_at": ("overrides.time",),
        "keep": ("photorealism.cartoon_score", "photorealism.real_score", "overrides.verdict"),
    },
    "au_annotation": dict.fromkeys(facs.COLUMNS, (f"photorealism.{_SEEN}",)),
    "disfa_readings": dict.fromkeys(facs.COLUMNS, (f"face_crop.{_SEEN}",)),
    "captions": {"caption": (f"face_crop.{_SEEN}", "raw_folder.raw_caption", "raw_rendered.raw_caption")},
    "au_corrections": {
        **{
            column: (f"au_annotation.{column}", "au_statistics.minimum", "au_statistics.maximum")
            for column in facs.COLUMNS
        },
        **{f"{column}_raw": (f"au_annotation.{column}",) for column in facs.COLUMNS},
    },
    "training_set": {
        **{
            column: (
                f"au_corrections.{column}",
                f"raw_disfa.{label}",
                f"raw_rendered.{label}",
                "overrides.value",
            )
            for column, label in zip(facs.COLUMNS, LABELS, strict=True)
        },
        **{column: (f"au_corrections.{column}", f"face_crop.{column}") for column in stages.PICTURE},
        "overruled": ("overrides.au",),
        "caption": ("captions.caption",),
        "subject": ("raw_disfa.subject", "raw_folder.subject", "raw_rendered.subject"),
    },
    "latents": dict.fromkeys(("file", "row"), (f"training_set.{_SEEN}",)),
    "generated_samples": {
        **dict.fromkeys(("sample_id", "file_kind", *facs.COLUMNS), ()),
        "prompt": ("training_set.caption",),
        _DRAWN: ("trained_model.model_hash",),
    },
    "au_scores": {f"measured_{column}": (f"generated_samples.{_DRAWN}",) for column in facs.COLUMNS},
    "clip_scores": dict.fromkeys(("clip_i", "clip_i_base", "clip_t"), (f"generated_samples.{_DRAWN}",)),
    "identity_scores": dict.fromkeys(("identity_distance", "same_person"), (f"generated_samples.{_DRAWN}",)),
    "realism_scores": {"value": (f"generated_samples.{_DRAWN}", f"training_set.{_SEEN}")},
    "edited_samples": {
        **dict.fromkeys(("sample_id", "file_kind"), ()),
        **{f"source_{column}": (f"training_set.{column}",) for column in facs.COLUMNS},
        "source_id": ("training_set.sample_id",),
        "source_kind": ("training_set.file_kind",),
        "source_file": ("training_set.file",),
        "source_hash": (f"training_set.{_SEEN}",),
        **dict.fromkeys((_DRAWN, "kept"), ("trained_editors.model_hash", f"training_set.{_SEEN}")),
    },
    "edit_scores": {f"measured_{column}": (f"edited_samples.{_DRAWN}",) for column in facs.COLUMNS},
    "edit_fidelity": dict.fromkeys(
        ("clip_i", "l1", "outside_l1", "outside_psnr"),
        (f"edited_samples.{_DRAWN}", "edited_samples.source_hash"),
    ),
    "edit_identity": dict.fromkeys(
        ("identity_distance", "same_person"), (f"edited_samples.{_DRAWN}", "edited_samples.source_hash")
    ),
    "edit_realism": {"value": (f"edited_samples.{_DRAWN}", f"training_set.{_SEEN}")},
}
"""Of columns that are not handed on as they are, the columns that they were made of, as "stage.column"; none
for the stage's own."""


def owners(stage: stages.Stage) -> list[str]:
    """Who looks after a stage: the team of its group."""
    return [f"team:{stage.group.value}"]


def columns(stage: str, names: Iterable[str], tables: Sequence[str]) -> dg.TableColumnLineage | None:
    """What each of the columns `names` of a stage that reads `tables` was made of; None where that is of
    nothing that is declared."""
    made = MADE_OF.get(stage, {})
    found = {}
    for name in names:
        sources = list(made.get(name, ()))
        if name not in made and name in _CARRIED:
            first = next((table for table in tables if name in stages.named(table).columns), None)
            sources = [f"{first}.{name}"] if first else []
        if sources:
            parts = (source.partition(".") for source in sources)
            found[name] = [dg.TableColumnDep(dg.AssetKey(table), column) for table, _, column in parts]
    return dg.TableColumnLineage(found) if found else None


def view(stage: stages.Stage, partition: str | None = None) -> str:
    """The address of the app's view of a stage's table, or of that of one experiment."""
    place = _place()
    if stage.name == "trained_model":
        return f"{place}/?{urlencode({'experiment': partition})}" if partition else f"{place}/"
    if stage.group == stages.Group.EDITING:
        return f"{place}/edit"
    if stage.group in (stages.Group.EXPERIMENT, stages.Group.RESULTS):
        return f"{place}/results"
    if stage.name in stages.FUNNEL and stage.name != "training_set":
        return f"{place}/audit?{urlencode({'stage': stage.name})}"
    return f"{place}/audit?overruled=yes" if stage.name == "overrides" else f"{place}/data"


def report() -> str:
    """The address of the report in the app."""
    return f"{_place()}/report"


def _place() -> str:
    return os.environ.get(APP, USUAL_PLACE).rstrip("/")
