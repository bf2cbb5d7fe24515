"""Model calls of a stage: once a content, remembered, unreadable pictures set aside, the model named."""

from types import SimpleNamespace

import polars as pl
import pytest

from assets import annotators, calls
from store import Store

SCHEMA = {"shade": pl.Int64}
CONTEXT = SimpleNamespace(log=SimpleNamespace(info=lambda text: None))


class Oracle:
    """Answers with the number in a file's name; records what it was asked."""

    def __init__(self, fingerprint="f1", broken=()):
        self.asked, self.broken = [], set(broken)
        self.model = annotators.Model("oracle@1", fingerprint, self.read)

    def read(self, requests):
        for row in reversed(requests.to_dicts()):
            self.asked.append(row["path"])
            if row["path"] in self.broken:
                yield {"key": row["key"], "problem": "cut short"}
            else:
                yield {"key": row["key"], "shade": int(row["path"])}


@pytest.fixture
def ask(tmp_path):
    def ask(oracle, images, **parts):
        return calls.over_images(
            CONTEXT, Store(tmp_path), "shades", images, oracle.model, SCHEMA, chunk=2, **parts
        )

    return ask


def images(*paths):
    return pl.DataFrame({"path": list(paths), "content_hash": [f"content {path}" for path in paths]})


def test_every_row_names_the_model_that_answered(ask):
    found, made, reused = ask(Oracle(), images("3", "1", "2"))
    assert (made, reused) == (3, 0)
    assert found["shade"].to_list() == [3, 1, 2]
    assert set(found["model"]) == {"oracle@1"} and set(found["fingerprint"]) == {"f1"}
    assert found["problem"].null_count() == 3


def test_a_content_is_asked_once_whatever_its_name(ask):
    twice = images("1", "2", "3").with_columns(content_hash=pl.Series(["a", "b", "a"]))
    oracle = Oracle()
    found, made, reused = ask(oracle, twice)
    assert (made, reused) == (2, 0) and sorted(oracle.asked) == ["1", "2"]
    assert found["shade"].to_list() == [1, 2, 1]


def test_a_picture_that_does_not_decode_is_a_problem_of_its_row_and_tried_again(ask):
    found, made, _ = ask(Oracle(broken={"2"}), images("1", "2", "3"))
    assert made == 2 and found["shade"].to_list() == [1, None, 3]
    assert found["problem"].to_list() == [None, "2: cut short", None]
    healed = Oracle()
    found, made, reused = ask(healed, images("1", "2", "3"))
    assert healed.asked == ["2"] and (made, reused) == (1, 2) and found["problem"].null_count() == 3


def test_another_model_or_wording_is_another_answer_and_the_old_one_is_kept(ask):
    ask(Oracle(), images("1"), wording="a")
    for oracle, wording, asked in (
        (Oracle(), "b", ["1"]),
        (Oracle("f2"), "a", ["1"]),
        (Oracle(), "a", []),
    ):
        ask(oracle, images("1"), wording=wording)
        assert oracle.asked == asked
