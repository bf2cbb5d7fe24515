"""The one door to the models: what was asked before is looked up, the rest is asked in chunks and remembered.

Which questions there are, and who answers them, is said in `inference.questions`; how answers are kept, in
`store.memo`. Where a model runs is an engine's business: this process, an environment of its own, or others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from typing import Any, Protocol

import polars as pl

import picture_files
import reasons
from inference import environments
from reasons import Reason
from store import ComputeError, Memo, Progress, Store, file_system
from store.hashing import fingerprints

MODELS = "models"
"""The memo of what decides a model's answers, by its fingerprint: `parts` and `packages` as JSON."""
PACKAGES = ("torch", "transformers", "diffusers", "peft", "mediapipe", "pillow")
"""Of this environment, noted beside a model that answered in it."""
CONTENT = "content_hash"
"""Of a memo's row: the picture that was asked about, or, where none was, the picture that was made."""


class Model(Protocol):
    """Who answers. Cheap to construct; loads nothing before `read` is called."""

    @property
    def name(self) -> str:
        """The model as tables name it."""

    @property
    def fingerprint(self) -> str:
        """Hash of all about the model that decides an answer."""

    def read(self, requests: pl.DataFrame) -> Iterator[dict[str, Any]]:
        """A row for each request (`key`, and `path` where it has a picture), in any order: its `key` and the
        columns of the answer, or what `inference.images.rows_ahead` says of a picture that does not
        decode."""


Engine = Callable[[Model, pl.DataFrame, int], Iterator[dict[str, Any]]]
"""What has a model answer requests, wherever it runs; so many of them belong together, in this order."""


def local(model: Model, requests: pl.DataFrame, together: int) -> Iterator[dict[str, Any]]:
    """The engine that asks in this process."""
    return model.read(requests)


def problem(row: Mapping[str, Any]) -> Reason | None:
    """Why a row that a model or an engine gave holds no answer; None if it does."""
    if "problem" not in row:
        return None
    if row.get("killed"):
        return Reason.KILLS_WORKER
    return Reason.CHANGED_FILE if row.get("changed") else Reason.CORRUPT_IMAGE


@dataclass(frozen=True)
class Question:
    """What is asked: of whom, about which columns of a request, and which columns an answer has.

    memo: the table of its answers. about: the columns of a request that decide its answer. settings: all else
    that decides it, besides the model. stored: the kind of the file that the column `file` of an answer
    names; an answer whose file is lost or damaged is asked for again. at_once: how many answers are
    remembered together, where the answers of a model come in groups.
    """

    memo: str
    model: Model
    answer: Mapping[str, pl.DataType | type[pl.DataType]]
    about: tuple[str, ...] = (CONTENT,)
    settings: Mapping[str, Any] = field(default_factory=dict)
    stored: str | None = None
    at_once: int | None = None

    def keys(self, requests: pl.DataFrame) -> pl.Series:
        """The key of each request's answer."""
        return fingerprints(
            requests.select(self.about), model=self.model.fingerprint, settings=dict(self.settings)
        )


@dataclass(frozen=True)
class Answers:
    """`frame`: the requests, row by row, with the columns of the answer (null without one), `model` and
    `fingerprint` (who answered), and a reason where there is no usable answer: the answer's own, or that of a
    picture that does not decode. `asked` answers are new, `reused` were known."""

    frame: pl.DataFrame
    asked: int
    reused: int


def ask(
    store: Store,
    question: Question,
    requests: pl.DataFrame,
    *,
    chunk: int,
    engine: Engine = local,
    progress: Callable[[Progress], None] | None = None,
) -> Answers:
    """What `question.model` says about each of `requests`; each different one is asked once, for ever.

    A request about a picture has `file_kind`, `file` and `content_hash`; where that lies is found out only
    when it is asked about.

    Answers are remembered `chunk` at a time, so a kill loses at most these. A picture that does not decode,
    whose file no longer holds the content that its request names, or that kills whoever reads it, has a
    reason and is not remembered.
    Raises ComputeError for a model that leaves a request out, ImageError for a file that cannot be read.
    """
    memo = store.memo(question.memo, {**question.answer, CONTENT: pl.String})
    together = question.at_once or chunk
    keyed = requests.with_columns(question.keys(requests).alias("key"))
    _forget_lost(store, memo, question, keyed["key"])
    problems: list[tuple[str, str, str]] = []

    def answers(missing: pl.DataFrame) -> Iterator[dict[str, Any]]:
        if "file" in missing.columns:
            missing = store.located(missing)
            file_system.fetch(picture_files.parted(path)[0] for path in missing["path"].drop_nulls())
        contents = dict(missing.select("key", CONTENT).iter_rows()) if CONTENT in missing.columns else {}
        left = set(missing["key"])
        with closing(engine(question.model, missing, together)) as stream:  # type: ignore[type-var]
            for row in stream:
                key = row["key"]
                left.discard(key)
                if (reason := problem(row)) is not None:
                    problems.append((key, reason.value, row["problem"]))
                else:
                    yield row | {CONTENT: contents.get(key) or _made(row, question)}
        if left:
            raise ComputeError(
                f"{question.model.name} said nothing about {len(left)} of {missing.height} requests"
            )

    found = memo.get_or_stream(keyed, answers, chunk=together, progress=progress, partial=True)
    told = [*question.answer, "model", "fingerprint", *reasons.COLUMNS]
    frame = keyed.drop(told, strict=False).join(
        found.frame.select("key", *question.answer), on="key", how="left", maintain_order="left"
    )
    columns = ("key", *reasons.COLUMNS)
    said = pl.DataFrame(problems, schema=dict.fromkeys(columns, pl.String), orient="row")
    if set(reasons.COLUMNS) <= set(question.answer):
        own = frame.select(columns).unique("key").drop_nulls("reason_code")
        frame, said = frame.drop(reasons.COLUMNS), pl.concat([said, own])
    frame = frame.join(said, on="key", how="left", maintain_order="left")
    if question.stored:
        kind = pl.when(pl.col("file").is_not_null()).then(pl.lit(question.stored))
        frame = frame.with_columns(kind.alias("file_kind"))
    model = question.model
    if found.computed:
        _note(store, model)
    who = pl.lit(model.name).alias("model"), pl.lit(model.fingerprint).alias("fingerprint")
    return Answers(frame.drop("key").with_columns(who), found.computed, found.reused)


def _note(store: Store, model: Model) -> None:
    """Note what the fingerprint of a model stands for: the hash alone says nothing to those who ask later."""
    worker = getattr(model, "worker", None)
    known = {
        "parts": getattr(model.fingerprint, "parts", {}),
        "packages": _installed() if worker is None else environments.pins(worker.environment),
    }
    said = {name: pl.lit(json.dumps(value)) for name, value in known.items()}
    store.memo(MODELS, dict.fromkeys(known, pl.String)).get_or_compute(
        pl.DataFrame({"key": [str(model.fingerprint)]}), lambda one: one.with_columns(**said), chunk=1
    )


@cache
def _installed() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _made(row: Mapping[str, Any], question: Question) -> str | None:
    """The content of the file that an answer names: a stored file is named by it."""
    return row["file"][:32] if question.stored else None


def _forget_lost(store: Store, memo: Memo, question: Question, keys: pl.Series) -> None:
    """Forget the answers whose files are no longer what they were: they are asked for again."""
    if question.stored is None:
        return
    names = memo.read(keys)["file"].drop_nulls().unique()
    if lost := store.files(question.stored).lost(names):
        memo.forget(pl.col("file").is_in(lost))
