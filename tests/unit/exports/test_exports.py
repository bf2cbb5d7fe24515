"""What leaves as it is, what may leave at all, and from which tables it came."""

import io

import numpy as np
import pytest
import tiny_export
from PIL import Image

import picture_files
from exports import licences, pictures, samples
from exports.licences import NotPassedOn
from exports.pictures import ChangedPicture, encoded
from picture_files import Region


def file_of(tmp_path, content):
    path = tmp_path / "picture"
    path.write_bytes(content)
    return str(path), picture_files.content_hash(content)


@pytest.mark.parametrize(("form", "suffix"), [("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp")])
def test_a_whole_picture_leaves_as_it_is(tmp_path, form, suffix):
    content = tiny_export.picture(3, form)
    assert encoded(*file_of(tmp_path, content)) == (suffix, content)
    assert encoded(*file_of(tmp_path, content), exact=True)[0] == "png"


@pytest.mark.parametrize("options", [{"form": "BMP"}, {"exif": True}, {"comment": b"Jane's garden"}])
def test_other_formats_and_who_took_it_where_stay_behind(tmp_path, options):
    if "exif" in options:
        exif = Image.Exif()
        exif[0x0112], exif[0x010F] = 6, "the maker's name"
        options = {"exif": exif}
    content = tiny_export.picture(3, **options)
    suffix, written = encoded(*file_of(tmp_path, content))
    assert suffix == "png" and b"maker" not in written and b"garden" not in written
    seen = np.asarray(Image.open(io.BytesIO(written)))
    assert np.array_equal(seen, np.asarray(picture_files.decode(content)))


def test_of_a_part_that_part_leaves_exactly(tmp_path):
    path, whole = file_of(tmp_path, tiny_export.picture(3))
    region = Region(2, 4, 9, 9)
    suffix, written = encoded(picture_files.part_of(path, region), picture_files.part_hash(whole, region))
    assert suffix == "png" and Image.open(io.BytesIO(written)).size == (9, 9)


def test_a_picture_that_was_replaced_does_not_leave(tmp_path):
    path, _ = file_of(tmp_path, tiny_export.picture(3))
    with pytest.raises(ChangedPicture, match="has changed since it was labelled"):
        encoded(path, picture_files.content_hash(tiny_export.picture(4)))


def test_pictures_come_in_order_and_each_once(tmp_path):
    store = tiny_export.write_home(tmp_path, frames=60)
    frame = samples.read(store).frame
    found = list(pictures.read_ahead(frame))
    assert found == [encoded(*row) for row in frame.select("path", "content_hash").iter_rows()]


def test_samples_are_the_kept_rows_with_who_labelled_them(tmp_path):
    found = samples.read(tiny_export.write_home(tmp_path))
    assert found.frame.height == 9 and "affectnet/5.jpg" not in found.frame["sample_id"]
    assert list(found.splits) == ["train", "validation"]
    assert found.splits["train"]["content_hash"].is_sorted()
    who = dict(found.frame.select("source", "annotator").unique().iter_rows())
    assert who == {"affectnet": "reader (f00d)", "disfa": "manual"}
    assert [one.stage for one in found.commits] == ["training_set", "au_annotation", "captions"]
    assert found.setting("captions", "captions")["model"] == "blip2", "no path of this machine"
    assert found.version == "1.0.0"


def test_balance_counts_what_is_labelled_only(tmp_path):
    table = samples.balance(samples.read(tiny_export.write_home(tmp_path)).frame)
    rows = {row["au"]: row for row in table.to_dicts()}
    assert (rows[9]["labelled"], rows[9]["present"], rows[9]["mean"]) == (2, 2, 1.0)
    assert rows[1] == {"au": 1, "name": "Inner Brow Raiser", "labelled": 9, "present": 0, "mean": None}
    assert rows[12]["present"] == 7, "intensities 1, 1.5, 2, …"


def test_an_older_version_is_read_with_what_it_came_from(tmp_path):
    store = tiny_export.write_home(tmp_path)
    table = store.read("training_set")
    store.write("training_set", table.head(3), {"upstream": {"au_annotation": 0}})
    assert samples.read(store).frame.height == 3 and samples.read(store).version == "2.0.0"
    assert samples.read(store, 0).frame.height == 9
    assert [one.stage for one in samples.read(store).commits] == ["training_set", "au_annotation"]


def test_what_may_not_be_passed_on_needs_a_word(tmp_path):
    real = [licences.terms(name, tmp_path) for name in ("affectnet", "disfa", "folder")]
    with pytest.raises(NotPassedOn, match="AffectNet and DISFA may not be passed on"):
        licences.check(real, own_use=False)
    licences.check(real, own_use=True)
    licences.check(real[2:], own_use=False)
    with pytest.raises(NotPassedOn, match="celeba may not"):
        licences.check([licences.terms("celeba", None)], own_use=False)


def test_the_embedded_world_is_anybody_s_in_whatever_format(tmp_path):
    from miniature import raw

    raw.write_affectnet(tmp_path / "affectnet", images=12)
    raw.write_disfa(tmp_path / "disfa", subjects=["SN001"], frames=4)
    for name in ("affectnet", "disfa"):
        found = licences.terms(name, tmp_path / name)
        assert found.passed_on and found.licence == "Apache-2.0"


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("/home/me/models/blip2", "blip2"),
        ("~/weights/x.pt", "x.pt"),
        ("${home}/raw/disfa", "disfa"),
        ("Salesforce/blip2-opt-2.7b", "Salesforce/blip2-opt-2.7b"),
        ({"a": ["/x/y", 3]}, {"a": ["y", 3]}),
    ],
)
def test_settings_leave_without_the_places_of_this_machine(said, left):
    assert samples.plain(said) == left


def test_every_column_has_words():
    for name in (samples.IMAGE, *samples.COLUMNS):
        assert len(samples.described(name)) > 10
