"""What a report says below its numbers: with which settings, models and versions they were made, as the
commits and rows of the tables say. The profile may be newer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import polars as pl

import stages
from exports.samples import ancestry, plain
from provenance import lineage
from store import Store

Facts = dict[str, dict[str, object]]
SETTINGS = {
    "Photographs kept": ("photorealism", "photorealism"),
    "Captions": ("captions", "captions"),
    "Labeller": ("au_annotation", "au_estimator"),
    "Split": ("training_set", "split"),
}
"""Headings, and where the settings below them are read: a stage, and a section of its settings."""
ANSWERED = ("photorealism", "captions", "au_annotation", "latents")
"""Tables whose rows say which model answered."""


def gathered(
    store: Store,
    trained_model: pl.DataFrame,
    guidance_curve: pl.DataFrame,
    scores: Mapping[str, pl.DataFrame],
) -> Facts:
    """Tables of names and values by heading. `scores`: tables that say which model measured, by a name."""
    commits = {one.stage: one for one in ancestry(store, "latents")}
    found: Facts = {"Experiments": _experiments(trained_model, guidance_curve)}
    for name in trained_model["experiment"]:
        settings = _settings(store, f"trained_model/{name}")
        found[f"Training: {name}"] = flat(settings.get("experiments", {}).get(name, {}).get("train", {}))
    found["Base"] = flat(_settings(store, f"trained_model/{trained_model['experiment'][0]}").get("base", {}))
    found["Recipe"] = _recipe(commits)
    for heading, (stage, section) in SETTINGS.items():
        if stage in commits:
            found[heading] = flat(commits[stage].settings.get(section) or {})
    found["Evaluation"] = flat(
        _settings(store, f"generated_samples/{trained_model['experiment'][0]}", "evaluation")
    )
    fingerprints: dict[str, object] = {name: answered(store.read(name, columns=WHO)) for name in ANSWERED}
    fingerprints |= {name: answered(table) for name, table in scores.items()}
    found["Who answered, and its fingerprint"] = {name: who for name, who in fingerprints.items() if who}
    found["Table versions"] = {name: store.version(name) for name in (*stages.FUNNEL, "latents")}
    return {heading: facts for heading, facts in found.items() if facts}


def other_curves(store: Store, experiments: Collection[str]) -> dict[str, pl.DataFrame]:
    """The guidance curves of the home's other experiments, as far as they were trained and measured like
    those of `experiments`: on the same training set, by the same judge, on the same validation samples, at
    whatever scales."""

    def measured(name: str) -> tuple[object, ...]:
        settings = _settings(store, f"guidance_curve/{name}")
        evaluation = dict(settings.get("evaluation") or {})
        return settings.get("judge"), {**evaluation, "guidance_candidates": None}, _trained_on(store, name)

    own = [measured(name) for name in experiments if store.version(f"guidance_curve/{name}") is not None]
    names = [table.partition("/")[2] for table in store.stages("guidance_curve")]
    # By a store that keeps no account: they are shown beside the results, which are not made from them
    apart = Store(store.home)
    curves = {
        name: apart.read(f"guidance_curve/{name}")
        for name in names
        if name not in experiments and measured(name) in own
    }
    return {name: curve for name, curve in curves.items() if curve["samples"].count()}


def _trained_on(store: Store, experiment: str) -> str | None:
    """The content of the training set behind an experiment's guidance curve, as far as the commits say."""
    model = f"trained_model/{experiment}"
    trained = lineage.version_read(store, f"guidance_curve/{experiment}", model)
    if trained is None:
        return None
    read = lineage.version_read(store, model, "training_set", trained)
    return None if read is None else lineage.content(store, "training_set", read)


WHO = ["model", "fingerprint"]


def answered(table: pl.DataFrame) -> str:
    """The models that the rows of `table` name, each with its fingerprint."""
    rows = table.select(WHO).drop_nulls().unique().sort(WHO).iter_rows()
    return ", ".join(f"{plain(model)} ({fingerprint})" for model, fingerprint in rows)


def flat(settings: Mapping[str, Any], before: str = "") -> dict[str, object]:
    """Settings inside of settings by dotted names, without those that are null; of a path its last part."""
    found: dict[str, object] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{before}{name}.")
        elif value is not None:
            found[before + name] = plain(value)
    return found


def _experiments(trained_model: pl.DataFrame, guidance_curve: pl.DataFrame) -> dict[str, object]:
    chosen = dict(guidance_curve.filter("chosen").select("experiment", "guidance").iter_rows())
    found: dict[str, object] = {}
    for row in trained_model.iter_rows(named=True):
        name = row["experiment"]
        samples = f"{row['steps']:,} steps on {row['samples']:,} samples, " if row["samples"] else ""
        scale = f"guidance {chosen[name]:g}" if name in chosen else "guidance not chosen yet"
        found[name] = f"{samples}{scale}; {row['model_hash'] or 'untouched base'}"
    return found


def _recipe(commits: Mapping[str, Any]) -> dict[str, object]:
    """The recipe of the labels, number by number."""
    recipe = (
        commits["au_corrections"].settings.get("corrections.recipe") if "au_corrections" in commits else None
    )
    if not isinstance(recipe, Mapping):
        return {}
    powers = {
        f"AU{power['au']}": f"x^{power['gamma']:g}, normalised to {power['target']:g}"
        if power.get("target_au") is None
        else f"x^{power['gamma']:g}, normalised to AU{power['target_au']}"
        for power in recipe.get("powers") or ()
    }
    return flat({name: value for name, value in recipe.items() if name != "powers"}) | powers


def _settings(store: Store, table: str, section: str | None = None) -> dict[str, Any]:
    """The settings in the latest commit of `table`; empty where it was never written."""
    found = ancestry(store, table)
    settings = dict(found[0].settings) if found else {}
    return settings if section is None else dict(settings.get(section) or {})
