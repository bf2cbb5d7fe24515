"""The questions that stages ask: which model a profile's settings choose for each, and what an answer holds.

The contracts of the abilities live in `inference.abilities`, asking itself in `inference.asking`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import polars as pl

import facs
import reasons
from inference import devices, images
from inference.asking import Question
from picture_files import ContentError
from store import Files

if TYPE_CHECKING:
    from inference.abilities import Editor, FaceRenderer
    from inference.autoencoder import Autoencoder
    from inference.environments import Worker
    from inference.generation import Generator

CAPTION = {"caption": pl.String}
EMBEDDING = {"embedding": pl.List(pl.Float32)}
DESCRIPTOR = {"descriptor": pl.List(pl.Float64)}
LOOK = {"perceptual_hash": pl.String}
READING: dict[str, pl.DataType | type[pl.DataType]] = {
    **dict.fromkeys(facs.COLUMNS, pl.Float64),
    "faces": pl.Int64,
    "rival": pl.Float64,
    "face_box": pl.List(pl.Float64),
    "head_pose": pl.List(pl.Float64),
    "clamped": pl.List(pl.Int64),
    **dict.fromkeys(reasons.COLUMNS, pl.String),
}
"""The fields of an `inference.abilities.Reading`."""
FACE = {
    **dict.fromkeys(("face_x", "face_y", "face_width", "face_height"), pl.Float64),
    "faces": pl.Int64,
}
"""The fields of an `inference.abilities.Face`."""
PICTURE = {"file": pl.String}
EDITED = {"file": pl.String, "kept": pl.Float64}
OUTLINE = {"outline": pl.List(pl.Float64)}
PLACE = {"file": pl.String, "row": pl.Int64}
RENDERINGS = "renderings"
"""The memo of rendered faces, and the kind of their files."""
SHARD = 256
"""Pictures whose latents lie in one file."""


def answers(settings: Mapping[str, Any], questions: Mapping[str, str]) -> Question:
    """Yes/no questions about a picture: `<name>_answer`, verbatim, and `<name>_score`, P(yes), for each."""
    asked = dict(questions)
    model = _chosen("answers", settings, partial(_ask_all, questions=asked), partial(_said, asked), asked)
    return Question("photorealism", model, answer_columns(questions), settings={"questions": dict(questions)})


def answer_columns(questions: Mapping[str, str]) -> dict[str, type[pl.DataType]]:
    """The columns of `answers`."""
    return dict.fromkeys((f"{name}_answer" for name in questions), pl.String) | dict.fromkeys(
        (f"{name}_score" for name in questions), pl.Float64
    )


def captions(settings: Mapping[str, Any]) -> Question:
    """What a picture shows, in words: CAPTION."""
    return Question("captions", _chosen("captions", settings, _caption, _captioned), CAPTION)


def action_units(settings: Mapping[str, Any]) -> Question:
    """Which action units a face shows: READING."""
    return Question("action_units", _chosen("action_units", settings, _estimate, _read), READING)


def embeddings(settings: Mapping[str, Any]) -> Question:
    """Where a picture lies in the space of an embedder: EMBEDDING, of length 1."""
    return Question("clip_embeddings", _chosen("embeddings", settings, _embed, _embedded), EMBEDDING)


def text_embeddings(settings: Mapping[str, Any]) -> Question:
    """Where a prompt lies in the space of an embedder: EMBEDDING, of length 1."""
    from inference import abilities

    model = EmbeddingTexts(abilities.build("embeddings", settings))
    return Question("clip_text_embeddings", model, EMBEDDING, about=("prompt",))


def identities(settings: Mapping[str, Any]) -> Question:
    """Whose face a picture shows: DESCRIPTOR, null without a face."""
    return Question("identities", _chosen("identity", settings, _describe, _described), DESCRIPTOR)


def faces(settings: Mapping[str, Any]) -> Question:
    """Where the largest face in a picture is: FACE."""
    return Question("faces", _chosen("faces", settings, _find, _found), FACE)


def outlines(model: str | None) -> Question:
    """Where the largest face in a picture ends: OUTLINE. `model` as `inference.faces.Landmarks` takes it."""
    from inference.faces import Outlines

    return Question("face_outlines", Annotating(Outlines(model), _trace, _traced), OUTLINE)


def looks() -> Question:
    """What a picture looks like, whatever its size and format: LOOK."""
    from inference.perceptual import PerceptualHash

    return Question("perceptual_hashes", Annotating(PerceptualHash(), _as_it_is, _look), LOOK)


def latents(model: Autoencoder, size: int, files: Files) -> Question:
    """The moments of a picture of `size` px, in a shard of `files`: PLACE, the shard's name and the row."""
    return Question(
        "latents",
        Encoding(model, size, files),
        PLACE,
        settings={"size": size},
        stored=files.kind,
        at_once=SHARD,
    )


