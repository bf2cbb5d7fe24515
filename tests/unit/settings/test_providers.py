"""Who may answer: names that are known, classes of the project's own, and nobody else."""

import typing
from importlib import import_module

import pytest

from pipelines import profiles
from settings import profile, providers


@pytest.mark.parametrize(
    ("ability", "name", "place"),
    [
        (ability, name, place)
        for ability, known in providers.PROVIDERS.items()
        for name, place in known.items()
    ],
)
def test_every_name_leads_to_a_class(ability, name, place):
    module, _, found = place.partition(":")
    assert providers.place(ability, name) == place
    assert isinstance(getattr(import_module(module), found), type)


def test_a_profile_may_name_a_class_of_the_projects_own():
    own = "miniature.estimator:TinyEstimator"
    assert providers.place("action_units", own) == own


@pytest.mark.parametrize(
    "foreign",
    [
        "shutil:rmtree", "os:system", "evil.estimator:Estimator", "miniature:Estimator", "inferences.x:Y",
        "inference..blip2:Blip2", "miniature.estimator:TinyEstimator.x", "miniature.estimator:_hidden",
        "miniature.estimator:TinyEstimator\n",
    ],
)  # fmt: skip
def test_no_other_code_runs(foreign):
    with pytest.raises(ValueError, match=r"is no class of inference or miniature, as module:Class"):
        providers.place("action_units", foreign)


def test_a_mistyped_name_gets_the_nearest():
    with pytest.raises(
        ValueError, match="'mediapip' is not one of mediapipe, libreface; did you mean 'mediapipe'"
    ):
        providers.place("action_units", "mediapip")
    for nothing in ("", None):
        with pytest.raises(ValueError, match="is not one of"):
            providers.place("captions", nothing)


def test_a_foreign_class_is_refused_when_the_profile_is_read(tmp_path):
    (tmp_path / "mine.yaml").write_text("extends: miniature\nau_estimator: {provider: 'shutil:rmtree'}\n")
    with pytest.raises(profiles.ProfileError, match=r"au_estimator.*no class of inference or miniature"):
        profiles.load(str(tmp_path / "mine.yaml"), tmp_path)


def test_settings_and_names_are_of_the_same_providers():
    def named(*classes):
        return {typing.get_args(one.model_fields["provider"].annotation)[0] for one in classes}

    answering = named(profile.BlipPhotorealism, profile.LavisPhotorealism)
    captioning = named(profile.BlipCaptions, profile.LavisCaptions)
    assert answering == set(providers.PROVIDERS["answers"])
    assert captioning == set(providers.PROVIDERS["captions"])


def test_blind_spots_are_those_of_known_estimators():
    from inference.abilities import BLIND_SPOTS

    assert set(BLIND_SPOTS) <= set(providers.PROVIDERS["action_units"])
