"""AffectNet's 2017 tree as frames, and what is refused."""

import os

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tiny_raw import AFFECTNET_HEADER, LANDMARKS, affectnet, affectnet_line, picture, write
from told import TOLD, counts

from curation import frames
from curation.frames import RawDataError
from curation.sources import affectnet as source
from curation.sources import affectnet_lists
from store.hashing import hash_files


def read(folder):
    return source.read(folder, hash_files)


def reasons(table: pl.DataFrame) -> dict[str, str]:
    return dict(table.filter(~pl.col("keep")).select("origin", TOLD).iter_rows())


@pytest.mark.parametrize("lists", ["Manually_Annotated_file_lists", "Manually_Annotated_file_list"])
@pytest.mark.parametrize("validation_header", [True, False])
def test_both_lists_become_frames(tmp_path, lists, validation_header):
    affectnet(
        tmp_path,
        [affectnet_line("3/ab.JPG", expression=8, valence=-2, arousal=-2)],
        [affectnet_line("1/cd.TIF", valence=1)],
        {"3/ab.JPG": picture(1, form="JPEG"), "1/cd.TIF": picture(2, 20, 10, form="TIFF")},
        lists,
        validation_header,
    )
    table = read(tmp_path)
    assert table.schema == frames.SCHEMA
    assert table["sample_id"].to_list() == ["affectnet/1/cd.TIF", "affectnet/3/ab.JPG"]
    one, two = table.iter_rows(named=True)
    assert one["origin"] == ("validation.csv:2" if validation_header else "validation.csv:1")
    assert (one["width"], one["height"], one["valence"], one["arousal"]) == (20, 10, 1.0, -0.25)
    assert (one["face_x"], one["face_y"], one["face_width"], one["face_height"]) == (1, 2, 10, 8)
    assert one["landmarks"] == LANDMARKS and one["source"] == "affectnet"
    assert (two["expression"], two["valence"], two["arousal"]) == (8, None, None)  # -2: not applicable
    path = tmp_path / "Manually_Annotated_Images/3/ab.JPG"
    assert two["path"] == str(path) and two["content_hash"] == hash_files([path])[0]
    assert table["keep"].all() and table["subject"].null_count() == 2


def test_every_ending_of_the_release_is_read(tmp_path):
    forms = {"jpg": "JPEG", "JPG": "JPEG", "jpeg": "JPEG", "JPEG": "JPEG", "png": "PNG", "PNG": "PNG"}
    forms |= {"bmp": "BMP", "BMP": "BMP", "tif": "TIFF", "TIF": "TIFF", "tiff": "TIFF", "gif": "GIF"}
    pictures = {f"1/{i}.{ending}": picture(i, form=form) for i, (ending, form) in enumerate(forms.items())}
    table = read(affectnet(tmp_path, map(affectnet_line, pictures), pictures=pictures))
    assert table["keep"].all() and table.height == len(forms) and set(table["width"]) == {16}


def test_bad_lines_are_quarantined_by_file_and_line(tmp_path):
    names = ["short", "long", "text", "nan", "range", "expr", "gone", "", "good"]
    lines = {
        "short": "1/short.jpg,1,2",
        "long": affectnet_line("1/long.jpg") + ",7",
        "text": affectnet_line("1/text.jpg", valence="high"),
        "nan": affectnet_line("1/nan.jpg", width="nan"),
        "range": affectnet_line("1/range.jpg", arousal=3),
        "expr": affectnet_line("1/expr.jpg", expression=11),
        "gone": affectnet_line("1/gone.jpg"),
        "": affectnet_line(""),
        "good": affectnet_line("1/good.jpg"),
    }
    pictures = {f"1/{name}.jpg": picture(i) for i, name in enumerate(names) if name not in ("gone", "")}
    table = read(affectnet(tmp_path, [lines[name] for name in names], pictures=pictures))
    assert reasons(table) == {
        "training.csv:2": "short_line: training.csv:2 has 3 cells, not 9",
        "training.csv:3": "long_line: training.csv:3 has 10 cells, not 9",
        "training.csv:4": "not_a_number: training.csv:4 valence 'high'",
        "training.csv:5": "not_a_number: training.csv:5 face_width 'nan'",
        "training.csv:6": "out_of_range: training.csv:6 arousal '3'",
        "training.csv:7": "out_of_range: training.csv:7 expression '11'",
        "training.csv:8": "missing_file: training.csv:8 lists 1/gone.jpg",
        "training.csv:9": "no_path: training.csv:9 names no picture",
    }
    assert table.filter("keep")["sample_id"].to_list() == ["affectnet/1/good.jpg"]


