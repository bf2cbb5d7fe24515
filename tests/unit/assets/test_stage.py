"""What every stage hands back, and the pictures it shows."""

import io
from html.parser import HTMLParser
from types import SimpleNamespace

import dagster as dg
import polars as pl
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from PIL import Image

from assets import pictures, stage
from pipelines import definitions, profiles
from settings.view import Undeclared
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


CAPTIONED = pl.DataFrame(
    {
        "sample_id": ["folder/a"], "source": ["folder"], "file_kind": ["raw_folder"], "file": ["a"],
        "content_hash": ["h"],
        "caption": ["a face"], "model": ["m"], "fingerprint": ["f"],
        "keep": [True], "reason_code": [None], "reason_detail": [None],
    },
    schema_overrides={"reason_code": pl.String, "reason_detail": pl.String},
)  # fmt: skip


def captions_of(table, ask=lambda profile: None):
    """A stage called captions that hands back `table` after it asked the profile."""

    @stage.asset(code_version="1")
    def captions(profile: dg.ResourceParam[object]) -> dg.MaterializeResult:
        ask(profile)
        return stage.result(table)

    return captions


def test_a_stage_checks_its_table_and_describes_its_columns():
    asset = captions_of(CAPTIONED)
    specs = {spec.name: spec.blocking for spec in asset.check_specs}
    assert specs == {"captions_is_as_declared": True, "captions_keeps_its_share": True}
    assert asset.group_names_by_key[asset.key] == "data_set"
    made = asset(profile=SimpleNamespace())
    found = {one.check_name: one for one in made.check_results}
    assert found["captions_is_as_declared"].metadata["undeclared"].value == []
    assert all(one.passed for one in found.values())
    (keep,) = [c for c in made.metadata["dagster/column_schema"].columns if c.name == "keep"]
    assert keep.description == "Whether the sample goes on." and not keep.constraints.nullable
    assert made.metadata["models"] == ["m (f)"]


def test_a_table_that_is_not_as_declared_stops_what_follows():
    broken = CAPTIONED.with_columns(source=pl.lit("flickr"), mood=pl.lit(1))
    resources = {"profile": SimpleNamespace(), "io_manager": dg.mem_io_manager}
    run = dg.materialize([captions_of(broken)], resources=resources, raise_on_error=False)
    assert not run.success
    found, compared = run.get_asset_check_evaluations()
    assert not compared.passed and "not as declared" in compared.metadata["compared"].value
    assert not found.passed and found.metadata["complaints"].value == {"source: check__known": 1}
    assert found.metadata["undeclared"].value == ["mood"]


def test_a_stage_sees_the_settings_that_it_declares_and_no_others():
    profile = SimpleNamespace(captions="blip2", chunk=8, split="s")
    seen = []
    captions_of(CAPTIONED, lambda given: seen.append((given.captions, given.chunk)))(profile=profile)
    assert seen == [("blip2", 8)]
    with pytest.raises(Undeclared, match=r"captions asks for profile.split; .* is captions \(stages.py\)"):
        captions_of(CAPTIONED, lambda given: given.split)(profile=profile)


def test_a_setting_is_part_of_what_a_table_is(tmp_path):
    """Another threshold makes photorealism stale, and nothing that does not read it."""
    before, after = (
        versions(tmp_path, photorealism={"thresholds": {"cartoon": cartoon, "real": 0.5}})
        for cartoon in (0.5, 0.6)
    )
    assert {name for name in before if before[name] != after[name]} == {"photorealism"}
    after = versions(tmp_path, corrections={"recipe": "reference"})
    changed = {name for name in before if before[name] != after[name]}
    assert {"resolution", "au_statistics", "au_corrections"} <= changed and "captions" not in changed
    assert before == versions(tmp_path / "moved", photorealism={"thresholds": {"cartoon": 0.5, "real": 0.5}})


def versions(home, **sections):
    """Code versions by stage, of the miniature with keys of `sections` changed."""
    home.mkdir(exist_ok=True)
    path = home / "changed.yaml"
    path.write_text(yaml.safe_dump({"extends": "miniature", **sections}))
    graph = definitions.build(profiles.load(str(path), home), home).resolve_asset_graph()
    return {key.path[-1]: graph.get(key).code_version for key in graph.get_all_asset_keys()}


