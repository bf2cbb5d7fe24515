"""The same picture twice: found whatever the order, dropped from all splits but one, without a chain."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from told import told

from curation import duplicates
from facs import COLUMNS

WITHIN = 4
NONE = {name: pl.lit(None, dtype=kind) for name, kind in duplicates.FOUND.items()}


def bits(*ones: int) -> str:
    """A hash of 256 bits with these set."""
    return f"{sum(1 << one for one in ones):064x}"


def distance(one: str, two: str) -> int:
    return (int(one, 16) ^ int(two, 16)).bit_count()


# Hashes in clusters: eight centres far apart, and up to five bits around each.
hashes = st.builds(
    lambda centre, flips: f"{(0x1F << 32 * centre) ^ sum(1 << 50 * flip for flip in flips):064x}",
    st.integers(0, 7),
    st.sets(st.integers(0, 4)),
)


def table(*rows) -> pl.DataFrame:
    """Rows of (sample_id, unit, split, perceptual_hash)."""
    names = ["sample_id", "unit", "split", "perceptual_hash"]
    found = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")
    return found.with_columns(
        keep=pl.lit(True),
        reason_code=pl.lit(None, dtype=pl.String),
        reason_detail=pl.lit(None, dtype=pl.String),
        **NONE,
    )


@st.composite
def tables(draw):
    """Up to thirty rows of six units; a unit decides the split."""
    rows = draw(st.lists(st.tuples(st.integers(0, 5), hashes), max_size=30))
    splits = ["train", "train", "train", "validation", "test", "test"]
    return table(*((f"s{i:02}", f"u{unit}", splits[unit], text) for i, (unit, text) in enumerate(rows)))


@settings(max_examples=60)
@given(st.lists(st.tuples(hashes, st.sampled_from("abc")), max_size=25), st.integers(0, 9), st.integers(1, 3))
def test_near_finds_exactly_the_pairs_that_all_pairs_would(rows, within, together):
    texts, owners = [text for text, _ in rows], [owner for _, owner in rows]
    expected = [
        (i, j, distance(texts[i], texts[j]))
        for i in range(len(rows))
        for j in range(i + 1, len(rows))
        if owners[i] != owners[j] and distance(texts[i], texts[j]) <= within
    ]
    texts, owners = pl.Series(texts, dtype=pl.String), pl.Series(owners, dtype=pl.String)
    found = duplicates.near(texts, owners, within, together)
    assert found.rows() == expected


@settings(max_examples=60)
@given(tables(), st.randoms())
def test_what_is_left_has_no_lookalikes_in_two_splits_whatever_the_order(rows, random):
    result = duplicates.drop_across_splits(rows, WITHIN)
    kept = result.filter("keep").rows(named=True)
    for one in kept:
        for two in kept:
            if distance(one["perceptual_hash"], two["perceptual_hash"]) <= WITHIN:
                assert one["split"] == two["split"]
    for row in result.filter(~pl.col("keep")).rows(named=True):
        twin = result.row(by_predicate=pl.col("sample_id") == row["duplicate_of"], named=True)
        assert twin["keep"] and twin["split"] != row["split"] and twin["sample_id"] < row["sample_id"]
        apart = distance(twin["perceptual_hash"], row["perceptual_hash"])
        assert row["duplicate_distance"] == apart <= WITHIN and row["duplicate_by"] == "perceptual"
    order = list(range(rows.height))
    random.shuffle(order)
    assert_frame_equal(duplicates.drop_across_splits(rows[order], WITHIN).sort("sample_id"), result)


@settings(max_examples=40)
@given(tables(), tables())
def test_new_rows_touch_only_those_that_look_like_them(rows, more):
    far = bits(*range(100, 200))  # every look of `more` is at least fifty bits from those of `rows`
    moved = [f"{int(text, 16) ^ int(far, 16):064x}" for text in more["perceptual_hash"]]
    more = more.with_columns(
        pl.Series("perceptual_hash", moved, dtype=pl.String), sample_id=pl.lit("a") + pl.col("sample_id")
    )
    both = duplicates.drop_across_splits(pl.concat([more, rows]), WITHIN)
    assert_frame_equal(both.tail(rows.height), duplicates.drop_across_splits(rows, WITHIN))


def test_a_chain_of_lookalikes_swallows_nothing():
    """Each looks like the next, the ends do not look alike: only what touches another split goes."""
    a, b, c, d = bits(), bits(0, 1, 2), bits(0, 1, 2, 3, 4, 5), bits(*range(9))
    result = duplicates.drop_across_splits(
        table(
            ("1", "u1", "train", a), ("2", "u2", "test", b), ("3", "u3", "train", c), ("4", "u4", "test", d)
        ),
        3,
    )
    assert result["keep"].to_list() == [True, False, True, False]
    assert result["duplicate_of"].to_list() == [None, "1", None, "3"]
    assert told(result)[1] == ("duplicate_in_another_split: 1 of train looks the same (3 bits differ)")


def test_lookalikes_within_a_split_stay_and_are_told_within_a_subject_they_are_not_even_compared():
    same = bits(7)
    result = duplicates.drop_across_splits(
        table(("1", "sn1", "train", same), ("2", "sn1", "train", same), ("3", "web", "train", bits(7, 8))), 3
    )
    assert result["keep"].all() and result["reason_code"].null_count() == 3
    assert result.select(duplicates.FOUND.names()).rows() == [
        (None, None, None),
        (None, None, None),
        ("1", "perceptual", 1),
    ]


def test_the_most_alike_is_named():
    result = duplicates.drop_across_splits(
        table(("1", "a", "test", bits(1, 2)), ("2", "b", "test", bits(1)), ("3", "c", "train", bits())), 3
    )
    assert result["duplicate_of"].to_list() == [None, "1", "2"]
    assert result["duplicate_distance"].to_list() == [None, 1, 1]


def test_thousands_of_blank_pictures_are_one_look():
    """Pictures of one colour all have the same hash; their pairs are not counted out."""
    rows = [(f"{i:05}", f"u{i}", "test" if i % 10 == 5 else "train", bits(255)) for i in range(20_000)]
    result = duplicates.drop_across_splits(table(*rows), 16)
    assert result["keep"].sum() == 18_000
    assert set(result.filter(~pl.col("keep"))["duplicate_of"]) == {"00000"}


def test_rows_without_a_hash_and_dropped_rows_are_not_compared():
    rows = table(("1", "a", "test", bits()), ("2", "b", "train", None), ("3", "c", "train", bits()))
    rows = rows.with_columns(
        keep=pl.col("sample_id") != "1", reason_code=pl.when(pl.col("sample_id") == "1").then(pl.lit("x"))
    )
    assert_frame_equal(duplicates.drop_across_splits(rows, 3), rows)


def labelled(*rows) -> pl.DataFrame:
    """Rows of (sample_id, content_hash, AU4)."""
    schema = {"sample_id": pl.String, "content_hash": pl.String, "au4": pl.Float64}
    found = pl.DataFrame(rows, schema=schema, orient="row")
    zeros = [pl.lit(0.0).alias(name) for name in COLUMNS if name != "au4"]
    return found.with_columns(
        *zeros,
        keep=pl.lit(True),
        reason_code=pl.lit(None, dtype=pl.String),
        reason_detail=pl.lit(None, dtype=pl.String),
    )


@pytest.mark.parametrize(
    ("au4", "reason"),
    [
        (3.0, "duplicate_picture: same content as a"),
        (2.5, "duplicate_picture: same content as a"),
        (None, "duplicate_picture: same content as a"),
        (0.0, "contradicting_duplicate: same content as a (AU4 0.0 here, 3.0 there)"),
    ],
)
def test_of_one_content_the_first_stays_and_contradicting_labels_are_told(au4, reason):
    result = duplicates.drop_equal(labelled(("b", "x", au4), ("a", "x", 3.0), ("c", None, 1.0)), COLUMNS)
    assert result["keep"].to_list() == [False, True, True]
    assert told(result) == [reason, None, None]
    assert result.select(duplicates.FOUND.names()).row(0) == ("a", "content", 0)
