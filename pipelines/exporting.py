"""A home's data set as a folder for other tools: files, Croissant, cards. Formats and words live in
`exports`."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from exports import cards, croissant, formats, licences, samples
from exports.cards import Model
from exports.licences import Terms
from exports.samples import Samples
from settings.profile import Profile
from store import Store, file_system
from store.file_system import DRAFT
from store.hashing import fingerprint

FORMATS = {
    "parquet": formats.write_parquet,
    "webdataset": formats.write_webdataset,
    "fiftyone": formats.write_folder,
}
"""What writes each format."""


class ExportError(ValueError):
    """An export cannot be written as asked; the message says why."""


def export(
    store: Store,
    profile: Profile,
    folder: Path,
    form: str = "parquet",
    *,
    own_use: bool = False,
    with_pictures: bool = True,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Samples, dict[str, Terms]]:
    """Write the latest training set to `folder`, which is absent or empty; it appears when all of it is
    written.

    What a killed export wrote is found and kept by the next one of the same data set and format. `progress`
    is called with samples written and all of them. Raises ExportError, exports.licences.NotPassedOn,
    exports.pictures.ChangedPicture, and MissingTable for a home without a training set.
    """
    if form not in FORMATS:
        raise ExportError(f"no format {form!r}; there are {', '.join(FORMATS)}")
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise ExportError(f"{folder} is there and not empty: an export needs a folder of its own")
    if not with_pictures and form != "parquet":
        raise ExportError(f"{form} is made of pictures: --without-pictures goes with parquet")
    found = samples.read(store)
    if found.frame.is_empty():
        raise ExportError(f"the training set of {store.home} has no kept sample: there is nothing to export")
    sources = found.frame["source"].unique().sort().to_list()
    terms = {name: licences.terms(name, getattr(profile.raw, name, None)) for name in sources}
    licences.check(terms.values(), own_use)
    half = _draft(folder, store, found, form, with_pictures)
    done = 0

    def wrote(number: int) -> None:
        nonlocal done
        done += number
        progress(done, found.frame.height)

    if form == "parquet":
        formats.write_parquet(half, found, wrote, with_pictures)
    else:
        FORMATS[form](half, found, wrote)
    agreement = list(_agreement(store, profile.corrections.recipe))
    said = croissant.metadata(profile.title, half, found, terms, agreement, with_pictures)
    file_system.write(half / croissant.FILE, json.dumps(said, indent=1, ensure_ascii=False))
    blind = _blind_spots(found)
    card = cards.data_set(
        profile.title, profile.notice, form, half, found, terms, agreement, blind, with_pictures
    )
    file_system.write(half / "README.md", card)
    for about in _models(store):
        page = cards.model(profile.title, profile.notice, found, terms.values(), blind, about)
        file_system.write(half / "models" / f"{about.experiment}.md", page)
    if folder.is_dir():
        folder.rmdir()
    half.rename(folder)
    return found, terms


def _draft(folder: Path, store: Store, found: Samples, form: str, with_pictures: bool) -> Path:
    """The folder beside `folder` that is written to; drafts of other exports are removed."""
    key = fingerprint(
        home=str(store.home), samples=store.content_hash("training_set"), form=form, pictures=with_pictures
    )
    half = folder.with_name(f"{DRAFT}{folder.name}.{key[:12]}")
    for other in folder.parent.glob(f"{DRAFT}{folder.name}.*"):
        if other != half and other.is_dir():
            shutil.rmtree(other)
    return file_system.make_folder(half)


def _agreement(store: Store, recipe: str) -> Iterator[str]:
    """Sentences on how far annotators agree, and how far the recipe's labels lie from manual ones."""
    if store.version("annotator_agreement") is not None:
        table = store.read("annotator_agreement").filter(pl.col("icc").is_not_nan())
        for part in table.partition_by("pictures", "first", "second", maintain_order=True):
            row, icc = part.row(0, named=True), part.sort("icc")
            yield (
                f"On {row['pictures']} ({_largest(part, 'n'):,}), {_short(row['first'])} and "
                f"{_short(row['second'])} agree with an ICC(3,1) of {icc['icc'][0]:.2f} (AU{icc['au'][0]}) "
                f"to {icc['icc'][-1]:.2f} (AU{icc['au'][-1]}) over {part.height} action units."
            )
    if store.version("recipe_errors") is not None:
        table = store.read("recipe_errors").drop_nulls("mae")
        for name in ("uncorrected", recipe):
            part = table.filter(recipe=name)
            if part.height:
                yield (
                    f"Labels by “{name}” lie {np.mean(part['mae'].to_list()):.2f} from manual ones on "
                    f"average: mean absolute error over {part.height} action units and "
                    f"{_largest(part, 'frames'):,} frames, of subjects it was not fitted on."
                )


