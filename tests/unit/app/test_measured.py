"""Numbers for the page of results, the fronts, and the pictures behind a cell."""

import app_home
import numpy as np
import pytest

import facs
from app import measured
from app.measured import Point


def test_the_best_of_a_row_is_marked_by_which_way_is_better():
    rows = measured.table(measured.by(app_home.results(), "labeller"), "individual")
    half, none = rows["au_mse_prompted"]
    assert (half.experiment, half.best, none.best) == ("half", True, False)
    assert half.text.startswith("2.75") and none.text.startswith(
        "11.00"
    )  # (1+4+9+16+25)/5 of a quarter, and of all
    assert not any(cell.best for cell in rows["au_mse_mismatched"]), "neither way is better"
    assert measured.judges(app_home.results()) == ["labeller"]
    assert measured.kinds(app_home.results()) == ["individual", "combination"]


def test_leakage_is_half_on_the_diagonal_and_names_what_leaks():
    matrix = measured.leakage(app_home.scores())
    expected = np.eye(12) * 0.5
    expected[facs.ACTION_UNITS.index(12), facs.ACTION_UNITS.index(25)] = 0.5
    assert matrix == pytest.approx(expected)


def test_a_point_is_on_the_front_unless_another_is_as_good_in_both():
    points = measured._marked(
        [
            Point("a", 1.0, 0.5),
            Point("b", 2.0, 0.9),
            Point("c", 2.5, 0.9),
            Point("d", None, 0.9),
            Point("e", 1.0, 0.5),
        ]
    )
    assert [(one.experiment, one.front) for one in points] == [
        ("a", True),
        ("b", True),
        ("c", False),
        ("e", True),
    ]


def test_the_pictures_of_a_cell_are_those_that_ask_for_its_au_alone_each_with_its_partner():
    pairs = measured.pictures(app_home.scores(), "individual", au=12, read=25)
    assert [one.asked for one in pairs] == [f"AU12={value}" for value in (1, 2, 3, 4, 5)]
    assert [one.measured for one in pairs] == [f"AU25 {value / 2:.1f}" for value in (1, 2, 3, 4, 5)]
    assert {one.partner for one in pairs} == {"no_au/00/au12.png"}
    assert pairs[-1].error == pytest.approx(6.25)


def test_the_pictures_of_a_number_go_from_its_best_to_its_worst():
    pairs = measured.pictures(app_home.scores(), "individual")
    errors = [one.error for one in pairs]
    assert errors == sorted(errors) and errors[0] == 0.25 and len(pairs) <= measured.SHOWN


def test_a_picture_without_a_face_says_so():
    faceless = app_home.scores().with_columns(**{f"measured_{column}": None for column in facs.COLUMNS})
    assert measured.pictures(faceless, "individual", au=4)[0].measured == "no face"


def test_scores_are_those_of_the_judge_that_is_asked(store):
    assert measured.scores_of(store, "half") is None and measured.experiments(store) == []
    store.write("au_scores/half", app_home.scores())
    assert measured.experiments(store) == ["half"]
    assert measured.scores_of(store, "half").height == app_home.scores().height
    assert measured.scores_of(store, "half", "second").is_empty()
