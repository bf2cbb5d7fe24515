"""A blinded user study of edits: pairs of two editors' pictures of one source and one request, a page that
asks about them and works offline, and what the answers say. Who made which picture stands in the key alone.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import polars as pl

import facs
from evaluation import bootstrap
from evaluation.bootstrap import Sums
from evaluation.protocol import hash_of

QUESTIONS = {
    "expression": "Which one shows the expression that is asked for?",
    "person": "Which one is the same person as in the picture above?",
    "real": "Which one looks more like a real photograph?",
}
ANSWERS = ("a", "b", "same")
KEY = pl.Schema(
    {
        "pair": pl.String,
        "sample_id": pl.String,
        "source_index": pl.Int64,
        "source_kind": pl.String,
        "source_file": pl.String,
        "asked": pl.String,
        "a": pl.String,  # editors
        "b": pl.String,
        "a_file": pl.String,
        "b_file": pl.String,
    }
)
RATINGS = pl.Schema(dict.fromkeys(("rater", "pair", "question", "answer"), pl.String))
RESULTS = pl.Schema(
    {
        "first": pl.String,
        "second": pl.String,
        "question": pl.String,
        "preferred": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
        "ratings": pl.Int64,
        "raters": pl.Int64,
    }
)
TEMPLATE = Path(__file__).parent / "study.html"


class StudyError(ValueError):
    """A study cannot be made of these edits, or these answers are none of its; the message says why."""


def pairs(edited: pl.DataFrame, count: int, seed: int) -> pl.DataFrame:
    """`count` pairs of an edited_samples table, in the order in which they are shown: KEY.

    Every two editors are compared equally often (but for one), on requests of one AU or a combination at
    strength 1 that both answered. Which request, which side and which order is drawn by hash. Raises
    StudyError for a single editor, or too few requests.
    """
    asked = edited.filter(pl.col("kind").is_in(["individual", "combination"]), strength=1.0)
    editors = sorted(asked["editor"].unique())
    if len(editors) < 2:
        raise StudyError(f"two editors at least are compared; there is {', '.join(editors) or 'none'}")
    files = {(row["editor"], row["sample_id"]): row for row in asked.to_dicts()}
    rows = []
    couples = list(itertools.combinations(editors, 2))
    for place, couple in enumerate(couples):
        wanted = count // len(couples) + (place < count % len(couples))
        both = [sample for editor, sample in files if editor == couple[0] and (couple[1], sample) in files]
        if len(both) < wanted:
            raise StudyError(
                f"{' and '.join(couple)} have {len(both)} requests in common, {wanted} are wanted"
            )
        drawn = sorted(both, key=lambda sample: hash_of(seed, *couple, sample))[:wanted]
        for sample in drawn:
            a, b = couple if hash_of(seed, "side", *couple, sample)[0] % 2 else couple[::-1]
            rows.append((a, b, sample))
    rows.sort(key=lambda row: hash_of(seed, "order", *row))
    return pl.DataFrame(
        [
            _row(f"{place:03d}", files[a, sample], files[b, sample])
            for place, (a, b, sample) in enumerate(rows, 1)
        ],
        schema=KEY,
        orient="row",
    )


def page(key: pl.DataFrame, picture: Callable[[str, str], bytes], title: str) -> str:
    """The page that asks about the pairs of `key`, whole in one text: no address, no name of an editor.

    `picture` gives the PNG of a file of a kind; edits are of the kind "edited".
    """
    shown = [
        {
            "pair": row["pair"],
            "asked": row["asked"],
            "source": _inline(picture(row["source_kind"], row["source_file"])),
            "a": _inline(picture("edited", row["a_file"])),
            "b": _inline(picture("edited", row["b_file"])),
        }
        for row in key.to_dicts()
    ]
    return _template().render(title=title, questions=QUESTIONS, study=_name(key), pairs=shown)


def read(key: pl.DataFrame, ratings: pl.DataFrame) -> pl.DataFrame:
    """How often raters preferred the first of two editors to the second: RESULTS, sorted.

    `preferred` is the share of ratings for the first, those for neither counted half, with a 95 % interval
    over pairs, whose ratings are not independent; .5 is no preference. Raises StudyError for an answer, a
    pair or a question that the study has not, and for one that somebody gave twice.
    """
    if missing := sorted(set(RATINGS) - set(ratings.columns)):
        raise StudyError(f"the answers lack the columns {', '.join(missing)}")
    for column, known in (("answer", ANSWERS), ("question", tuple(QUESTIONS)), ("pair", tuple(key["pair"]))):
        if unknown := sorted(set(ratings[column].drop_nulls().cast(pl.String)) - set(known)):
            raise StudyError(f"the {column} {unknown[0]!r} is none of the study's")
    given = ratings.select(pl.col(RATINGS).cast(pl.String)).drop_nulls("answer")
    twice = given.filter(pl.struct("rater", "pair", "question").is_duplicated())
    if twice.height:
        who = twice.row(0, named=True)
        raise StudyError(f"{who['rater']} answered {who['question']!r} of pair {who['pair']} more than once")
    joined = given.join(key.select("pair", "a", "b"), on="pair").with_columns(
        first=pl.min_horizontal("a", "b"),
        second=pl.max_horizontal("a", "b"),
        number=pl.col("pair").cast(pl.Int64),
        score=pl.col("answer").replace_strict({"a": 1.0, "b": 0.0, "same": 0.5}),
    )
    joined = joined.with_columns(
        score=pl.when(pl.col("a") == pl.col("first")).then("score").otherwise(1 - pl.col("score"))
    )
    rows = []
    for (first, second, question), part in joined.group_by("first", "second", "question"):
        scores = part["score"].to_numpy()
        sums = Sums.of(scores, scores == scores, part["number"].to_numpy())
        rows.append((first, second, question, *bootstrap.mean(sums), part["rater"].n_unique()))
    return pl.DataFrame(rows, schema=RESULTS, orient="row").sort("first", "second", "question")


def text(found: pl.DataFrame) -> str:
    """The results for people."""
    return "\n".join(
        f"{row['first']} over {row['second']}, {row['question']}: {row['preferred']:.0%} "
        f"[{row['low']:.0%}, {row['high']:.0%}], {row['ratings']} ratings of {row['raters']} raters"
        for row in found.to_dicts()
    )


def _row(pair: str, a: dict[str, Any], b: dict[str, Any]) -> tuple[object, ...]:
    asked = facs.as_text([a[column] for column in facs.COLUMNS])
    source = (a["sample_id"], a["source_index"], a["source_kind"], a["source_file"])
    return pair, *source, asked, a["editor"], b["editor"], a["file"], b["file"]


def _name(key: pl.DataFrame) -> str:
    """What tells this study's answers, kept by a browser, from another's; says nothing of who made what."""
    return hashlib.blake2b(json.dumps(key["a_file"].to_list()).encode(), digest_size=6).hexdigest()


def _inline(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
