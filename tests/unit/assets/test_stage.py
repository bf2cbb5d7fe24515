"""What every stage hands back, and the pictures it shows."""

import io

import dagster as dg
import polars as pl
from PIL import Image

from assets import pictures, stage
from store.hashing import hash_frame

TABLE = pl.DataFrame(
    {
        "sample_id": ["a", "b", "c", "d"],
        "keep": [True, False, False, False],
        "reason_code": [None, "too_small", "too_small", "no_face"],
    }
)


def test_a_result_counts_rows_reasons_and_calls():
    result = stage.result(TABLE, model_calls=3, reused=1, note="x", nothing=None)
    found = result.metadata
    assert result.value is TABLE and result.data_version == dg.DataVersion(hash_frame(TABLE))
    assert (found["dagster/row_count"], found["kept"], found["dropped"]) == (4, 1, 3)
    assert (found["model_calls"], found["reused"], found["note"]) == (3, 1, "x")
    assert "nothing" not in found
    assert "| too_small | 2 | b |" in found["dropped_by_reason"].value
    columns = {column.name: column.type for column in found["dagster/column_schema"].columns}
    assert columns == {"sample_id": "String", "keep": "Boolean", "reason_code": "String"}


def test_equal_tables_have_equal_data_versions():
    assert stage.result(TABLE).data_version == stage.result(TABLE.clone()).data_version
    assert stage.result(TABLE).data_version != stage.result(TABLE.reverse()).data_version


def test_a_table_without_keep_has_no_counts_by_reason():
    assert set(stage.result(TABLE.select("sample_id")).metadata) == {
        "dagster/row_count",
        "dagster/column_schema",
    }


def test_markdown_escapes_what_would_break_a_table():
    text = stage.markdown(pl.DataFrame({"a": ["x|y\nz", None], "b": [1.23456, None]})).value
    assert text.splitlines()[2:] == ["| x\\|y z | 1.235 |", "|  |  |"]


def test_the_share_of_nothing_is_zero():
    assert stage.share(pl.Series([], dtype=pl.Boolean)) == 0.0
    assert stage.share(pl.Series([True, False])) == 0.5


def test_contact_sheets_show_what_can_be_read(tmp_path):
    for name, colour in (("red", (255, 0, 0)), ("blue", (0, 0, 255))):
        Image.new("RGB", (40, 30), colour).save(tmp_path / f"{name}.png")
    paths = [str(tmp_path / name) for name in ("red.png", "missing.png", "blue.png")]
    sheet = Image.open(io.BytesIO(pictures.contact_sheet(paths, ["one", "two", "three"])))
    size = pictures.TILE
    assert sheet.size == (3 * size, size + 14)
    middle = [sheet.getpixel((size // 2 + place * size, size // 2)) for place in range(3)]
    assert middle == [(255, 0, 0), (255, 255, 255), (0, 0, 255)]


def test_sheets_of_kept_and_dropped(tmp_path):
    Image.new("RGB", (8, 8)).save(path := tmp_path / "x.png")
    frame = TABLE.with_columns(pl.lit(str(path)).alias("path"))
    assert set(pictures.sheets(frame)) == {"sheet_kept", "sheet_dropped"}
    assert set(pictures.sheets(frame.filter("keep"))) == {"sheet_kept"}
    assert pictures.sheets(frame.clear()) == {}


def test_spread_takes_rows_from_all_over():
    rows = pictures.spread(pl.DataFrame({"x": range(100)}), 10)["x"].to_list()
    assert rows == list(range(0, 100, 10))
    assert pictures.spread(pl.DataFrame({"x": [1, 2]}), 10).height == 2
