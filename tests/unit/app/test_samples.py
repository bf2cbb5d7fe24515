"""What became of every sample, and which of them a filter finds."""

from datetime import UTC, datetime

import app_home
import polars as pl
import pytest
from app_home import CARTOON, FRAME, SMALL, SMILE, picture, say, training_set

from app import samples
from app.samples import Filter
from curation import overrides
from reasons import Reason
from store import Store


def ids(table: pl.DataFrame) -> list[str]:
    return table["sample_id"].to_list()


def found(store: Store, **wanted) -> list[str]:
    return ids(samples.select(samples.overview(store), Filter(**wanted)))


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> pl.DataFrame:
    return samples.overview(app_home.write(tmp_path_factory.mktemp("home")))


def test_a_row_a_sample_says_what_became_of_it(store):
    table = samples.overview(store)
    assert ids(table) == sorted([CARTOON, SMILE, SMALL, FRAME])
    rows = {row["sample_id"]: row for row in table.to_dicts()}
    assert (rows[SMILE]["keep"], rows[SMILE]["stage"], rows[SMILE]["split"]) == (
        True,
        "training_set",
        "train",
    )
    assert (rows[CARTOON]["keep"], rows[CARTOON]["stage"]) == (False, "photorealism")
    assert (rows[SMALL]["stage"], rows[SMALL]["reason_code"]) == ("resolution", "too_small")
    assert rows[SMILE]["au12"] == 3.5, "the label that is trained on, not the reading"
    assert (rows[SMILE]["file_kind"], rows[SMILE]["file"]) == ("raw_affectnet", "faces/smile.png")
    assert rows[FRAME]["file"] is None and rows[FRAME]["au12"] == 5.0
    assert rows[SMILE]["margin"] == pytest.approx(0.1) and rows[CARTOON]["margin"] == pytest.approx(-0.1)


def test_disagreement_is_the_spread_of_all_readings_over_the_aus_that_several_have(store):
    rows = samples.overview(store)
    assert dict(rows.drop_nulls("disagreement").select("sample_id", "disagreement").iter_rows()) == {
        SMILE: pytest.approx(2.0 / 12)
    }


def test_a_sample_that_no_stage_has_settled_is_open(store):
    store.write("training_set", training_set().clear())
    store.write("captions", store.read("captions").clear())
    assert found(store, verdict="open") == [SMILE, FRAME]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, [CARTOON, SMILE, SMALL, FRAME]),
        ({"source": "disfa"}, [FRAME]),
        ({"verdict": "kept"}, [SMILE, FRAME]),
        ({"verdict": "dropped"}, [CARTOON, SMALL]),
        ({"reason": "too_small"}, [SMALL]),
        ({"stage": "photorealism"}, [CARTOON]),
        ({"split": "test"}, [FRAME]),
        ({"au": 12, "low": 3.0, "high": 4.0}, [SMILE]),
        ({"disagreement": 0.1}, [SMILE]),
        ({"text": "SMILE"}, [SMILE]),
        ({"text": "frame"}, [FRAME]),
        ({"text": "("}, []),
        ({"overruled": True}, []),
        ({"verdict": "kept", "order": "strongest"}, [FRAME, SMILE]),
        ({"order": "borderline", "stage": "photorealism"}, [CARTOON]),
    ],
)
def test_filters_find(table, wanted, expected):
    shown = ids(samples.select(table, Filter(**wanted)))
    assert shown == expected if "order" in wanted else sorted(shown) == sorted(expected)


def test_a_word_that_stands_marks_its_sample_and_leaves_the_queue(store):
    assert sorted(ids(samples.queue(store))) == [CARTOON, SMILE]
    say(store, CARTOON, "photorealism", "keep", minute=1)
    say(store, FRAME, "training_set", "AU4=2", minute=2)
    assert found(store, overruled=True) == [CARTOON, FRAME]
    assert ids(samples.queue(store)) == [SMILE]
    say(store, CARTOON, "photorealism", "undo", minute=3)
    assert found(store, overruled=True) == [FRAME] and len(samples.queue(store)) == 2


def test_the_overview_is_made_again_when_a_table_has_a_new_version(store):
    overview = samples.Overview(store)
    first = overview.frame
    assert overview.frame is first
    row = overrides.override(SMILE, "training_set", "AU4=2", "Ada", "x", datetime.now(UTC))
    store.append("overrides", row)
    store.write("training_set", training_set(store.read("overrides")))
    assert overview.frame.filter(sample_id=SMILE)["au4"].to_list() == [2.0]


def test_pages_hold_all_rows_once_and_a_page_beyond_is_the_last():
    table = pl.DataFrame({"sample_id": [f"{number:03}" for number in range(250)]})
    assert samples.pages(table) == 3
    shown = pl.concat(samples.page(table, number) for number in (1, 2, 3))
    assert ids(shown) == ids(table)
    assert (
        ids(samples.page(table, 9)) == ids(samples.page(table, 3)) and ids(samples.page(table, 0))[0] == "000"
    )
    assert samples.pages(table.clear()) == 1 and samples.page(table.clear(), 1).is_empty()


def test_an_address_asks_for_a_filter_and_names_that_are_none_are_left_out():
    given = {
        "stage": "photorealism",
        "au": "AU12",
        "low": "1.5",
        "overruled": "1",
        "sample": "x",
        "reason": "",
    }
    assert Filter.of(given) == Filter(stage="photorealism", au=12, low=1.5, overruled=True)
    with pytest.raises(ValueError, match="unknown action unit 'AU3'"):
        Filter.of({"au": "AU3"})


def test_choices_are_those_of_the_home(table):
    there = samples.choices(table)
    assert there["source"] == ["affectnet", "disfa"] and there["split"] == ["test", "train"]
    assert there["stage"] == ["resolution", "photorealism", "training_set"]
    assert set(there["reason"]) == {"too_small", "not_photorealistic"} <= {reason.value for reason in Reason}


def test_a_home_without_tables_has_no_samples(tmp_path):
    empty = samples.overview(Store(tmp_path))
    assert empty.is_empty() and samples.choices(empty)["reason"] == []
    assert samples.select(empty, Filter(au=12)).is_empty() and samples.queue(Store(tmp_path)).is_empty()


def test_a_picture_is_found_before_it_was_cropped(store):
    store.write(
        "raw_folder", store.read("raw_affectnet").with_columns(pl.lit("folder/new.png").alias("sample_id"))
    )
    row = samples.overview(store).filter(sample_id="folder/new.png").row(0, named=True)
    assert row["keep"] is None and row["file"] == picture(CARTOON)["file"]
