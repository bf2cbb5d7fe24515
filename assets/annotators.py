"""The models that a profile chooses, as stages ask them: which columns an answer has, and who gives it.

The contracts of the abilities live in `inference.abilities`, the memo in `assets.calls`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import dagster as dg
import polars as pl

import facs
import reasons

if TYPE_CHECKING:
    from inference.environments import Worker

CAPTION = {"caption": pl.String}
EMBEDDING = {"embedding": pl.List(pl.Float32)}
FACE = {**dict.fromkeys(("face_x", "face_y", "face_width", "face_height"), pl.Float64), "faces": pl.Int64}
"""The fields of an `inference.abilities.Face`."""
LOOK = {"perceptual_hash": pl.String}
READING = {
    **dict.fromkeys(facs.COLUMNS, pl.Float64),
    "faces": pl.Int64,
    "face_box": pl.List(pl.Float64),
    "head_pose": pl.List(pl.Float64),
    "clamped": pl.List(pl.Int64),
    **dict.fromkeys(reasons.COLUMNS, pl.String),
}
"""The fields of an `inference.abilities.Reading`."""


class Model(NamedTuple):
    """A provider as a stage needs it. `read` takes requests (`key`, `path`) and gives a row for each, in any
    order: its `key` and the answer's columns, or its `key` and `problem`, why its picture does not decode.
    """

    name: str
    fingerprint: str
    read: Callable[[pl.DataFrame], Iterator[dict[str, Any]]]


Foreign = Callable[[dg.AssetExecutionContext, str, Mapping[str, Any]], Model]


def answers(
    context: dg.AssetExecutionContext, settings: Mapping[str, Any], questions: Mapping[str, str]
) -> Model:
    """Who answers yes/no questions: `<name>_answer`, verbatim, and `<name>_score`, P(yes), for each."""

    def row(found: Mapping[str, Any]) -> dict[str, Any]:
        said = {f"{name}_answer": found[text].text for name, text in questions.items()}
        return said | {f"{name}_score": found[text].score for name, text in questions.items()}

    if settings["provider"] in FOREIGN:
        request = {**settings, "questions": dict(questions)}
        return FOREIGN[settings["provider"]](context, "answers", request)
    return _here("answers", settings, lambda model, batch: model.ask_all(batch, [*questions.values()]), row)


def answer_columns(questions: Mapping[str, str]) -> dict[str, type[pl.DataType]]:
    """The columns of `answers`."""
    return dict.fromkeys((f"{name}_answer" for name in questions), pl.String) | dict.fromkeys(
        (f"{name}_score" for name in questions), pl.Float64
    )


def captions(context: dg.AssetExecutionContext, settings: Mapping[str, Any]) -> Model:
    """Who writes captions: CAPTION."""
    if settings["provider"] in FOREIGN:
        return FOREIGN[settings["provider"]](context, "captions", settings)
    return _here(
        "captions", settings, lambda model, batch: model.caption(batch), lambda text: {"caption": text}
    )


def action_units(context: dg.AssetExecutionContext, settings: Mapping[str, Any]) -> Model:
    """Who reads action units: READING."""

    def row(reading: Any) -> dict[str, Any]:
        said = reading._asdict()
        return dict(zip(facs.COLUMNS, said.pop("intensities"), strict=True)) | said

    if settings["provider"] in FOREIGN:
        return FOREIGN[settings["provider"]](context, "action_units", settings)
    return _here("action_units", settings, lambda model, batch: model.estimate(batch), row)


def faces(settings: Mapping[str, Any]) -> Model:
    """Who finds faces: FACE."""
    return _here("faces", settings, lambda model, batch: model.find(batch), lambda face: face._asdict())


def embeddings(settings: Mapping[str, Any]) -> Model:
    """Who embeds pictures: EMBEDDING, of length 1."""
    return _here(
        "embeddings",
        settings,
        lambda model, batch: model.embed_images(batch),
        lambda embedding: {"embedding": embedding.tolist()},
    )


def looks() -> Model:
    """What pictures look like, whatever their size and format: LOOK."""
    from inference.perceptual import PerceptualHash

    return _threaded(PerceptualHash(), lambda _, batch: batch, lambda text: {"perceptual_hash": text})


def _here(
    ability: str,
    settings: Mapping[str, Any],
    ask: Callable[[Any, list], Sequence[Any]],
    row: Callable[[Any], dict[str, Any]],
) -> Model:
    """A provider in this process."""
    from inference import abilities

    return _threaded(abilities.build(ability, settings), ask, row)


def _threaded(
    model: Any, ask: Callable[[Any, list], Sequence[Any]], row: Callable[[Any], dict[str, Any]]
) -> Model:
    """Pictures are decoded and prepared in threads ahead of `model`."""
    from inference import images

    def read(requests: pl.DataFrame) -> Iterator[dict[str, Any]]:
        keys, paths = requests["key"].to_list(), requests["path"].to_list()
        yield from images.rows_ahead(
            keys, paths, lambda batch: [*map(row, ask(model, batch))], model.batch_size, model.prepare
        )

    return Model(model.name, model.fingerprint, read)


def _there(context: dg.AssetExecutionContext, model: Any, worker: Worker) -> Model:
    """A provider in an environment of its own: `worker` answers for `model`."""
    from assets import workers

    return Model(model.name, model.fingerprint, lambda missing: workers.answers(context, worker, missing))


def _lavis(context: dg.AssetExecutionContext, ability: str, request: Mapping[str, Any]) -> Model:
    """BLIP-2 through LAVIS: answers and captions."""
    from inference.lavis import Lavis

    model = Lavis(request["model"], request["weights"], request["precision"], request.get("batch_size"))
    return _there(context, model, model.worker(request["questions"] if ability == "answers" else None))


def _libreface(context: dg.AssetExecutionContext, ability: str, request: Mapping[str, Any]) -> Model:
    """AU intensities by LibreFace."""
    from inference.libreface import LibreFace

    model = LibreFace(**{name: value for name, value in request.items() if name != "provider"})
    return _there(context, model, model.worker)


FOREIGN: dict[str, Foreign] = {"lavis": _lavis, "libreface": _libreface}
"""Providers in environments of their own, called with the context, the ability and the request: the profile's
settings, and for "answers" the `questions` by name."""
