"""A story that a page can show: verdicts, people, the AUs that matter, and nothing of the data obeyed."""

import pytest
from app_home import CARTOON, FRAME, SMILE, say, training_set

import stages
from app import chain, markup
from provenance import story
from provenance.why import why


def told(store, sample):
    trail = why(store, sample)
    return chain.told(trail, {SMILE: "/picture/192/raw_affectnet/smile"}.get, story.verdict(trail))


def test_a_kept_sample_goes_to_the_end_with_its_pictures(store):
    found = told(store, SMILE)
    assert found.state == "kept" and "split train" in found.verdict
    assert [link.stage for link in found.links][:3] == ["raw_affectnet", "face_crop", "resolution"]
    assert found.links[-1].stage == "training_set"
    assert found.links[0].picture == "/picture/192/raw_affectnet/faces/smile.png"
    bars = {link.stage: [(bar.au, bar.value) for bar in link.bars] for link in found.links if link.bars}
    assert bars == {"au_annotation": [(12, 2.0)], "training_set": [(12, 3.5)]}, "only the AUs that matter"


def test_a_dropped_sample_ends_where_it_was_dropped_and_says_why(store):
    found = told(store, CARTOON)
    assert found.state == "dropped" and found.links[-1].stage == "photorealism"
    assert found.links[-1].state == "dropped" and "cartoon" in found.links[-1].verdict


def test_what_a_person_said_stands_in_the_story_and_says_whether_it_is_applied(store):
    say(store, SMILE, "training_set", "AU4=2", minute=1)
    last = told(store, SMILE).links[-1]
    assert last.people == ("Ada said AU4=2 on 2026-03-01 12:01 UTC: because – not applied yet",)
    store.write("training_set", training_set(store.read("overrides")))
    found = told(store, SMILE)
    assert found.links[-1].people == ("Ada said AU4=2 on 2026-03-01 12:01 UTC: because",)
    assert found.links[-1].state == "overruled" and found.stands == {"AU4": "AU4=2"}
    assert [(bar.au, bar.overruled) for bar in found.links[-1].bars] == [(4, True), (12, False)]
    say(store, SMILE, "training_set", "AU4=undo", minute=2)
    assert told(store, SMILE).stands == {}


def test_a_frame_brings_its_manual_labels(store):
    assert [(bar.au, bar.value) for bar in told(store, FRAME).links[0].bars] == [(12, 5.0)]


def test_a_page_shows_texts_of_the_data_as_they_are(store):
    page = markup.render("story", story=told(store, SMILE))
    assert "a &lt;b&gt;smile&lt;/b&gt;" in page and "<b>smile" not in page


def test_every_title_is_that_of_a_stage():
    assert set(chain.TITLES) <= {stage.name for stage in stages.STAGES}


@pytest.mark.parametrize("name", ["grid", "pairs", "change", "spreads"])
def test_pieces_without_anything_to_show_say_so(name):
    nothing = {"rows": [], "pairs": [], "change": None, "spreads": []}
    more = {"total": 0, "all": 0, "pages": 1, "number": 1, "chosen": "", "shown": "id", "au": None}
    assert 'class="empty"' in markup.render(name, **nothing, **more, title="", empty="nothing yet")
