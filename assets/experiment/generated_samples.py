"""generated_samples: the protocol's pictures of one experiment, drawn with the guidance that was chosen."""

import dagster as dg
import polars as pl

import facs
from assets import pictures, stage
from assets.drawing import draw, draw_base, protocol_samples
from settings.profile import Profile
from store import Store

COMPLETE = "generated_samples_are_the_protocols"


def build(
    experiments: dg.StaticPartitionsDefinition, gates: list[dg.AssetCheckKey]
) -> list[dg.AssetsDefinition]:
    """The asset, with one partition an experiment."""

    @stage.asset(
        checks=[
            dg.AssetCheckSpec(
                COMPLETE,
                asset="generated_samples",
                blocking=True,
                description="Every sample of the protocol (1650) has one picture, and so have its no-AU "
                "partners and the base's.",
            )
        ],
        code_version="2",
        partitions_def=experiments,
        kinds={"torch", "huggingface"},
        pool="gpu",
    )
    def generated_samples(
        context: dg.AssetExecutionContext,
        trained_model: pl.DataFrame,
        guidance_curve: pl.DataFrame,
        training_set: pl.DataFrame,
        store: dg.ResourceParam[Store],
        profile: dg.ResourceParam[Profile],
    ) -> dg.MaterializeResult:
        """A picture for every sample of the protocol, every no-AU partner, AUs beyond the scale on one
        prompt, and what the untouched base makes of the same prompt and noise; `file` names it.
        """
        from evaluation import guidance, protocol

        scale = guidance.chosen(guidance_curve)
        samples = protocol_samples(profile, training_set)
        beside = protocol.no_au_samples(samples), protocol.beyond_samples(samples)
        own = pl.concat([samples, *beside])
        drawn = draw(context, store, profile, trained_model.row(0, named=True), own, scale)
        experiment = profile.experiments[context.partition_key]
        text_scale = experiment.sample.text_guidance_at(scale)
        base = draw_base(context, store, profile, experiment, protocol.base_samples(samples), text_scale)
        frames = [
            made.frame.with_columns(experiment=pl.lit(context.partition_key), guidance=pl.lit(float(at)))
            for made, at in [(drawn, scale), (base, text_scale)]
        ]
        table = pl.concat(frames)
        shown = pictures.spread(table.filter(kind="individual"))
        paths = store.located(shown)["path"].to_list()
        titles = [f"AU{row['prompted']}={sum(row[c] for c in facs.COLUMNS):g}" for row in shown.to_dicts()]
        made = stage.result(
            table,
            model_calls=drawn.asked + base.asked,
            reused=drawn.reused + base.reused,
            protocol=protocol.version(samples),
            prompts=stage.markdown(
                samples.select("prompt_index", "prompt", "prompt_source").unique().sort("prompt_index")
            ),
            guidance=scale,
            sheet=stage.picture(pictures.contact_sheet(paths, titles), "individual samples"),
        )
        return made._replace(check_results=[complete(table, samples)])

    return [generated_samples]


def complete(table: pl.DataFrame, samples: pl.DataFrame) -> dg.AssetCheckResult:
    """Whether `table` has a picture of each of the protocol's `samples`, once, and of all that it names
    beside them."""
    own = table.filter(pl.col("kind").is_in(["individual", "combination"]))
    without = table["file"].null_count()
    right = (
        own.height == samples.height and set(own["sample_id"]) == set(samples["sample_id"]) and not without
    )
    found = stage.check(right, wanted=samples.height, drawn=own.height, without_picture=without)
    return found._replace(check_name=COMPLETE)