def test_bad_pictures_are_quarantined(tmp_path):
    pictures = {
        "1/cut.jpg": picture(form="JPEG", noise=True, width=64, height=64)[:900],
        "1/empty.jpg": b"",
        "1/text.jpg": b"not_a_picture",
        "1/good.jpg": picture(5),
    }
    table = read(affectnet(tmp_path, map(affectnet_line, pictures), pictures=pictures))
    assert counts(table) == {"empty_file": 1, "not_a_picture": 1, "truncated_image": 1}
    cut = table.filter(pl.col("reason_code") == "truncated_image").row(0, named=True)
    assert "1/cut.jpg" in cut["reason_detail"] and cut["origin"] == "training.csv:2"


def test_a_path_listed_twice_counts_once_and_a_sound_line_goes_first(tmp_path):
    lines = ["1/a.jpg,1", affectnet_line("1/a.jpg"), affectnet_line("1/a.jpg", expression=2)]
    validation = [affectnet_line("1/a.jpg")]
    table = read(affectnet(tmp_path, lines, validation, {"1/a.jpg": picture()}))
    assert table.filter("keep").select("sample_id", "origin").row(0) == (
        "affectnet/1/a.jpg",
        "training.csv:3",
    )
    assert (
        reasons(table)["training.csv:4"] == "duplicate_line: training.csv:4 repeats 1/a.jpg of training.csv:3"
    )
    assert reasons(table)["validation.csv:1"].startswith("duplicate_line: validation.csv:1 ")
    assert "affectnet/1/a.jpg#training.csv:2" in table["sample_id"].to_list()


def test_line_ends_blank_lines_column_order_and_odd_bytes_do_not_matter(tmp_path):
    affectnet(tmp_path, [affectnet_line("1/a.jpg")], pictures={"1/a.jpg": picture()})
    path = tmp_path / "Manually_Annotated_file_lists" / "training.csv"
    head, line = path.read_text().splitlines()
    turned = [",".join(reversed(text.split(","))) for text in (head, line)]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n\r\n".join(turned).encode() + b"\r\n1/\xff.jpg,1\r\n")
    table = read(tmp_path)
    assert table.filter("keep")["origin"].to_list() == ["training.csv:3"]
    assert reasons(table) == {"training.csv:4": "short_line: training.csv:4 has 2 cells, not 9"}


def test_names_that_are_no_utf_8_keep_their_row(tmp_path):
    folder = affectnet(tmp_path, [affectnet_line("1/a.jpg")], pictures={"1/a.jpg": picture()})
    odd = b"1/caf\xe9.jpg"  # Latin-1
    with (folder / "Manually_Annotated_file_lists" / "training.csv").open("ab") as file:
        file.write(affectnet_line("X").encode().replace(b"X", odd, 1) + b"\n")
    os.rename(
        write(folder / "odd", picture(2)), os.fsencode(folder / "Manually_Annotated_Images") + b"/" + odd
    )
    table = read(folder)
    assert reasons(table) == {
        "training.csv:3": "unreadable_name: training.csv:3 names 1/caf\ufffd.jpg, which is not valid UTF-8"
    }
    assert table["keep"].to_list() == [True, False]