def _blind_spots(found: Samples) -> list[str]:
    """What the labeller is known not to see, in a sentence."""
    from inference.abilities import BLIND_SPOTS

    provider = found.setting("training_set", "au_estimator.provider")
    return [f"The labeller ({provider}): {BLIND_SPOTS[provider]}."] if provider in BLIND_SPOTS else []


def _largest(table: pl.DataFrame, column: str) -> int:
    return max(table[column].to_list())


def _short(annotator: Any) -> str:
    """An annotator's name without the folder of this machine it may begin with."""
    return re.sub(r"(?:/[^\s/]+)+/", "", str(annotator))


def _models(store: Store) -> Iterator[Model]:
    """What is known of every trained model of the home."""
    for table in store.stages("trained_model"):
        row = store.read(table).row(0, named=True)
        if row["folder"] is None:
            continue
        said = store.history(table)[0]["metadata"]
        settings = samples.plain(json.loads(said.get("settings") or "{}"))
        name, chosen = row["experiment"], f"guidance_curve/{row['experiment']}"
        yield Model(
            experiment=name,
            method=row["method"],
            base=str(settings.get("base", {}).get("model")),
            folder=row["folder"],
            model_hash=row["model_hash"],
            samples=row["samples"],
            steps=row["steps"],
            loss=row["final_loss"],
            data_set=json.loads(said.get("upstream") or "{}").get("training_set", -1),
            settings=settings.get("experiments", {}).get(name, {}).get("train", {}),
            guidance=_guidance(store, chosen),
            judge=_judge(store, name),
            measured=_measured(store, name),
        )


def _guidance(store: Store, table: str) -> float | None:
    from evaluation import guidance

    return guidance.chosen(store.read(table)) if store.version(table) is not None else None


def _judge(store: Store, experiment: str) -> str:
    from assets.results.results import judged_by

    table = f"au_scores/{experiment}"
    if store.version(table) is None:
        return ""
    first = store.read(table).filter(judge=_first_judge(store, experiment))
    return judged_by(first, store.read("au_annotation", columns=["fingerprint"]))


def _first_judge(store: Store, experiment: str) -> str:
    """Who measured first, by whom guidance was chosen: au_scores has those rows on top."""
    table = f"au_scores/{experiment}"
    return str(store.read(table)["judge"][0]) if store.version(table) is not None else "labeller"


def _measured(store: Store, experiment: str) -> list[dict[str, str]]:
    """The rows of `results` of an experiment, a measure a row, as text."""
    from evaluation import tables

    if store.version("results") is None:
        return []
    found = store.read("results").filter(experiment=experiment)
    found = found.filter(pl.col("judge").is_in([_first_judge(store, experiment), "clip"]))
    cells = {(row["kind"], row["metric"]): row for row in found.iter_rows(named=True)}
    rows = []
    for metric, definition in tables.DEFINITIONS.items():
        texts = {kind: tables.format_estimate(metric, cells.get((kind, metric))) for kind in tables.KINDS}
        if any(texts.values()):
            rows.append({"label": definition.label, **texts})
    return rows
