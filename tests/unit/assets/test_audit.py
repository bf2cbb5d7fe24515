"""The page of borderline verdicts: what it says of hostile data, and how it is written."""

from html.parser import HTMLParser

import polars as pl
import pytest
from PIL import Image

from assets import audit

QUESTIONS = {"cartoon": "Is this a <b>cartoon</b>?", "real": "Is this photo real?"}
HOSTILE = "folder/x'; rm -rf ~ <img src=http://127.0.0.1:3000/graphql>.png"


@pytest.fixture
def rows(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    return pl.DataFrame(
        {
            "sample_id": [HOSTILE], "path": [str(tmp_path / "a.png")], "keep": [True], "margin": [0.1],
            "override": ["keep"], "overruled_by": ["<script>alert(1)</script>"],
            "cartoon_answer": ["no <img src=x onerror=alert(1)>"], "cartoon_score": [0.2],
            "real_answer": ["yes"], "real_score": [0.9],
        }
    )  # fmt: skip


class Page(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.tags, self.sources, self.text = [], [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href", "onerror")]

    def handle_data(self, data):
        self.text += data


def write(path, rows):
    return audit.write(path, rows, QUESTIONS, {"cartoon": 0.5, "real": 0.5})


def test_what_comes_from_data_is_text(tmp_path, rows):
    page = Page(write(tmp_path / "page.html", rows).read_text())
    assert page.tags.count("img") == 1 and "script" not in page.tags
    assert [source.partition(",")[0] for source in page.sources] == ["data:image/jpeg;base64"]
    assert "<script>alert(1)</script>" in page.text and "no <img src=x onerror=alert(1)>" in page.text
    assert "Is this a <b>cartoon</b>?" in page.text
    assert "'folder/x'\"'\"'; rm -rf ~" in page.text, "the command to copy is quoted for a shell"


def test_a_link_in_the_pages_place_is_replaced_and_not_followed(tmp_path, rows):
    other = tmp_path / "other.txt"
    other.write_text("mine")
    (tmp_path / "page.html").symlink_to(other)
    page = write(tmp_path / "page.html", rows)
    assert other.read_text() == "mine" and not page.is_symlink() and "Borderline" in page.read_text()
    assert page.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "other.txt", "page.html"]


def test_a_page_that_cannot_be_made_leaves_the_old_one(tmp_path, rows):
    page = write(tmp_path / "page.html", rows)
    before = page.read_text()
    with pytest.raises(pl.exceptions.ColumnNotFoundError):
        audit.write(page, rows.drop("path"), QUESTIONS, {"cartoon": 0.5, "real": 0.5})
    assert page.read_text() == before
