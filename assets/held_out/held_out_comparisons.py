"""held_out_comparisons: the experiments on prompts that nothing was chosen by, once opened."""

import dagster as dg
import polars as pl

from assets import calls, stage
from assets.drawing import draw
from assets.held_out import openings
from assets.measuring import describe, embed, measure_by_all
from assets.results.comparisons import by_experiment, by_judge
from inference import questions
from settings.profile import Profile
from store import Store

NAME = "held_out_comparisons"


@stage.asset(code_version="2", kinds={"torch"}, pool="gpu", deps=[openings.openings])
def held_out_comparisons(
    context: dg.AssetExecutionContext,
    trained_model: pl.DataFrame,
    guidance_curve: pl.DataFrame,
    training_set: pl.DataFrame,
    store: dg.ResourceParam[Store],
    profile: dg.ResourceParam[Profile],
) -> dg.MaterializeResult:
    """Every tested measure of every experiment beside its rival's, on the held-out prompts, with the guidance
    that was chosen before; Holm-corrected as one family. Refuses unless somebody opened them.
    """
    from evaluation import comparisons, guidance, partners, protocol

    samples = held_out_samples(profile, training_set)
    opened = opening(store, protocol.version(samples))
    asked = pl.concat([samples, protocol.no_au_samples(samples)])
    prompts = asked.select("prompt").unique().sort("prompt")
    texts = calls.ask(
        context, store, questions.text_embeddings(profile.evaluation.embedder), prompts, profile
    )
    scores, beside, made, reused = [], {}, texts.asked, texts.reused
    for name, trained in by_experiment(trained_model, profile.experiments).items():
        scale = guidance.chosen(guidance_curve.filter(experiment=name))
        drawn = draw(context, store, profile, trained.row(0, named=True), asked, scale)
        pictures = drawn.frame.with_columns(experiment=pl.lit(name), guidance=pl.lit(scale))
        measured, *judged = measure_by_all(context, store, profile, pictures)
        embedded, *seen = embed(context, store, profile, pictures)
        described, *known = describe(context, store, profile, pictures)
        scores.append(measured)
        beside[name] = partners.joined(partners.cosines(embedded, texts.frame), described)
        made += drawn.asked + judged[0] + seen[0] + known[0]
        reused += drawn.reused + judged[1] + seen[1] + known[1]
    pairs = [pair for pair in profile.rivals.items() if {*pair} <= {*beside}]
    table = comparisons.compare(by_judge(pl.concat(scores), profile), beside, pairs)
    return stage.result(
        table,
        model_calls=made,
        reused=reused,
        opened=f"{opened['time']:%Y-%m-%d %H:%M} UTC by {opened['author']}: {opened['reason']}",
        stand=table.drop_nulls("better").height,
        prompts=stage.markdown(samples.select("prompt_index", "prompt").unique().sort("prompt_index")),
        comparisons=stage.markdown(table),
    )


def held_out_samples(profile: Profile, training_set: pl.DataFrame) -> pl.DataFrame:
    """The held-out samples of the profile's protocol; of its first prompts if the profile says so."""
    from evaluation import protocol

    count = min(protocol.HELD_OUT_PROMPTS, profile.evaluation.prompts or protocol.HELD_OUT_PROMPTS)
    return protocol.held_out_samples(
        profile.evaluation.protocol,
        protocol.training_captions(training_set),
        protocol.other_captions(training_set),
        profile.evaluation.prompts,
        count,
    )


def opening(store: Store, version: str) -> dict:
    """The opening of that version of the protocol that nothing was measured after yet. Raises dg.Failure."""
    rows = openings.read(store).filter(protocol=version)
    if store.version(NAME) is not None:
        rows = rows.filter(pl.col("time") > store.history(NAME)[0]["timestamp"])
    if rows.is_empty():
        raise dg.Failure(
            "the held-out prompts are not opened by running a stage: `fineface held-out --reason …` does",
            allow_retries=False,
        )
    return rows.row(-1, named=True)