@settings(max_examples=25)
@given(
    st.lists(st.sampled_from(["good", "short", "blank", "odd"]), min_size=1, max_size=40),
    st.integers(1, 3000),
)
def test_line_numbers_do_not_depend_on_how_a_list_is_cut_into_blocks(tmp_path_factory, kinds, block):
    lines = {"short": "1/x.jpg,1", "blank": " ", "odd": "1/\xff.jpg,2"}
    texts = [lines.get(kind, affectnet_line(f"{i}.jpg")) for i, kind in enumerate(kinds)]
    path = write(tmp_path_factory.mktemp("lists") / "training.csv", "\n".join(texts).encode("latin-1"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(affectnet_lists, "BLOCK_BYTES", block)
        if set(kinds) == {"blank"}:
            with pytest.raises(RawDataError, match="no lines"):
                affectnet_lists.read([path])
            return
        table = affectnet_lists.read([path])
    expected = {f"training.csv:{i + 1}": kind == "good" for i, kind in enumerate(kinds) if kind != "blank"}
    assert dict(table.select("origin", "keep").iter_rows()) == expected


ODD_CELLS = [{"x": cell} for cell in (" 1", "1 ", "\t1", "+1.", "1e400", "nan", "", '"1"')]
ODD_CELLS += [{"landmarks": cell} for cell in ("", " 1;2 ", "\xff", "1,2", '"')]
ODD_CELLS += [{"expression": 8.5}, {"valence": -2}, *({"arousal": cell} for cell in (7, "0.5,", "0.5\r"))]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.sampled_from(ODD_CELLS)), min_size=1, max_size=3),
    st.lists(
        st.sampled_from(["a.jpg", "./b.jpg", "1\\c.jpg", " d.jpg ", "", "\xff.jpg"]), min_size=3, max_size=3
    ),
    st.sampled_from(["\n", "\r\n", "\n\n"]),
)
@example([None, {"arousal": "0.5,"}], ["a.jpg", "b.jpg", ""], "\n")  # a cell too many at the very end
def test_a_block_read_whole_gives_what_its_lines_give_one_by_one(tmp_path_factory, odd, names, end):
    lines = [affectnet_line(name, **(cells or {})) for name, cells in zip(names, odd, strict=False)]
    path = write(tmp_path_factory.mktemp("lists") / "training.csv", end.join(lines).encode("latin-1"))
    table = affectnet_lists.read([path])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(affectnet_lists, "_whole", lambda *arguments: None)
        assert affectnet_lists.read([path]).equals(table)
    assert affectnet_lists.read([path], landmarks=False).equals(table.drop("facial_landmarks"))


def test_a_list_cannot_reach_out_of_the_picture_folder(tmp_path):
    write(tmp_path / "secret.jpg", picture(9))
    table = read(affectnet(tmp_path, [affectnet_line("../secret.jpg")], pictures={"1/a.jpg": picture()}))
    assert counts(table) == {"missing_file": 1} and table["path"].null_count() == 1


def test_pictures_in_a_linked_folder_are_found(tmp_path):
    write(tmp_path / "elsewhere" / "a.jpg", picture())
    affectnet(tmp_path / "raw", [affectnet_line("1/a.jpg")], pictures={"2/other.jpg": picture(2)})
    (tmp_path / "raw" / "Manually_Annotated_Images" / "1").symlink_to(tmp_path / "elsewhere")
    assert read(tmp_path / "raw")["keep"].to_list() == [True]


def test_a_tree_one_folder_down_is_found(tmp_path):
    affectnet(tmp_path / "Manually_Annotated", [affectnet_line("1/a.jpg")], pictures={"1/a.jpg": picture()})
    assert read(tmp_path)["keep"].to_list() == [True]


def test_a_missing_column_is_named_with_its_file(tmp_path):
    affectnet(tmp_path, [], pictures={"1/a.jpg": picture()})
    path = tmp_path / "Manually_Annotated_file_lists" / "training.csv"
    path.write_text(AFFECTNET_HEADER.replace("valence,", "") + "\n")
    with pytest.raises(RawDataError, match=r"training\.csv has no column valence"):
        read(tmp_path)


def test_what_is_missing_as_a_whole_is_named(tmp_path):
    with pytest.raises(RawDataError, match=r"no folder .*nowhere"):
        read(tmp_path / "nowhere")
    with pytest.raises(
        RawDataError, match=r"no training\.csv or validation\.csv in .*Manually_Annotated_file_lists"
    ):
        read(tmp_path)
    affectnet(tmp_path, [])
    with pytest.raises(RawDataError, match=r"no folder .*Manually_Annotated_Images and no .*part01\.rar"):
        read(tmp_path)
    (tmp_path / "Manually_Annotated_Images").mkdir()
    with pytest.raises(RawDataError, match=r"no lines in .*training\.csv"):
        read(tmp_path)
    affectnet(tmp_path, [affectnet_line("1/a.jpg")])
    with pytest.raises(RawDataError, match=r"no pictures in .*Manually_Annotated_Images"):
        read(tmp_path)


def test_the_table_does_not_depend_on_the_order_on_disk(tmp_path):
    names = [f"{i}/{i}.jpg" for i in range(6)]
    lines, pictures = (
        [affectnet_line(name) for name in names],
        {name: picture(int(name[0])) for name in names},
    )
    one = affectnet(tmp_path / "one", lines, pictures=pictures)
    two = affectnet(tmp_path / "two", lines, pictures=dict(reversed(pictures.items())))
    assert read(one).drop("path").equals(read(two).drop("path"))