def test_the_settings_themselves_stand_in_the_metadata(tmp_path):
    graph = definitions.build(profiles.load("miniature", tmp_path), tmp_path).resolve_asset_graph()
    told = graph.get(dg.AssetKey("photorealism")).metadata[stage.SETTINGS]["photorealism"]
    assert set(told["thresholds"]) == set(told["questions"]) == {"cartoon", "real"}
    recipe = graph.get(dg.AssetKey("au_corrections")).metadata[stage.SETTINGS]["corrections.recipe"]
    assert recipe["powers"][0] == {"au": 1, "gamma": 1.8, "target": 5.0, "target_au": None, "amplify": 1.0}
    every = [graph.get(key).metadata.get(stage.SETTINGS) for key in graph.get_all_asset_keys()]
    assert str(tmp_path) not in repr(every), "no folder of this machine"


def test_equal_tables_have_equal_data_versions():
    assert stage.result(TABLE).data_version == stage.result(TABLE.clone()).data_version
    assert stage.result(TABLE).data_version != stage.result(TABLE.reverse()).data_version


def test_a_table_without_keep_has_no_counts_by_reason():
    assert set(stage.result(TABLE.select("sample_id")).metadata) == {
        "dagster/row_count",
        "dagster/column_schema",
    }


HOSTILE = [
    "![x](http://127.0.0.1:3000/graphql?query=mutation)",
    "![x][1]", "[1]: http://127.0.0.1:3000/graphql",
    "[start](javascript:alert(1))",
    "<img src=x onerror=alert(1)>", "<script>alert(1)</script>", "</td></tr></table><h1>x",
    "<http://127.0.0.1:3000>", "https://127.0.0.1:3000/x", "www.evil.org", "ada@evil.org",
    "`code` `` `|` ``", "a | b \\| c \\\\| d", "*a* **b** _c_ __d__ ~~e~~", "&lt;img&gt; &#33;",
    "$x$ {{x}} a_b.jpg #1 \\![x](y)",
]  # fmt: skip


class Page(HTMLParser):
    """Tags and texts of the cells of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.cells: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data):
        if self.cells:
            self.cells[-1] += data


def rendered(*texts: str) -> Page:
    """`texts` as the cells of a column, through a renderer that lets HTML pass."""
    source = stage.markdown(pl.DataFrame({"text": texts})).value
    return Page(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(source))


def test_texts_from_data_are_shown_and_never_obeyed():
    page = rendered(*HOSTILE)
    assert page.tags == {"table", "thead", "tbody", "tr", "th", "td"}
    assert [cell.strip() for cell in page.cells] == ["text", *HOSTILE]


@given(
    st.text(
        st.characters(exclude_categories=["C", "Z"]) | st.sampled_from(" \\`*_[]()<>!|&:#~$"), max_size=30
    )
)
@settings(max_examples=200, deadline=None)
def test_any_text_is_shown_as_it_is(text):
    page = rendered(text, "next")
    assert page.tags == {"table", "thead", "tbody", "tr", "th", "td"}
    assert [cell.strip() for cell in page.cells] == ["text", text.strip(), "next"]


def test_addresses_are_no_links_and_lines_stay_lines():
    assert stage.escaped("https://e.org www.e.org a@e.org") == r"https\://e.org www\.e.org a\@e.org"
    assert stage.escaped("one\n| two\u202egpj.exe") == r"one \| two gpj.exe"
    assert stage.listed(["![x](y)", "b"]).value == "- \\!\\[x\\]\\(y\\)\n- b"
    assert stage.picture(b"", "]![x](y)").value.startswith(r"![\]\!\[x\]\(y\)](data:image/png;base64,")


def test_numbers_are_rounded_and_nothing_is_empty():
    text = stage.markdown(pl.DataFrame({"a": ["x", None], "b": [1.23456, None]})).value
    assert text.splitlines()[2:] == ["| x | 1.235 |", "|  |  |"]


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