def pictures(generator: Generator, files: Files) -> Question:
    """The picture that `generator` makes of a request (prompt, aus, seed, guidance), in `files`: PICTURE."""
    return Question(
        "generated",
        Generating(generator, files),
        PICTURE,
        about=("prompt", "aus", "seed", "guidance"),
        stored=files.kind,
    )


def edits(editor: Editor, files: Files) -> Question:
    """A picture as `editor` changes it from the intensities `source` to `target`: EDITED, in `files`, and
    the share of the source that is kept, null where the editor has no such mask."""
    return Question(
        "edited",
        Editing(editor, files),
        EDITED,
        about=("content_hash", "source", "target"),
        stored=files.kind,
    )


def renderings(renderer: FaceRenderer, plan: pl.DataFrame, files: Files) -> Question:
    """The picture of a row of `plan`, all columns of which decide it, in `files`: PICTURE."""
    return Question(
        RENDERINGS, Rendering(renderer, files), PICTURE, about=tuple(plan.columns), stored=files.kind
    )


class _Named:
    """What answers for `model`, under the name and fingerprint of that."""

    model: Any

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def fingerprint(self) -> str:
        return self.model.fingerprint


@dataclass(frozen=True)
class Annotating(_Named):
    """A provider in this process: pictures are decoded and prepared in threads ahead of it."""

    model: Any
    ask: Callable[[Any, list], Sequence[Any]]
    row: Callable[[Any], dict[str, Any]]

    def read(self, requests: pl.DataFrame) -> Iterator[dict[str, Any]]:
        def answered(batch: Sequence[Any]) -> list[dict[str, Any]]:
            return [self.row(one) for one in self.ask(self.model, list(batch))]

        model = self.model
        read = devices.in_fitting_batches(answered, model.batch_size)
        yield from images.rows_ahead(requests.to_dicts(), read, model.batch_size, model.prepare, model.side)


@dataclass(frozen=True)
class Foreign(_Named):
    """A model in an environment of its own, where `worker` answers for it. An engine starts that."""

    model: Any
    worker: Worker

    def read(self, requests: pl.DataFrame) -> Iterator[dict[str, Any]]:
        raise NotImplementedError(f"{self.name} answers in the environment {self.worker.environment} only")


