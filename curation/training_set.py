"""The training set: which frames without an active AU stay; sources, captions and split joined."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import polars as pl

import reasons
from curation import duplicates
from curation import frames as frames_table
from curation.frames import LABELS
from facs import COLUMNS
from reasons import Reason
from stages import RENDERED

SHARES: dict[str, float] = {"train": 0.9, "validation": 0.05, "test": 0.05}

_COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "sample_id": pl.String,
    "source": pl.String,
    "file_kind": pl.String,
    "file": pl.String,
    "content_hash": pl.String,
    "subject": pl.String,
    **dict.fromkeys(COLUMNS, pl.Float64),
    "caption": pl.String,
    "split": pl.String,
    "perceptual_hash": pl.String,
    **duplicates.FOUND,
    "keep": pl.Boolean,
    **dict.fromkeys(reasons.COLUMNS, pl.String),
}
SCHEMA = pl.Schema(_COLUMNS)

LOOKS = pl.Schema(dict.fromkeys(("content_hash", "perceptual_hash", *reasons.COLUMNS), pl.String))


def draw_no_au(
    frames: pl.DataFrame,
    share: float = 0.1,
    seed: int = 0,
    columns: Sequence[str] = LABELS,
    *,
    share_of: Literal["neutral", "active"] = "neutral",
) -> pl.DataFrame:
    """Of the rows without an active AU keep about `share` (FineFace supplement: "about 10 %" of DISFA's).

    With `share_of` "neutral" that is a share of these rows themselves. With "active" so many of them stay as
    are `share` of the kept rows with an active AU (the reference code: 8,305 beside 82,021), all if there are
    not as many; then another subject moves the limit a little, though not the order in which rows are drawn.

    A row is without one if all of `columns` are 0; a null is no 0. Which stay is decided by each row's own
    sample id and `seed`, so another subject, camera or order changes nothing for the rest. The two cameras of
    one moment have two ids and are drawn independently. Rows dropped before stay dropped. Raises ValueError
    for a share outside [0, 1], an unknown `share_of` or a missing column.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share is within [0, 1], not {share!r}")
    if share_of not in ("neutral", "active"):
        raise ValueError(f"share_of is neutral or active, not {share_of!r}")
    table = frames_table.judgeable(frames, "sample_id", *columns)
    idle = pl.all_horizontal(pl.col(column).eq_missing(0) for column in columns)
    wanted, which = share, "are"
    if share_of == "active":
        neutral, active = table.filter("keep").select(idle.sum(), other=(~idle).sum()).row(0)
        wanted, which = (
            min(1.0, share * active / neutral) if neutral else 0.0,
            "of the active frames' number are",
        )
    drawn = pl.Series(uniform(table["sample_id"], f"no active AU {seed}"), dtype=pl.Float64) < wanted
    return frames_table.quarantine(
        table, idle & ~drawn, Reason.NO_ACTIVE_AU, f"not drawn ({share * 100:g} % {which})"
    )


def assemble(
    web: pl.DataFrame | None,
    labelled: pl.DataFrame | None,
    captions: pl.DataFrame,
    *,
    hashes: pl.DataFrame | None = None,
    within: int = 16,
    shares: Mapping[str, float] = SHARES,
    seed: int = 0,
    rendered_share: float | None = None,
) -> pl.DataFrame:
    """One table of all sources: final AUs, caption, split; columns SCHEMA, sorted by sample_id.

    `web` is `au_corrections` (au1 ... au26 final) and `labelled` the frames tables whose `label_au{n}` are
    final, DISFA's after `draw_no_au` and the rendered pictures'; both with `sample_id`, `source`, `path`,
    `content_hash` and perhaps `subject`; None for what is not used. Rows they dropped are left out.
    `captions` has `sample_id` and `caption`; a row without one is dropped.

    The split of a row is decided by its subject, or its content where it has none, and `seed`, and by nothing
    else: `shares` are the expected shares. Of pictures with the same content one is kept, of those that look
    the same only those of one split (`curation.duplicates`). `hashes` has `content_hash`, `perceptual_hash`,
    of which `within` bits may differ, and, of one that does not decode, the reason, which drops the row;
    None: looks do not count. AUs that are null ("not supported") stay null. `rendered_share`: see
    `limit_rendered`. Dropped rows have no split.

    Raises ValueError for a missing column, an id that is there twice, or shares that do not add up to 1.
    """
    if not shares or min(shares.values()) < 0 or abs(sum(shares.values()) - 1) > 1e-9:
        raise ValueError(f"shares of the splits add up to 1, not {dict(shares)!r}")
    names = dict(zip(LABELS, COLUMNS, strict=True))
    parts = [] if web is None else [_kept(web, COLUMNS)]
    if labelled is not None:
        parts.append(_kept(labelled, LABELS).rename(names))
    if not parts:
        raise ValueError("no source to assemble a training set from")
    table = pl.concat(parts)
    for name, ids in (("sources", table["sample_id"]), ("captions", captions["sample_id"])):
        if ids.n_unique() < len(ids):
            raise ValueError(
                f"{name} have sample ids twice: {ids.filter(ids.is_duplicated()).unique().sort()[0]}"
            )
    table = table.join(captions.select("sample_id", "caption"), on="sample_id", how="left").sort("sample_id")
    table = table.with_columns(frames_table.KEPT)
    caption = pl.col("caption").fill_null("").str.strip_chars()
    table = frames_table.quarantine(table, caption == "", Reason.NO_CAPTION)
    looks = pl.DataFrame(schema=LOOKS) if hashes is None else hashes.select(LOOKS.names())
    table = table.join(looks, on="content_hash", how="left", maintain_order="left", suffix="_of_looks")
    code, detail = (pl.col(f"{name}_of_looks") for name in reasons.COLUMNS)
    table = frames_table.quarantine(table, code.is_not_null(), code, detail)
    table = split(duplicates.drop_equal(table, COLUMNS), shares, seed)
    table = limit_rendered(duplicates.drop_across_splits(table, within), rendered_share)
    table = table.with_columns(pl.when("keep").then("split").alias("split"))
    return table.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())


