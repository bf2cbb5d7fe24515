"""Drawing frames without an active AU, and assembling the training set."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from told import told

from curation import training_set
from curation.frames import LABELS
from facs import COLUMNS


def disfa(subjects: int, frames: int, active: int = 0) -> pl.DataFrame:
    """Frames of subjects; the first `active` of each have AU12."""
    rows = [(f"SN{s:03}", f) for s in range(subjects) for f in range(frames)]
    table = pl.DataFrame(rows, schema={"subject": pl.String, "frame": pl.Int64}, orient="row")
    return table.with_columns(
        pl.format("disfa/{}/{}", "subject", pl.col("frame").cast(pl.String).str.zfill(5)).alias("sample_id"),
        pl.lit("disfa").alias("source"),
        pl.format("/x/{}/{}.png", "subject", "frame").alias("file"),
        pl.lit("raw_x").alias("file_kind"),
        pl.format("hash-{}-{}", "subject", "frame").alias("content_hash"),
        *(pl.lit(0.0).alias(label) for label in LABELS),
    ).with_columns(pl.when(pl.col("frame") < active).then(3.0).otherwise(0.0).alias("label_au12"))


def web(count: int, source: str = "affectnet") -> pl.DataFrame:
    table = pl.DataFrame({"number": range(count)})
    return table.select(
        pl.format("{}/1/{}.jpg", pl.lit(source), pl.col("number").cast(pl.String).str.zfill(4)).alias(
            "sample_id"
        ),
        pl.lit(source).alias("source"),
        pl.format("/web/{}.jpg", "number").alias("file"),
        pl.lit("raw_x").alias("file_kind"),
        pl.format("webhash-{}", "number").alias("content_hash"),
        *(pl.lit(float(i % 6)).alias(column) for i, column in enumerate(COLUMNS)),
    )


def captions(*tables: pl.DataFrame) -> pl.DataFrame:
    ids = pl.concat([table.select("sample_id") for table in tables])
    return ids.with_columns(pl.format("a picture of {}", "sample_id").alias("caption"))


# the draw


def test_active_frames_stay_and_about_a_tenth_of_the_others():
    table = training_set.draw_no_au(disfa(27, 400, active=100), 0.1, seed=0)
    active, idle = table.filter(pl.col("frame") < 100), table.filter(pl.col("frame") >= 100)
    assert active["keep"].all()
    assert abs(idle["keep"].mean() - 0.1) < 0.01  # 8100 rows: three standard deviations
    assert list(set(told(idle.filter(~pl.col("keep"))))) == ["no_active_au: not drawn (10 % are)"]
    every = idle.group_by("subject").agg(pl.col("keep").sum())["keep"]
    assert every.min() > 5  # no subject is left out


def test_the_share_may_be_one_of_the_active_frames():
    """27 subjects with 100 active and 300 idle frames: a tenth of those is a 30th of these."""
    frames = disfa(27, 400, active=101)
    table = training_set.draw_no_au(frames, 0.1, share_of="active")
    stayed = table.filter(pl.col("keep"), pl.col("frame") > 100)
    assert table.filter(pl.col("frame") <= 100)["keep"].all()
    assert abs(stayed.height - 270) < 50, "three standard deviations of 8,100 draws"
    fewer = training_set.draw_no_au(frames, 0.1).filter(pl.col("keep"), pl.col("frame") > 100)
    assert set(stayed["sample_id"]) < set(fewer["sample_id"]), "in the same order"
    assert training_set.draw_no_au(disfa(1, 10, active=6), 1.0, share_of="active")["keep"].all()
    with pytest.raises(ValueError, match="share_of is neutral or active, not 'all'"):
        training_set.draw_no_au(frames, share_of="all")


def test_another_subject_another_order_or_an_earlier_drop_changes_nothing_for_the_rest():
    small, large = (training_set.draw_no_au(disfa(n, 50), 0.3, seed=7) for n in (3, 4))
    assert_frame_equal(small, large.head(small.height))
    turned = training_set.draw_no_au(disfa(3, 50).reverse(), 0.3, seed=7)
    assert_frame_equal(small, turned.reverse())
    dropped = disfa(3, 50).with_columns(keep=pl.col("frame") > 10, reason_code=pl.lit("no_label"))
    drawn = training_set.draw_no_au(dropped, 0.3, seed=7)
    assert drawn.filter(pl.col("frame") <= 10)["reason_code"].unique().to_list() == ["no_label"]
    assert_frame_equal(
        drawn.filter(pl.col("frame") > 10).select("sample_id", "keep"),
        small.filter(pl.col("frame") > 10).select("sample_id", "keep"),
    )


names = st.sampled_from([f"SN{n:03}" for n in range(1, 33)])


@settings(max_examples=25, deadline=None)
@given(old=st.sets(names, min_size=1), new=st.sets(names), share=st.floats(0, 1), seed=st.integers(0, 99))
def test_whichever_subjects_join_nobody_elses_frames_are_drawn_anew(old, new, share, seed):
    def drawn(subjects):
        ids = [f"disfa/{subject}/{frame:05}" for subject in subjects for frame in range(1, 9)]
        rows = pl.DataFrame({"sample_id": ids}).with_columns(pl.lit(0.0).alias(name) for name in LABELS)
        return dict(training_set.draw_no_au(rows, share, seed).select("sample_id", "keep").iter_rows())

    before, after = drawn(old), drawn(old | new)
    assert before.items() <= after.items()


def test_a_label_that_is_missing_is_no_zero():
    rows = disfa(1, 20).with_columns(label_au17=None)
    assert training_set.draw_no_au(rows, 0.0)["keep"].all()


def test_the_seed_and_the_share_decide():
    table = disfa(4, 100)
    one, two = (training_set.draw_no_au(table, 0.5, seed)["keep"] for seed in (0, 1))
    assert 0.3 < (one == two).mean() < 0.7
    assert training_set.draw_no_au(table, 1.0)["keep"].all()
    assert not training_set.draw_no_au(table, 0.0)["keep"].any()
    few, more = (training_set.draw_no_au(table, share)["keep"] for share in (0.1, 0.4))
    assert (few & more == few).all()  # a larger share keeps what a smaller one kept
    with pytest.raises(ValueError, match=r"share is within \[0, 1\]"):
        training_set.draw_no_au(table, 1.5)
    with pytest.raises(ValueError, match="without column label_au4"):
        training_set.draw_no_au(table.drop("label_au4"))


def test_the_draw_is_the_same_on_every_machine():
    # blake2b, not Python's hash, which changes with each process
    ids = pl.Series(["disfa/SN001/00001", "disfa/SN001/00002"])
    assert [round(x, 6) for x in training_set.uniform(ids, "no active AU 0")] == [0.16793, 0.498887]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(), max_size=30), st.text(max_size=5))
def test_lots_are_within_0_and_1(ids, salt):
    assert all(0 <= number < 1 for number in training_set.uniform(pl.Series(ids, dtype=pl.String), salt))


# the assembly


def test_both_sources_become_one_table():
    one, two = web(3), disfa(1, 2, active=2)
    table = training_set.assemble(one, two, captions(one, two))
    assert table.schema == training_set.SCHEMA
    assert table["sample_id"].to_list() == [*one["sample_id"], *two["sample_id"]]
    assert table["keep"].all() and table["split"].is_in(["train", "validation", "test"]).all()
    assert table.row(0, named=True)["au2"] == 1.0 and table["au12"].to_list()[3:] == [3.0, 3.0]
    assert table["caption"][0] == "a picture of affectnet/1/0000.jpg"
    assert table["subject"].to_list() == [None, None, None, "SN000", "SN000"]


def test_a_source_that_is_not_used_is_left_out():
    assert training_set.assemble(web(3), None, captions(web(3)))["source"].unique().to_list() == ["affectnet"]
    assert training_set.assemble(None, disfa(1, 2), captions(disfa(1, 2))).height == 2
    with pytest.raises(ValueError, match="no source"):
        training_set.assemble(None, None, captions(web(1)))


def test_rows_that_a_stage_dropped_do_not_come_back():
    one = web(3).with_columns(keep=pl.Series([True, False, None]), reason_code=pl.lit("too_weak"))
    table = training_set.assemble(one, None, captions(one))
    assert table["sample_id"].to_list() == ["affectnet/1/0000.jpg"] and table["reason_code"].null_count() == 1


def test_no_subject_is_in_two_splits_and_shares_are_about_kept():
    table = disfa(200, 3, active=3)
    result = training_set.assemble(
        None, table, captions(table), shares={"train": 0.8, "validation": 0.1, "test": 0.1}
    )
    splits = result.group_by("subject").agg(
        pl.col("split").n_unique().alias("splits"), pl.col("split").first()
    )
    assert splits["splits"].max() == 1
    counts = dict(splits["split"].value_counts().iter_rows())
    assert counts["train"] > 140 and counts["validation"] > 5 and counts["test"] > 5
    more = disfa(201, 3, active=3)
    shares = {"train": 0.8, "validation": 0.1, "test": 0.1}
    again = training_set.assemble(None, more, captions(more), shares=shares)
    assert_frame_equal(again.filter(pl.col("subject") != "SN200"), result)


def test_web_pictures_are_split_by_content_and_folders_of_frames_by_subject():
    table = web(400)
    result = training_set.assemble(table, None, captions(table), shares={"train": 0.5, "test": 0.5})
    assert 150 < (result["split"] == "train").sum() < 250
    renamed = table.with_columns(sample_id=pl.lit("new") + pl.col("sample_id"))
    after = training_set.assemble(renamed, None, captions(renamed), shares={"train": 0.5, "test": 0.5})
    assert after["split"].equals(result["split"])
    clip = web(50, "folder").with_columns(subject=pl.lit("clip1"))
    assert training_set.assemble(clip, None, captions(clip))["split"].n_unique() == 1


def test_the_same_picture_counts_once():
    one, two = web(2), web(2, "folder")  # the same contents
    frames = disfa(1, 2, active=2).with_columns(content_hash=pl.lit("webhash-1"))
    table = training_set.assemble(pl.concat([one, two]), frames, captions(one, two, frames))
    assert table.filter("keep")["sample_id"].to_list() == ["affectnet/1/0000.jpg", "affectnet/1/0001.jpg"]
    dropped = table.filter(~pl.col("keep"))
    assert dropped["split"].null_count() == 4
    assert told(dropped)[0].startswith("contradicting_duplicate: same content as affectnet/1/0001")
    assert told(dropped)[3] == "duplicate_picture: same content as affectnet/1/0001.jpg"
    assert dropped["duplicate_of"].to_list()[2:] == ["affectnet/1/0000.jpg", "affectnet/1/0001.jpg"]


def looks(table: pl.DataFrame, *hashes: str, problem: str | None = None) -> pl.DataFrame:
    """A perceptual hash for each content of `table`, the last for all that are left."""
    padded = [*hashes, *[hashes[-1]] * table.height][: table.height]
    return table.select("content_hash", pl.Series("perceptual_hash", padded)).with_columns(
        reason_code=pl.lit(problem and "corrupt_image", dtype=pl.String),
        reason_detail=pl.lit(problem, dtype=pl.String),
    )


def test_a_picture_that_looks_the_same_is_in_one_split_only_and_moves_nobody():
    """Everything looks alike: of each split but that of the first row nothing is left."""
    one, two = web(60), disfa(6, 3, active=3)
    parts = pl.concat([one.select("content_hash"), two.select("content_hash")])
    shares = {"train": 0.5, "test": 0.5}
    apart = training_set.assemble(one, two, captions(one, two), shares=shares)
    table = training_set.assemble(
        one, two, captions(one, two), hashes=looks(parts, "0" * 64), within=0, shares=shares
    )
    first = apart["split"][0]
    assert table.filter("keep")["sample_id"].to_list() == apart.filter(split=first)["sample_id"].to_list()
    assert table.filter("keep")["split"].unique().to_list() == [first]
    dropped = table.filter(~pl.col("keep"))
    assert dropped.height > 20 and dropped["split"].null_count() == dropped.height
    assert set(dropped["reason_code"]) == {"duplicate_in_another_split"}
    assert dropped["reason_detail"].str.starts_with("affectnet/1/0000").all()


def test_pictures_that_look_different_are_left_alone():
    one = web(60)
    hashes = looks(one, *(f"{(1 << 3 * i) - 1:064x}" for i in range(60)))  # three bits from one to the next
    said = {"hashes": hashes, "shares": {"train": 0.5, "test": 0.5}}
    assert training_set.assemble(one, None, captions(one), within=2, **said)["keep"].all()
    assert not training_set.assemble(one, None, captions(one), within=3, **said)["keep"].all()


def test_a_picture_that_does_not_decode_is_dropped():
    one = web(2)
    hashes = looks(one, "0" * 64, problem="x.png: cut off")
    table = training_set.assemble(one, None, captions(one), hashes=hashes)
    assert not table["keep"].any() and set(told(table)) == {"corrupt_image: x.png: cut off"}


def test_a_picture_without_caption_is_dropped_and_makes_no_duplicate():
    one = web(2).with_columns(content_hash=pl.lit("same"))
    said = captions(one).with_columns(caption=pl.Series([" ", "a man"]))
    table = training_set.assemble(one, None, said)
    assert told(table) == ["no_caption", None] and table["split"][0] is None
    assert training_set.assemble(one, None, said.clear())["keep"].any() is False


def test_an_unsupported_action_unit_stays_null():
    one = web(2).with_columns(au9=pl.lit(None, dtype=pl.Float64))
    assert training_set.assemble(one, None, captions(one))["au9"].null_count() == 2


def test_bad_input_is_refused():
    one = web(2)
    with pytest.raises(ValueError, match="captions have sample ids twice: affectnet/1/0000"):
        training_set.assemble(one, None, captions(one, one))
    with pytest.raises(ValueError, match="sources have sample ids twice"):
        training_set.assemble(pl.concat([one, one]), None, captions(one))
    with pytest.raises(ValueError, match="add up to 1"):
        training_set.assemble(one, None, captions(one), shares={"train": 0.5})
    with pytest.raises(ValueError, match="without column file"):
        training_set.assemble(one.drop("file"), None, captions(one))


def test_the_order_of_rows_changes_nothing():
    one, two = web(20), disfa(3, 5, active=5)
    table = training_set.assemble(one, two, captions(one, two))
    turned = training_set.assemble(one.reverse(), two.reverse(), captions(two, one))
    assert_frame_equal(table, turned)


# rendered pictures


def rendered(people: int, each: int = 10) -> pl.DataFrame:
    """Labelled pictures of the rendered source."""
    table = pl.DataFrame({"n": range(people * each)}).with_columns(person=pl.col("n") // each)
    name = pl.format(
        "rendered/{}/{}",
        pl.col("person").cast(pl.String).str.zfill(6),
        (pl.col("n") % each).cast(pl.String).str.zfill(2),
    )
    return table.select(
        name.alias("sample_id"),
        pl.lit("rendered").alias("source"),
        pl.lit("renderings").alias("file_kind"),
        pl.format("{}.png", "n").alias("file"),
        pl.format("renderedhash-{}", "n").alias("content_hash"),
        pl.col("person").cast(pl.String).alias("subject"),
        *(pl.lit(float(i % 6)).alias(label) for i, label in enumerate(LABELS)),
    )


def mixed(photographs: pl.DataFrame, pictures: pl.DataFrame, share: float | None) -> pl.DataFrame:
    words = captions(photographs, pictures)
    return training_set.assemble(photographs, pictures, words, shares=SPLITS, seed=0, rendered_share=share)


SPLITS = {"train": 0.6, "validation": 0.2, "test": 0.2}


def test_a_share_is_of_each_split_and_the_first_rendered_pictures_fill_it():
    table = mixed(web(200), rendered(60), 0.25)
    kept = table.filter("keep")
    for (_,), rows in kept.group_by("split"):
        photographs = rows.filter(source="affectnet").height
        assert rows.filter(source="rendered").height == photographs // 3  # a quarter of the whole
    assert kept.filter(source="affectnet").height == 200, "no photograph makes room"
    beyond = table.filter(~pl.col("keep"))
    assert set(told(beyond)) == {"beyond_share: 25 % of a split are rendered"}
    everything = mixed(web(200), rendered(60), None).filter(source="rendered", split="train")
    stayed = kept.filter(source="rendered", split="train")["sample_id"].to_list()
    assert stayed == everything["sample_id"].head(len(stayed)).to_list()


def test_more_photographs_let_more_rendered_pictures_in_and_put_none_out():
    before, after = (mixed(web(count), rendered(40), 0.3).filter("keep") for count in (100, 130))
    assert set(before["sample_id"]) < set(after["sample_id"])


def test_rendered_pictures_move_no_photograph_and_their_people_are_in_one_split():
    alone = mixed(web(150), rendered(0), None)
    beside = mixed(web(150), rendered(30), None)
    assert_frame_equal(beside.filter(source="affectnet"), alone)
    pictures = beside.filter(source="rendered")
    assert pictures["keep"].all() and pictures["split"].n_unique() == 3
    assert pictures.group_by("subject").agg(pl.col("split").n_unique())["split"].to_list() == [1] * 30
    assert pictures.select(COLUMNS).row(0) == tuple(float(i % 6) for i in range(12)), "not corrected"


@pytest.mark.parametrize(
    ("others", "share", "places"), [(90, 0.1, 10), (3, 0.5, 3), (0, 0.5, 0), (7, None, None)]
)
def test_places_of_a_share(others, share, places):
    assert training_set.rendered_places(others, share) == places
