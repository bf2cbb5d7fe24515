"""What runs by itself, switched by command: the states that the UI and the daemon read."""

import pytest
from dagster._serdes import create_snapshot_id

from pipelines import automation, origin, profiles, runs, switches


@pytest.fixture
def opened(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", "")
    with runs.instance(tmp_path) as instance:
        yield instance


def test_off_until_switched_on_and_off_again(opened, tmp_path):
    profile = profiles.load("miniature", tmp_path)

    def on():
        return [one.name for one in switches.switches(opened, profile) if one.on]

    assert on() == [] and not switches.daemon_runs(opened)
    switches.turn(opened, profile, ["new_data", "weekly_training"], True)
    assert on() == ["new_data", "weekly_training"]
    states = {state.instigator_name: state for state in opened.all_instigator_state()}
    sensor = states["new_data"]
    assert sensor.selector_id == create_snapshot_id(
        origin.repository().get_instigator_origin("new_data").get_selector()
    )
    assert sensor.instigator_data.min_interval == profile.automation.look_every
    assert states["weekly_training"].instigator_data.cron_schedule == profile.automation.weekly
    switches.turn(opened, profile, switches.NAMES, False)
    assert on() == []
    switches.turn(opened, profile, switches.NAMES, True)
    assert on() == list(switches.NAMES) and len(opened.all_instigator_state()) == len(switches.NAMES)
    whens = {one.name: one.when for one in switches.switches(opened, profile)}
    assert whens["nightly_data_set"] == "0 3 * * * (UTC)" and whens["new_data"] == "every 30 s"


def test_an_unknown_name_is_refused_with_what_is_near(opened, tmp_path):
    profile = profiles.load("miniature", tmp_path)
    with pytest.raises(runs.NothingSelected, match=r"nothing called 'new_date'.*new_data"):
        switches.turn(opened, profile, ["new_date"], True)
    assert not opened.all_instigator_state()


def test_every_switch_is_a_sensor_or_schedule_of_the_definitions(tmp_path):
    from pipelines import definitions

    built = definitions.build(profiles.load("miniature", tmp_path), tmp_path)
    names = {one.name for one in (*built.sensors, *built.schedules)}
    assert names == {*switches.NAMES, automation.FOLLOWS}
