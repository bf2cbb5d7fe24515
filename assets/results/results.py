"""results: the tables of all experiments side by side, and the report."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

import stages
from assets import catalogue, stage
from assets.results import facts
from assets.results.comparisons import beside_partners, by_experiment, by_judge
from exports import samples
from provenance import lineage
from settings.profile import Profile
from store import CorruptFile, Store

REPORT = "report.html"


@stage.asset(code_version="6", kinds={"polars"}, deps=list(stages.FUNNEL))
def results(
    context: dg.AssetExecutionContext,
    trained_model: pl.DataFrame,
    guidance_curve: pl.DataFrame,
    generated_samples: pl.DataFrame,
    au_scores: pl.DataFrame,
    clip_scores: pl.DataFrame,
    identity_scores: pl.DataFrame,
    realism_scores: pl.DataFrame,
    comparisons: pl.DataFrame,
    au_statistics: pl.DataFrame,
    store: dg.ResourceParam[Store],
    profile: dg.ResourceParam[Profile],
) -> dg.MaterializeResult:
    """Every measure of every experiment with its 95 % interval, tidy; the report lies at `report` in the
    metadata.
    """
    from evaluation import report, seeds, tables

    all_there(store, generated_samples)
    by_judges = by_judge(au_scores, profile)
    first, scores = next(iter(by_judges.items()))
    first_scores = au_scores.filter(judge=first)
    competitor = profile.evaluation.competitor
    competitor = competitor if competitor in scores else None
    labels = store.read("au_annotation", columns=["fingerprint"])
    judge = judged_by(first_scores, labels)
    recipe_scores, recipe = through_recipe(first_scores, labels, au_statistics, profile)
    partner_scores = beside_partners(clip_scores, identity_scores, profile)
    beside = {name: measured for name, measured in by_judges.items() if name != first}
    found = pl.concat(
        [
            tables.results(scores, partner_scores, competitor, recipe_scores, first),
            *(tables.results(measured, None, competitor, None, name) for name, measured in beside.items()),
            tables.of_whole_sets(realism_scores.filter(pl.col("experiment").is_in([*scores]))),
        ]
    )
    settings = {name: experiment.decides for name, experiment in profile.experiments.items()}
    now = datetime.now(UTC)
    measured = {f"judge: {name}": rows for (name,), rows in au_scores.group_by("judge", maintain_order=True)}
    measured |= {"CLIP": clip_scores, "identity": identity_scores}
    over_seeds = seeds.over_seeds(found, seeds.groups(settings))
    path = report.write(
        store.home / REPORT,
        report.ReportData(
            title=profile.title,
            notice=profile.notice,
            judge=f"{judge} {recipe}",
            paper=profile.paper,
            floors=floors(trained_model, profile),
            subtitle=f"profile {Path(profile.name).name}, {now:%Y-%m-%d %H:%M} UTC, run {context.run_id}",
            results=found,
            au_scores=scores,
            beside=beside,
            recipe_scores=recipe_scores,
            competitor=competitor,
            comparisons=comparisons,
            over_seeds=over_seeds,
            guidance=by_experiment(guidance_curve, profile.experiments),
            others=facts.other_curves(store, profile.experiments),
            generated=by_experiment(generated_samples, profile.experiments),
            locate=store.files("generated").path,
            stages={
                name: store.read(name, columns=["source", "keep", "reason_code"]) for name in stages.FUNNEL
            },
            corrections=store.read("au_corrections"),
            losses=_losses(store, trained_model),
            audit=_if_there(store, "annotator_audit"),
            balance=samples.balance(stage.kept(store.read("training_set"))),
            agreement=_if_there(store, "annotator_agreement"),
            recipe_errors=_if_there(store, "recipe_errors"),
            facts=facts.gathered(store, trained_model, guidance_curve, measured),
        ),
    )
    return stage.result(
        found,
        judge=judge,
        through_the_recipe=recipe,
        report=dg.MetadataValue.path(path),
        report_in_the_app=dg.MetadataValue.url(catalogue.report()),
        beside_the_paper=stage.markdown(tables.beside_paper(found, profile.paper, over_seeds)),
        results=stage.markdown(found),
        over_seeds=stage.markdown(over_seeds) if over_seeds.height else None,
    )


def through_recipe(
    au_scores: pl.DataFrame, labels: pl.DataFrame, au_statistics: pl.DataFrame, profile: Profile
) -> tuple[dict[str, pl.DataFrame] | None, str]:
    """The judge's readings corrected as its labels were, an experiment, and a sentence on that. None where
    the judge is no labeller: the recipe was fitted to another estimator's readings.
    """
    from evaluation import through_recipe

    recipe = profile.corrections.recipe
    if set(au_scores["fingerprint"]) != set(labels["fingerprint"]):
        return (
            None,
            f"The recipe “{recipe}” was fitted to the labeller’s readings: this judge’s stay as read.",
        )
    if fitted := sorted(set(au_statistics["recipe"]) - {recipe}):
        return (
            None,
            f"The labels were corrected by “{', '.join(fitted)}”, the profile now says “{recipe}”: readings "
            "stay as read until au_statistics+ is run.",
        )
    corrected = through_recipe.apply(au_scores, recipe, au_statistics)
    said = f"Readings are as read; lines with “recipe” correct them as the labels were, by “{recipe}”."
    return by_experiment(corrected, profile.experiments), said


def floors(trained_model: pl.DataFrame, profile: Profile) -> list[str]:
    """The experiments with nothing trained on a base that was never shown what the words for AUs mean."""
    if profile.base.knows_expressions:
        return []
    return trained_model.filter(pl.col("folder").is_null())["experiment"].to_list()


def _losses(store: Store, trained_model: pl.DataFrame) -> dict[str, pl.DataFrame]:
    from assets.fitting import losses

    trained = trained_model.drop_nulls("folder")
    folders = trained.select("experiment", "folder").iter_rows()
    return {name: losses((store.home / folder).parents[1]) for name, folder in folders}


def _if_there(store: Store, name: str) -> pl.DataFrame | None:
    return store.read(name) if store.version(name) is not None else None


def all_there(store: Store, generated_samples: pl.DataFrame) -> None:
    """Raises CorruptFile where pictures are lost or damaged: the report would be without them."""
    if lost := store.files("generated").lost(generated_samples["file"].drop_nulls().unique().sort()):
        raise CorruptFile(
            f"{len(lost)} generated pictures are lost or damaged, such as {lost[0]}; "
            "'fineface run --select generated_samples+' draws them again"
        )


def judged_by(au_scores: pl.DataFrame, labels: pl.DataFrame) -> str:
    """One sentence on who measured the pictures and which AUs were left out. The rows say so, not the
    profile: they may be older than it.
    """
    from evaluation import metrics

    if labels.is_empty():
        who = "No photograph was labelled by an estimator; the judge is the only one."
    elif set(au_scores["fingerprint"]) & set(labels["fingerprint"]):
        who = "The labeller is also the judge: it measures what its own labels taught."
    else:
        who = "A second estimator judges, not the labeller."
    absent = ", ".join(metrics.left_out(au_scores))
    return who + (f" It does not read {absent}; no mean counts it." if absent else "")


@stage.asset_check(
    asset=results,
    additional_ins={"au_scores": dg.AssetIn("au_scores"), "training_set": dg.AssetIn("training_set")},
    blocking=True,
)
def every_experiment_is_complete(
    results: pl.DataFrame,
    au_scores: pl.DataFrame,
    training_set: pl.DataFrame,
    profile: dg.ResourceParam[Profile],
) -> dg.AssetCheckResult:
    """Every judge measured every experiment on every sample of the protocol (1650), with the same prompts and
    noise: those that are drawn change with the training set.
    """
    from assets.drawing import protocol_samples

    identity = ["sample_id", "prompt", "seed"]
    wanted = set(protocol_samples(profile, training_set).select(identity).iter_rows())
    counts: dict[str, Any] = {}
    incomplete = []
    for experiment in results["experiment"].unique().sort():
        measured = au_scores.filter(
            pl.col("kind").is_in(["individual", "combination"]), experiment=experiment
        )
        for judge in profile.judges:
            found = set(measured.filter(judge=judge).select(identity).iter_rows())
            counts[f"{experiment}, {judge}"] = len(found)
            if found != wanted:
                incomplete.append(f"{experiment}, {judge}")
    return stage.check(not incomplete, wanted=len(wanted), incomplete=incomplete, **counts)


@stage.asset_check(asset=results, blocking=True)
def versions_form_one_chain(store: dg.ResourceParam[Store]) -> dg.AssetCheckResult:
    """All that is behind the results comes of one state of every table, as the commits say: no new pictures
    with old scores, no model of another training set than its rival's."""
    torn = lineage.torn(store, "results")
    told = [
        f"{table}: "
        + "; ".join(f"version {version} for {', '.join(who)}" for version, who in readers.items())
        for table, readers in torn.items()
    ]
    return stage.check(not torn, torn=stage.listed(told) if told else "none")


