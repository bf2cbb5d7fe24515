"""Which pictures are edited, and to show what."""

import polars as pl
import pytest
from tiny_editing import training_set

import facs
from evaluation import edit_protocol, protocol


def test_pictures_are_kept_ones_of_the_test_split_in_an_order_of_their_own():
    table = training_set()
    found = edit_protocol.sources(table, 5, seed=0)
    assert set(found["source_id"]) == {f"folder/{place}.png" for place in (1, 2, 3, 4, 5)}
    assert found.equals(edit_protocol.sources(table.sample(fraction=1, shuffle=True, seed=3), 5, seed=0))
    assert edit_protocol.sources(table, 3, 0).equals(found.head(3))
    orders = {tuple(edit_protocol.sources(table, 5, seed)["source_id"]) for seed in range(6)}
    assert len(orders) > 1
    assert found["au9"].to_list() == [0.0] * 5
    with pytest.raises(ValueError, match=r"editing\.pictures: 6 of the split “test” are asked for, it has 5"):
        edit_protocol.sources(table, 6, seed=0)


def test_every_picture_is_asked_for_what_faces_are_drawn_with():
    found = edit_protocol.sources(training_set(), 3, seed=0)
    edits = edit_protocol.build(found, strengths=(0.5, 1.0))
    assert edits["sample_id"].is_unique().all() and edits["sample_id"].is_sorted()
    counts = {
        (kind, strength): count for kind, strength, count in edits.group_by("kind", "strength").len().rows()
    }
    assert counts == {
        ("individual", 0.5): 180,
        ("individual", 1.0): 180,
        ("combination", 1.0): 150,
        ("transferred", 1.0): 3,
        ("unchanged", 1.0): 3,
    }
    drawn = protocol.build("miniature", count=1)
    for kind in ("individual", "combination"):
        asked = edits.filter(kind=kind, strength=1.0, source_index=0).select(facs.COLUMNS).rows()
        assert sorted(asked) == sorted(drawn.filter(kind=kind).select(facs.COLUMNS).rows())


def test_an_unchanged_picture_is_asked_for_what_it_shows_and_a_transferred_one_for_the_next():
    found = edit_protocol.sources(training_set(), 3, seed=0)
    edits = edit_protocol.build(found)
    for row in edits.filter(kind="unchanged").to_dicts():
        assert [row[c] for c in facs.COLUMNS] == [row[c] for c in edit_protocol.SOURCE]
    shows = dict(found.select("source_index", "au6").iter_rows())
    for row in edits.filter(kind="transferred").to_dicts():
        assert row["au6"] == shows[(row["source_index"] + 1) % 3]


def test_strength_multiplies_the_change():
    found = edit_protocol.sources(training_set(), 2, seed=0).with_columns(au12=pl.lit(1.0))
    edits = edit_protocol.targets(edit_protocol.build(found, strengths=(0.5,)))
    row = edits.filter(kind="individual", prompted="12", strength=0.5, au12=5.0, source_index=0).to_dicts()[0]
    shows, target = row["source_au6"], dict(zip(facs.COLUMNS, row["target"], strict=True))
    assert target["au12"] == 1 + 0.5 * (5 - 1) and target["au6"] == shows / 2 and target["au1"] == 0
    whole = edits.filter(strength=1.0)
    assert whole["target"].to_list() == [list(asked) for asked in whole.select(facs.COLUMNS).rows()]
