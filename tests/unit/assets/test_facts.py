"""What the report says of its settings, models and versions: what commits and rows say, and no place of this
machine."""

import polars as pl

from assets.results import facts
from store import Store


def home(tmp_path):
    """A home with the tables that facts are read from, as a run on this machine would leave them."""
    store = Store(tmp_path / "home")
    who = pl.DataFrame({"model": ["reader"], "fingerprint": ["f00d"]})
    photorealism = {
        "photorealism": {"provider": "blip2", "model": "/home/me/blip2", "questions": {"real": "Is it?"}}
    }
    store.write("photorealism", who, {"settings": photorealism})
    store.write("au_annotation", who, {"settings": {"au_estimator": {"provider": "libreface"}}})
    store.write("captions", who, {"settings": {"captions": {"provider": "blip2"}}})
    power = {"au": 1, "gamma": 1.8, "target": 5.0, "target_au": None}
    recipe = {"name": "paper", "zero_below": 1.0, "powers": [power, power | {"au": 15, "target_au": 17}]}
    store.write(
        "au_corrections", who, {"settings": {"corrections.recipe": recipe}, "upstream": {"au_annotation": 0}}
    )
    upstream = {"au_corrections": 0, "captions": 0, "photorealism": 0}
    store.write("training_set", who, {"settings": {"split": {"seed": 3}}, "upstream": upstream})
    store.write("latents", who, {"upstream": {"training_set": 0}})
    train = {"rank": 32, "smoothing": {"variance": 0.2}}
    settings = {"base": {"model": "/data/sd21", "size": 512}, "experiments": {"a": {"train": train}}}
    store.write("trained_model/a", who, {"settings": settings})
    store.write("generated_samples/a", who, {"settings": {"evaluation": {"steps": 50, "clip": "/x/clip"}}})
    return store


def test_facts_are_those_of_the_tables(tmp_path):
    store = home(tmp_path)
    trained = pl.DataFrame({"experiment": ["a"], "steps": [20], "samples": [9], "model_hash": ["abc"]})
    curve = pl.DataFrame({"experiment": ["a", "a"], "guidance": [3.0, 7.5], "chosen": [False, True]})
    judge = pl.DataFrame({"model": ["/models/estimator"], "fingerprint": ["beef"]})
    found = facts.gathered(store, trained, curve, {"judge: labeller": judge})
    assert found["Experiments"] == {"a": "20 steps on 9 samples, guidance 7.5; abc"}
    assert found["Training: a"] == {"rank": 32, "smoothing.variance": 0.2}
    assert found["Base"] == {"model": "sd21", "size": 512}
    assert found["Photographs kept"] == {"provider": "blip2", "model": "blip2", "questions.real": "Is it?"}
    assert found["Recipe"] == {
        "name": "paper",
        "zero_below": 1.0,
        "AU1": "x^1.8, normalised to 5",
        "AU15": "x^1.8, normalised to AU17",
    }
    assert found["Split"] == {"seed": 3} and found["Evaluation"]["steps"] == 50
    answered = found["Who answered, and its fingerprint"]
    assert answered["captions"] == "reader (f00d)" and answered["judge: labeller"] == "estimator (beef)"
    assert found["Table versions"]["training_set"] == 0
    assert "/" not in str({name: rows for name, rows in found.items() if name != "Table versions"})


def test_fronts_show_the_homes_other_experiments_that_were_measured_alike(tmp_path):
    store = Store(tmp_path / "home")
    curve = pl.DataFrame({"guidance": [3.0], "clip_i": [0.9], "samples": [60]})
    alike = {"judge": {"provider": "net"}, "evaluation": {"steps": 6, "guidance_candidates": [3, 4]}}
    scales = {**alike, "evaluation": {"steps": 6, "guidance_candidates": [3]}}
    for name, settings, table in (
        ("own", alike, curve),
        ("before", scales, curve),
        ("by_another_judge", {**alike, "judge": {"provider": "other"}}, curve),
        ("fewer_steps", {**alike, "evaluation": {"steps": 2}}, curve),
        ("untried", alike, curve.with_columns(samples=pl.lit(None, pl.Int64))),
    ):
        store.write(f"guidance_curve/{name}", table, {"settings": settings})
    seen = []
    store.on_read = lambda table, version: seen.append(table)
    assert list(facts.other_curves(store, ["own"])) == ["before"]
    assert facts.other_curves(store, ["unmade"]) == {}
    assert seen == [], "results are not made from what is shown beside them"


def test_fronts_show_no_model_of_another_training_set(tmp_path):
    store = Store(tmp_path / "home")
    curve = pl.DataFrame({"guidance": [3.0], "samples": [60]})
    for name, samples in (("first", "abc"), ("second", "abcd"), ("third", "abcd")):
        trained_on = store.write("training_set", pl.DataFrame({"sample_id": [*samples]}))
        upstream = {"training_set": trained_on}
        model = store.write(f"trained_model/{name}", pl.DataFrame({"a": [0]}), {"upstream": upstream})
        said = {"settings": {"judge": "net"}, "upstream": {f"trained_model/{name}": model}}
        store.write(f"guidance_curve/{name}", curve, said)
    assert list(facts.other_curves(store, ["third"])) == ["second"]
    assert list(facts.other_curves(store, ["first"])) == []
