"""guidance_curve: what each guidance scale gives on the validation prompts, and the one that is chosen."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import polars as pl

from assets import stage
from assets.drawing import draw
from assets.measuring import embed, measure
from settings.profile import Profile
from store import Store


def build(
    experiments: dg.StaticPartitionsDefinition, gates: list[dg.AssetCheckKey]
) -> list[dg.AssetsDefinition]:
    """The asset, with one partition an experiment."""

    @stage.asset(
        code_version="1",
        partitions_def=experiments,
        kinds={"torch", "huggingface"},
        pool="gpu",
    )
    def guidance_curve(
        context: dg.AssetExecutionContext,
        trained_model: pl.DataFrame,
        store: dg.ResourceParam[Store],
        profile: dg.ResourceParam[Profile],
    ) -> dg.MaterializeResult:
        """AU error, CLIP-I and faces lost of every candidate; chosen before any picture of the protocol."""
        from evaluation import figures, guidance

        curve, made, reused = candidates(context, store, profile, trained_model.row(0, named=True))
        tried = curve["samples"].sum() > 0
        drawn = figures.guidance_curves({context.partition_key: curve}) if tried else None
        return stage.result(
            curve.with_columns(experiment=pl.lit(context.partition_key)),
            model_calls=made,
            reused=reused,
            guidance=guidance.chosen(curve),
            rule=guidance.RULE,
            curve=stage.markdown(curve),
            picture=stage.picture(drawn, "error, CLIP-I and faces lost over guidance") if drawn else None,
        )

    return [guidance_curve]


def candidates(
    context: dg.AssetExecutionContext, store: Store, profile: Profile, trained: Mapping[str, Any]
) -> tuple[pl.DataFrame, int, int]:
    """`evaluation.guidance.curve` of the profile's candidates for the model `trained`, a row of its table, as
    the first judge and CLIP measure them; calls, reused. The experiment's own guidance, or a single
    candidate, is taken unseen.

    Validation prompts and seeds are none of the protocol's.
    """
    from evaluation import guidance, partners, protocol

    own = profile.experiments[trained["experiment"]].sample.guidance
    scales = [float(scale) for scale in (profile.evaluation.guidance_candidates if own is None else [own])]
    if len(scales) == 1:
        return guidance.untried(scales[0]), 0, 0
    samples = protocol.validation_samples(profile.evaluation.protocol, profile.evaluation.prompts)
    measured, calls_made, answers_known = {}, 0, 0
    for scale in scales:
        drawn = draw(
            context, store, profile, trained, pl.concat([samples, protocol.no_au_samples(samples)]), scale
        )
        pictures = drawn.frame.drop_nulls("partner_id")
        judged, *judge_calls = measure(context, store, profile, profile.judge, pictures)
        embedded, *clip_calls = embed(context, store, profile, drawn.frame)
        cosines = partners.cosines(embedded)
        measured[scale] = judged.with_columns(clip_i=cosines["clip_i"])
        calls_made += drawn.asked + judge_calls[0] + clip_calls[0]
        answers_known += drawn.reused + judge_calls[1] + clip_calls[1]
    return guidance.curve(measured), calls_made, answers_known