def of_tables(
    photographs: pl.DataFrame,
    raw_disfa: pl.DataFrame,
    raw_folder: pl.DataFrame,
    raw_rendered: pl.DataFrame,
    face_crop: pl.DataFrame,
    captions: pl.DataFrame,
    **options: Any,
) -> pl.DataFrame:
    """`assemble` of stage tables: `photographs` with the intensities they are to have, labelled pictures as
    `face_crop` sees them, `captions` kept only; subjects of a folder come from `raw_folder`."""
    subjects = raw_folder.select("sample_id", "subject")
    web = photographs.filter("keep").join(subjects, on="sample_id", how="left", maintain_order="left")
    seen = face_crop.select("sample_id", "file_kind", "file", "content_hash", "keep", *reasons.COLUMNS)
    labelled = pl.concat(_labelled(table) for table in (raw_disfa, raw_rendered))
    labelled = labelled.join(seen, on="sample_id", maintain_order="left")
    return assemble(web, labelled, captions, **options)


def limit_rendered(table: pl.DataFrame, share: float | None) -> pl.DataFrame:
    """Of the kept rows of each split at most `share` are rendered, these among them (None: all stay).

    The first ones by sample id stay: people, each of whom shows every action unit equally often; of the last
    one perhaps a part. So more photographs let more stay, and put out none. Needs sample_id, source, split,
    keep and its reason.
    """
    if share is None:
        return table
    rendered = pl.col("source") == RENDERED
    places = pl.lit(0, dtype=pl.Int64)
    for (split,), rows in table.filter("keep", ~rendered).group_by("split"):
        room = rendered_places(rows.height, share)
        places = pl.when(split=split).then(pl.lit(room)).otherwise(places)
    place = pl.when("keep", rendered).then("sample_id").rank("ordinal").over("split", rendered)
    return frames_table.quarantine(
        table, rendered & (place > places), Reason.BEYOND_SHARE, f"{share * 100:g} % of a split are rendered"
    )


def rendered_places(others: int, share: float | None) -> int | None:
    """How many rendered pictures make up at most `share` of a whole with `others`; None: any number."""
    return None if share is None else math.floor(others * share / (1 - share) + 1e-9)


def _labelled(table: pl.DataFrame) -> pl.DataFrame:
    return table.select("sample_id", "source", "subject", *LABELS)


def uniform(ids: pl.Series, salt: str) -> np.ndarray:
    """A number in [0, 1) for each id, evenly spread, decided by id and salt alone (blake2b)."""
    salted, digests = hashlib.blake2b(f"{salt}/".encode(), digest_size=8), []
    for text in ids.cast(pl.Binary).to_list():
        digest = salted.copy()  # a third faster than hashing salt and id anew
        digest.update(text)
        digests.append(digest.digest())
    return (np.frombuffer(b"".join(digests), ">u8").astype(np.uint64) >> np.uint64(11)) / 2**53


def _kept(table: pl.DataFrame, aus: Sequence[str]) -> pl.DataFrame:
    texts = ("sample_id", "source", "file_kind", "file", "content_hash")
    table = frames_table.judgeable(table, *texts, *aus).filter("keep")
    if "subject" not in table.columns:
        table = table.with_columns(pl.lit(None, dtype=pl.String).alias("subject"))
    return table.select(
        *(pl.col(name).cast(pl.String) for name in (*texts, "subject")),
        *(pl.col(au).cast(pl.Float64) for au in aus),
    )


def split(table: pl.DataFrame, shares: Mapping[str, float], seed: int) -> pl.DataFrame:
    """The table (source, subject, content_hash, sample_id) with `unit`, what is drawn as a whole (a subject,
    or a content), its `drawn_number` (uniform in 0-1) and `split`, a key of `shares`; these add up to 1.
    """
    subject = pl.concat_str("source", pl.lit("/"), "subject")
    table = table.with_columns(pl.coalesce(subject, "content_hash", "sample_id").alias("unit"))
    table = table.with_columns(
        pl.Series("drawn_number", uniform(table["unit"], f"split {seed}"), dtype=pl.Float64)
    )
    names = [name for name, share in shares.items() if share > 0]
    drawn, bound = pl.lit(names[-1]), 1.0
    for name in reversed(names[:-1]):
        bound -= shares[names[names.index(name) + 1]]
        drawn = pl.when(pl.col("drawn_number") < bound).then(pl.lit(name)).otherwise(drawn)
    return table.with_columns(drawn.alias("split"))
