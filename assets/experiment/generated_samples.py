"""generated_samples: the protocol's pictures of one experiment, drawn with the guidance that was chosen."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

import facs
from assets import calls, pictures, stage
from assets.data_set.au_annotation import annotate
from inference import questions
from settings.profile import AUEstimator, Profile
from store import Store
from store.trained import model_here

if TYPE_CHECKING:
    from inference.generation import Generator

FILES = "generated"
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


def draw(
    context: dg.AssetExecutionContext,
    store: Store,
    profile: Profile,
    trained: Mapping[str, Any],
    samples: pl.DataFrame,
    guidance: float,
) -> calls.Answers:
    """`samples` (protocol columns) with `file`, the name of the picture that the model `trained`, a row of
    its table, makes of each.
    """
    import methods.registry

    experiment = profile.experiments[trained["experiment"]]
    worded = requests(samples, methods.registry.wording(experiment.train))
    found = _answers(context, store, profile, generator(store, profile, trained), worded, guidance)
    return replace(found, frame=samples.with_columns(found.frame["file_kind"], found.frame["file"]))


def generator(store: Store, profile: Profile, trained: Mapping[str, Any]) -> "Generator":
    """What draws the pictures of an experiment: the base with the model `trained`, a row of its table, in it.

    Raises CorruptFile for a model that is no longer what was trained.
    """
    import methods.registry

    experiment = profile.experiments[trained["experiment"]]
    load = None
    if trained["folder"] is not None:
        folder = model_here(store.home, trained["folder"])
        load = partial(methods.registry.load, settings=experiment.train, folder=folder)
    model = {"install": load, "model_hash": trained["model_hash"], "arguments": experiment.sample.arguments}
    return _generator(profile, experiment.sample, model)


def draw_base(
    context: dg.AssetExecutionContext,
    store: Store,
    profile: Profile,
    experiment: Any,
    samples: pl.DataFrame,
    guidance: float,
) -> calls.Answers:
    """`samples` with the `file` that the untouched base makes of them, sampled as `experiment` is."""
    asked = samples.select("prompt", "seed", pl.lit(None, dtype=pl.List(pl.Float64)).alias("aus"))
    base = _generator(profile, experiment.sample, {})
    found = _answers(context, store, profile, base, asked, guidance)
    return replace(found, frame=samples.with_columns(found.frame["file_kind"], found.frame["file"]))


def _generator(profile: Profile, sample: Any, model: Mapping[str, Any]) -> "Generator":
    """`model` is what a Generator is told beside base and sampling: nothing for the base itself."""
    from inference.generation import Generator

    base, evaluation = profile.base, profile.evaluation
    return Generator(
        base.model,
        base.revision,
        size=base.size,
        steps=sample.steps or evaluation.steps,
        scheduler=sample.scheduler or evaluation.scheduler,
        precision=base.precision,
        batch_size=evaluation.batch_size,
        **model,
    )


def _answers(
    context: dg.AssetExecutionContext,
    store: Store,
    profile: Profile,
    generator: "Generator",
    asked: pl.DataFrame,
    guidance: float,
) -> calls.Answers:
    question = questions.pictures(generator, store.files(FILES))
    asked = asked.with_columns(pl.lit(float(guidance)).alias("guidance"))
    return calls.ask(context, store, question, asked, profile, profile.evaluation.chunk)


def requests(samples: pl.DataFrame, word: Callable[..., Any]) -> pl.DataFrame:
    """prompt, seed and aus of each sample as a method words them; aus is null where the prompt says all."""
    worded = word(samples["prompt"].to_list(), samples.select(facs.COLUMNS).rows())
    vectors = worded.aus if worded.aus is not None else [None] * samples.height
    return samples.select(
        pl.Series("prompt", worded.prompts, dtype=pl.String),
        "seed",
        pl.Series("aus", vectors, dtype=pl.List(pl.Float64)),
    )


def measure(
    context: dg.AssetExecutionContext,
    store: Store,
    profile: Profile,
    judge: AUEstimator,
    samples: pl.DataFrame,
) -> tuple[pl.DataFrame, int, int]:
    """`samples` (with `file`) and what `judge` measures in them: measured_au1 …, faces, and its model and
    fingerprint; calls, reused.
    """
    images = samples.select("file_kind", "file", content())
    found, made, reused = annotate(context, store, judge, images, profile)
    readings = calls.readable(found).select(
        pl.col(facs.COLUMNS).name.prefix("measured_"), "faces", "model", "fingerprint"
    )
    return samples.hstack(readings), made, reused


def content() -> pl.Expr:
    """The content hash of a generated picture: its name says it."""
    return pl.col("file").str.head(32).alias("content_hash")


def protocol_samples(profile: Profile, training_set: pl.DataFrame) -> pl.DataFrame:
    """The protocol's 1650 samples, or those of its first prompts if the profile says so. Prompts that are no
    hand-written ones are captions of `training_set`.
    """
    from evaluation import protocol

    captions = protocol.training_captions(training_set)
    return protocol.build(profile.evaluation.protocol, captions, profile.evaluation.prompts)
