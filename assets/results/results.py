"""results: the tables of all experiments side by side, and the report."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg
import polars as pl

import stages
from assets import stage
from store import Store

REPORT = "report.html"


@stage.asset(code_version="1", kinds={"polars"}, deps=list(stages.FUNNEL))
def results(
    context: dg.AssetExecutionContext,
    trained_model: pl.DataFrame,
    generated_samples: pl.DataFrame,
    au_scores: pl.DataFrame,
    clip_scores: pl.DataFrame,
    store: dg.ResourceParam[Store],
    profile: dg.ResourceParam[Any],
) -> dg.MaterializeResult:
    """Every measure of every experiment with its 95 % interval, tidy; the report lies at `report` in the
    metadata.
    """
    from evaluation import report, tables

    scores = _by_experiment(au_scores, profile)
    competitor = profile.evaluation.competitor
    competitor = competitor if competitor in scores else None
    judge = judged_by(au_scores, store.read("au_annotation", columns=["fingerprint"]))
    found = tables.results(scores, _by_experiment(clip_scores, profile), competitor)
    path = report.write(
        store.home / REPORT,
        report.ReportData(
            title=profile.title,
            notice=profile.notice,
            judge=judge,
            subtitle=f"profile {profile.name}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, run {context.run_id}",
            results=found,
            au_scores=scores,
            competitor=competitor,
            generated=_by_experiment(generated_samples, profile),
            locate=store.files("generated").path,
            stages={
                name: store.read(name, columns=["source", "keep", "reason_code"]) for name in stages.FUNNEL
            },
            corrections=store.read("au_corrections"),
            losses=_losses(store, trained_model),
            facts=_facts(store, profile, trained_model, au_scores, judge),
        ),
    )
    return stage.result(
        found,
        judge=judge,
        report=dg.MetadataValue.path(path),
        results=stage.markdown(found),
    )


def _by_experiment(table: pl.DataFrame, profile: Any) -> dict[str, pl.DataFrame]:
    """The rows of each experiment, in the profile's order."""
    parts = {name: table.filter(experiment=name) for name in profile.experiments}
    return {name: part for name, part in parts.items() if part.height}


def _losses(store: Store, trained_model: pl.DataFrame) -> dict[str, pl.DataFrame]:
    from assets.experiment.trained_model import losses

    trained = trained_model.drop_nulls("folder")
    folders = trained.select("experiment", "folder").iter_rows()
    return {name: losses((store.home / folder).parents[1]) for name, folder in folders}


def _facts(
    store: Store, profile: Any, trained_model: pl.DataFrame, au_scores: pl.DataFrame, judge: str
) -> dict[str, dict[str, object]]:
    versions = {name: store.version(name) for name in (*stages.FUNNEL, "latents")}
    trained = {row["experiment"]: row["model_hash"] or "untouched base" for row in trained_model.to_dicts()}
    return {
        "Experiments": trained,
        "Evaluation": profile.evaluation.model_dump(),
        "Base": profile.base.model_dump(),
        "Labeller": profile.au_estimator.model_dump(exclude_none=True),
        "Judge": {
            "who": judge,
            "model": ", ".join(au_scores["model"].unique().sort()),
            "fingerprint": ", ".join(au_scores["fingerprint"].unique().sort()),
        },
        "Table versions": versions,
    }


def judged_by(au_scores: pl.DataFrame, labels: pl.DataFrame) -> str:
    """One sentence on who measured the pictures and which AUs were left out. The rows say so, not the
    profile: they may be older than it.
    """
    from evaluation import metrics

    if set(au_scores["fingerprint"]) & set(labels["fingerprint"]):
        who = "The labeller is also the judge: it measures what its own labels taught."
    else:
        who = "A second estimator judges, not the labeller."
    absent = ", ".join(metrics.left_out(au_scores))
    return who + (f" It does not read {absent}; no mean counts it." if absent else "")


@dg.asset_check(
    asset=results,
    additional_ins={"au_scores": dg.AssetIn("au_scores"), "training_set": dg.AssetIn("training_set")},
    blocking=True,
)
def every_experiment_is_complete(
    results: pl.DataFrame,
    au_scores: pl.DataFrame,
    training_set: pl.DataFrame,
    profile: dg.ResourceParam[Any],
) -> dg.AssetCheckResult:
    """Every experiment was measured on every sample of the protocol (1650), with the same prompts and noise:
    those that are drawn change with the training set.
    """
    from assets.experiment.generated_samples import protocol_samples

    identity = ["sample_id", "prompt", "seed"]
    wanted = set(protocol_samples(profile, training_set).select(identity).iter_rows())
    counts = {}
    incomplete = []
    for experiment in results["experiment"].unique().sort():
        measured = au_scores.filter(
            pl.col("kind").is_in(["individual", "combination"]), experiment=experiment
        )
        found = set(measured.select(identity).iter_rows())
        counts[experiment] = len(found)
        if found != wanted:
            incomplete.append(experiment)
    return stage.check(not incomplete, wanted=len(wanted), incomplete=incomplete, **counts)


@dg.asset_check(
    asset=results,
    additional_ins={"au_scores": dg.AssetIn("au_scores"), "clip_scores": dg.AssetIn("clip_scores")},
    blocking=True,
)
def every_experiment_has_the_same_judge(
    results: pl.DataFrame, au_scores: pl.DataFrame, clip_scores: pl.DataFrame
) -> dg.AssetCheckResult:
    """All experiments were measured by one estimator and one CLIP: numbers of two are not comparable."""
    shown = pl.col("experiment").is_in(results["experiment"].unique().to_list())
    who = pl.format("{} ({})", "model", "fingerprint").unique().sort().alias("who")
    found = {
        name: table.filter(shown).select(who)["who"].to_list()
        for name, table in (("au_scores", au_scores), ("clip_scores", clip_scores))
    }
    several = any(len(models) > 1 for models in found.values())
    return stage.check(not several, **{name: ", ".join(models) for name, models in found.items()})
