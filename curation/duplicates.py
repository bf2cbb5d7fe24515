"""Which pictures are the same, by content or by look, and which of them goes. Pure polars and numpy.

How a perceptual hash is computed lives in `inference.perceptual`, what a split is in `curation.training_set`.
"""

import itertools
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import polars as pl

from curation import frames
from reasons import Reason

FOUND = pl.Schema({"duplicate_of": pl.String, "duplicate_by": pl.String, "duplicate_distance": pl.Int64})
"""The sample that a row repeats, whether that was seen by "content" or "perceptual" hash, and in how many
bits the hashes differ."""

CONTRADICTION = 1.0
"""Labels of one picture contradict each other from this difference of an intensity on: one FACS letter."""

MANY = 1 << 18
"""Hashes from which on it is faster to compare what shares two bands than what shares one."""

_AT_ONCE = 1 << 20
"""Pairs compared at once: bounds the memory."""


def drop_equal(table: pl.DataFrame, labels: Sequence[str]) -> pl.DataFrame:
    """Of the kept rows of one content hash the first by sample id stays; FOUND is added.

    The detail of the others names it, and those of `labels` (intensities) that contradict its own.
    """
    several = table.filter("keep", pl.col("content_hash").is_not_null())
    several = several.filter(pl.col("content_hash").is_duplicated()).sort("sample_id")
    first = several.unique("content_hash", keep="first").select(
        "content_hash", pl.col("sample_id").alias("duplicate_of"), pl.col(labels).name.suffix("_first")
    )
    against = pl.concat_str(
        (
            pl.when((pl.col(label) - pl.col(f"{label}_first")).abs() >= CONTRADICTION).then(
                pl.format("{} {} here, {} there", pl.lit(label.upper()), label, f"{label}_first")
            )
            for label in labels
        ),
        separator="; ",
        ignore_nulls=True,
    )
    same = pl.format("same content as {}", "duplicate_of")
    again = (
        several.join(first, on="content_hash")
        .filter(pl.col("sample_id") != pl.col("duplicate_of"))
        .select(
            "sample_id",
            "duplicate_of",
            pl.lit("content").alias("duplicate_by"),
            pl.lit(0, dtype=pl.Int64).alias("duplicate_distance"),
            pl.when(against == "")
            .then(pl.lit(Reason.DUPLICATE_PICTURE))
            .otherwise(pl.lit(Reason.CONTRADICTING_DUPLICATE))
            .alias("repeats"),
            pl.when(against == "").then(same).otherwise(pl.format("{} ({})", same, against)).alias("how"),
        )
    )
    marked = table.join(again, on="sample_id", how="left", maintain_order="left")
    repeats = pl.col("repeats")
    return frames.quarantine(marked, repeats.is_not_null(), repeats, pl.col("how")).drop("repeats", "how")


def drop_across_splits(table: pl.DataFrame, within: int) -> pl.DataFrame:
    """Of kept pictures that look the same none are left in two splits.

    Two look the same if their `perceptual_hash` (hexadecimal; null: not compared) differs in at most `within`
    bits. In the order of sample ids a row is dropped if it looks like an earlier one that stays in another
    split; so what is left is judged in pairs, never through a chain of look-alikes, nobody's split changes,
    and a new row touches only those that look like it. Rows of one `unit` (who or what was drawn as a whole)
    share their split and are not compared. Look-alikes within a split stay. Either way the most alike earlier
    row stands in FOUND. Needs sample_id, unit, split, perceptual_hash, keep, its reason and FOUND.
    """
    rows = table.filter("keep").drop_nulls("perceptual_hash").sort("sample_id")
    hashes = (
        rows.group_by("perceptual_hash")
        .agg(pl.col("unit").first(), (pl.col("unit").n_unique() > 1).alias("shared"))
        .sort("perceptual_hash")
        .with_row_index("node")
    )
    owner = pl.when("shared").then("perceptual_hash").otherwise("unit")
    pairs = near(hashes["perceptual_hash"], hashes.select(owner).to_series(), within)
    around: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for node in hashes.filter("shared")["node"]:
        around[node].append((0, node))
    for left, right, distance in pairs.iter_rows():
        around[left].append((distance, right))
        around[right].append((distance, left))
    compared = rows.join(
        hashes.select("perceptual_hash", "node"), on="perceptual_hash", maintain_order="left"
    )
    compared = compared.filter(pl.col("node").is_in(list(around)))
    stayed: dict[int, dict[str, tuple[str, str]]] = defaultdict(
        dict
    )  # of a hash, its first row in each split
    found = []
    for sample, unit, split, node in compared.select("sample_id", "unit", "split", "node").iter_rows():
        twins = [
            (there == split, distance, twin, there)
            for distance, other in around[node]
            for there, (twin, whose) in stayed[other].items()
            if whose != unit
        ]
        together, distance, twin, there = min(twins, default=(True, None, None, None))
        found.append((sample, twin, distance, None if together else there))
        if together:
            stayed[node].setdefault(split, (sample, unit))
    kinds = {"sample_id": pl.String, "twin": pl.String, "distance": pl.Int64, "elsewhere": pl.String}
    judged = table.join(
        pl.DataFrame(found, schema=kinds, orient="row"), on="sample_id", how="left", maintain_order="left"
    ).with_columns(
        pl.coalesce("duplicate_of", "twin").alias("duplicate_of"),
        pl.when(pl.col("twin").is_null())
        .then("duplicate_by")
        .otherwise(pl.lit("perceptual"))
        .alias("duplicate_by"),
        pl.coalesce("duplicate_distance", "distance").alias("duplicate_distance"),
    )
    detail = pl.format("{} of {} looks the same ({} bits differ)", "twin", "elsewhere", "distance")
    torn = pl.col("elsewhere").is_not_null()
    judged = frames.quarantine(judged, torn, Reason.DUPLICATE_IN_ANOTHER_SPLIT, detail)
    return judged.select(table.columns)