@dataclass(frozen=True)
class Encoding(_Named):
    """Pictures encoded by an autoencoder; those of each SHARD requests lie in one file, in their order."""

    model: Autoencoder
    size: int
    files: Files

    def read(self, requests: pl.DataFrame) -> Iterator[dict[str, Any]]:
        waiting: list[dict[str, Any]] = []
        size = self.model.batch_size
        encode = devices.in_fitting_batches(self._encode, size)
        rows = images.rows_ahead(requests.to_dicts(), encode, size, self._prepare, self.size)
        for count, row in enumerate(rows, start=1):
            if "problem" in row:
                yield row
            else:
                waiting.append(row)
            if count % SHARD == 0:
                yield from self._shard(waiting)
                waiting.clear()
        yield from self._shard(waiting)

    def _prepare(self, picture: Any) -> Any:
        return images.resized(picture, self.size)

    def _encode(self, batch: Sequence[Any]) -> list[dict[str, Any]]:
        return [{"moments": moments} for moments in self.model.encode(list(batch))]

    def _shard(self, rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        import numpy as np
        from safetensors.numpy import save

        if rows:
            moments = np.stack([row["moments"] for row in rows])
            name = self.files.put(save({"moments": moments}), ".safetensors")
            yield from ({"key": row["key"], "file": name, "row": place} for place, row in enumerate(rows))


@dataclass(frozen=True)
class Generating:
    """Pictures from requests; each is stored as soon as its batch is made."""

    generator: Generator
    files: Files
    name = "generator"

    @property
    def fingerprint(self) -> str:
        return self.generator.fingerprint

    def read(self, requests: pl.DataFrame) -> Iterator[dict[str, Any]]:
        size = self.generator.batch_size
        draw = devices.in_fitting_batches(self._draw, size)
        for _, alike in requests.group_by("guidance", maintain_order=True):
            for batch in alike.iter_slices(size):
                for key, picture in zip(batch["key"], draw(batch.to_dicts()), strict=True):
                    yield {"key": key, "file": self.files.put(images.png(picture), ".png")}

    def _draw(self, batch: Sequence[Mapping[str, Any]]) -> Sequence[Any]:
        """The pictures of requests of one guidance."""
        prompts, aus, seeds = ([row[name] for row in batch] for name in ("prompt", "aus", "seed"))
        return self.generator.generate(prompts, None if None in aus else aus, seeds, batch[0]["guidance"])


@dataclass(frozen=True)
class Editing(_Named):
    """Given pictures, changed: each is opened once for all that is asked of it, each edit stored as soon as
    its batch is made."""

    model: Editor
    files: Files

    def read(self, requests: pl.DataFrame) -> Iterator[dict[str, Any]]:
        size = self.model.batch_size
        edit = devices.in_fitting_batches(self._edit, size)
        for (path, content), alike in requests.group_by("path", "content_hash", maintain_order=True):
            try:
                picture = images.load(str(path), self.model.size, str(content))
            except ContentError as error:
                changed = isinstance(error, images.ChangedError)
                yield from ({"key": key, "problem": str(error), "changed": changed} for key in alike["key"])
                continue
            for batch in alike.iter_slices(size):
                rows = [{**row, "picture": picture} for row in batch.select("source", "target").to_dicts()]
                for key, (made, kept) in zip(batch["key"], edit(rows), strict=True):
                    yield {"key": key, "file": self.files.put(images.png(made), ".png"), "kept": kept}

    def _edit(self, batch: Sequence[Mapping[str, Any]]) -> Sequence[Any]:
        return self.model.edit(*([row[name] for row in batch] for name in ("picture", "source", "target")))


@dataclass(frozen=True)
class Rendering(_Named):
    """Faces of known action units; each is stored as soon as it is made."""

    model: FaceRenderer
    files: Files

    def read(self, requests: pl.DataFrame) -> Iterator[dict[str, Any]]:
        from PIL import Image

        rows = requests.to_dicts()
        for row, pixels in zip(rows, self.model.render(rows), strict=True):
            picture = images.png(Image.fromarray(pixels))
            yield {"key": row["key"], "file": self.files.put(picture, ".png")}


@dataclass(frozen=True)
class EmbeddingTexts(_Named):
    """An embedder in this process, asked about prompts."""

    model: Any

    def read(self, requests: pl.DataFrame) -> Iterator[dict[str, Any]]:
        embed = devices.in_fitting_batches(self.model.embed_texts, self.model.batch_size)
        embeddings = embed(requests["prompt"].to_list())
        for key, embedding in zip(requests["key"], embeddings, strict=True):
            yield {"key": key, "embedding": embedding.tolist()}


def _chosen(
    ability: str,
    settings: Mapping[str, Any],
    ask: Callable[[Any, list], Sequence[Any]],
    row: Callable[[Any], dict[str, Any]],
    questions: Mapping[str, str] | None = None,
) -> Annotating | Foreign:
    """The provider that `settings` choose; one with a `worker` answers in an environment of its own."""
    from inference import abilities

    provider = abilities.build(ability, settings)
    if isinstance(provider, abilities.Elsewhere):
        return Foreign(provider, provider.worker(questions))
    return Annotating(provider, ask, row)


# Functions of the module, not lambdas: an engine may send a model to another process.


def _ask_all(model: Any, batch: list, questions: Mapping[str, str]) -> Sequence[Any]:
    return model.ask_all(batch, [*questions.values()])


def _said(questions: Mapping[str, str], found: Mapping[str, Any]) -> dict[str, Any]:
    said = {f"{name}_answer": found[text].text for name, text in questions.items()}
    return said | {f"{name}_score": found[text].score for name, text in questions.items()}


def _caption(model: Any, batch: list) -> Sequence[str]:
    return model.caption(batch)


def _captioned(text: str) -> dict[str, Any]:
    return {"caption": text}


def _estimate(model: Any, batch: list) -> Sequence[Any]:
    return model.estimate(batch)


def _read(reading: Any) -> dict[str, Any]:
    said = reading._asdict()
    return dict(zip(facs.COLUMNS, said.pop("intensities"), strict=True)) | said


def _embed(model: Any, batch: list) -> Sequence[Any]:
    return model.embed_images(batch)


def _embedded(embedding: Any) -> dict[str, Any]:
    return {"embedding": embedding.tolist()}


def _describe(model: Any, batch: list) -> Sequence[Any]:
    return model.describe(batch)


def _described(descriptor: list[float] | None) -> dict[str, Any]:
    return {"descriptor": descriptor}


def _find(model: Any, batch: list) -> Sequence[Any]:
    return model.find(batch)


def _found(face: Any) -> dict[str, Any]:
    return face._asdict()


def _trace(model: Any, batch: list) -> Sequence[Any]:
    return model.trace(batch)


def _traced(outline: list[float] | None) -> dict[str, Any]:
    return {"outline": outline}


def _as_it_is(_: Any, batch: list) -> Sequence[Any]:
    return batch


def _look(text: str) -> dict[str, Any]:
    return {"perceptual_hash": text}