@stage.asset_check(
    asset=results,
    additional_ins={
        name: dg.AssetIn(name) for name in ("au_scores", "clip_scores", "identity_scores", "realism_scores")
    },
    blocking=True,
)
def every_experiment_has_the_same_judge(
    results: pl.DataFrame,
    au_scores: pl.DataFrame,
    clip_scores: pl.DataFrame,
    identity_scores: pl.DataFrame,
    realism_scores: pl.DataFrame,
) -> dg.AssetCheckResult:
    """Each judge is one model in all experiments, and so are CLIP and who knows faces: numbers of two are not
    comparable."""
    shown = pl.col("experiment").is_in(results["experiment"].unique().to_list())
    who = pl.format("{} ({})", "model", "fingerprint").unique().sort().alias("who")
    measured = {name: rows for (name,), rows in au_scores.group_by("judge", maintain_order=True)}
    found: dict[str, list[str]] = {
        name: table.filter(shown).select(who)["who"].to_list()
        for name, table in (
            *measured.items(),
            ("clip", clip_scores),
            ("identity", identity_scores),
            ("realism", realism_scores),
        )
    }
    several = any(len(models) > 1 for models in found.values())
    said: dict[str, Any] = {name: ", ".join(models) for name, models in found.items()}
    return stage.check(not several, **said)