def near(hashes: pl.Series, owners: pl.Series, within: int, together: int | None = None) -> pl.DataFrame:
    """The pairs of rows with different `owners` whose `hashes` differ in at most `within` bits.

    `hashes` are hexadecimal, all of one length, a multiple of 64 bits. Returns left < right (row numbers) and
    distance, each pair once. Of n + k bands of a hash, two that differ in n bits have k in common at least,
    so only rows that share k bands are compared: exact, and without looking at all pairs. At 16 of 256 bits
    that is 17 sorts and a pair in 2,000 with k = 1, 153 sorts and a pair in a million with k = 2. `together`
    is k; by default the one that is faster for so many rows.
    """
    count = len(hashes)
    k = (1 if count < MANY else 2) if together is None else together
    bands = within + k
    people = owners.rank("dense").cast(pl.Int64).to_numpy() - 1
    packed = np.frombuffer(bytes.fromhex("".join(hashes)), np.uint8).reshape(count, -1 if count else 8)
    words, wide = packed.view(np.uint64), 62 // k
    keys = _keys(packed, bands, wide)
    empty = np.empty(0, np.int64)
    found = [(empty, empty, empty)]
    for chosen in itertools.combinations(range(bands), k) if count > 1 else ():
        shared = np.zeros(count, np.int64)
        for band in chosen:
            shared = (shared << wide) | keys[:, band]
        order = np.argsort(shared)
        equal = shared[order[1:]] == shared[order[:-1]]
        rows = order[np.append(equal, False) | np.append(False, equal)]  # those that share it with another
        if not len(rows):
            continue
        rows = rows[np.lexsort((people[rows], shared[rows]))]
        other = np.append(False, np.diff(shared[rows]) != 0)
        group, owner = np.cumsum(other), np.cumsum(other | np.append(False, np.diff(people[rows]) != 0))
        start = np.searchsorted(owner, owner, "right")  # the next owner of the same bands
        stop = np.searchsorted(group, group, "right")
        partners = stop - start
        cuts = np.searchsorted(np.cumsum(partners), np.arange(_AT_ONCE, partners.sum(), _AT_ONCE))
        for part in np.split(np.arange(len(rows)), cuts):
            many = partners[part]
            step = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
            one, two = rows[np.repeat(part, many)], rows[np.repeat(start[part], many) + step]
            distance = np.bitwise_count(words[one] ^ words[two]).sum(axis=1, dtype=np.int64)
            hit = distance <= within
            one, two, distance = one[hit], two[hit], distance[hit]
            same = keys[one] == keys[two]
            new = same[:, : chosen[-1] + 1].sum(axis=1) == k  # not met in an earlier combination
            found.append((np.minimum(one, two)[new], np.maximum(one, two)[new], distance[new]))
    left, right, distance = (np.concatenate(part) for part in zip(*found, strict=True))
    return pl.DataFrame({"left": left, "right": right, "distance": distance}).sort("left", "right")


def _keys(packed: np.ndarray, bands: int, most: int) -> np.ndarray:
    """Every band of every hash as an integer, of `most` bits at the most; fewer only make a band less
    choosy."""
    keys = np.empty((len(packed), bands), np.int64)
    for first in range(0, len(packed), _AT_ONCE // 4):
        rows = slice(first, first + _AT_ONCE // 4)
        bits = np.unpackbits(packed[rows], axis=1)
        for band in range(bands):
            chosen = bits[:, band::bands][:, :most]
            keys[rows, band] = chosen @ (np.int64(1) << np.arange(chosen.shape[1], dtype=np.int64))
    return keys
