"""class_images: what the untouched base draws of training captions, for methods that keep its prior."""

import random
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl

from assets import calls, stage
from assets.drawing import FILES, content
from inference import questions
from settings.profile import Profile
from store import Store

if TYPE_CHECKING:
    from settings.experiment import ClassImages

SCHEMA = {
    "sample_id": pl.String,
    "caption": pl.String,
    "seed": pl.Int64,
    "picture": pl.String,
    "file_kind": pl.String,
    "file": pl.String,
    "row": pl.Int64,
    "size": pl.Int64,
    "model": pl.String,
    "fingerprint": pl.String,
}


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
    def class_images(
        context: dg.AssetExecutionContext,
        training_set: pl.DataFrame,
        store: dg.ResourceParam[Store],
        profile: dg.ResourceParam[Profile],
    ) -> dg.MaterializeResult:
        """Pictures that the untouched base makes of training captions, and where their latents lie; none
        where the experiment's method is trained on the training set alone. Those that ask for the same share
        them.
        """
        from inference.autoencoder import Autoencoder
        from inference.generation import Generator

        wanted = profile.experiments[context.partition_key].train.drawn_before
        if wanted is None:
            return stage.result(pl.DataFrame(schema=SCHEMA))
        base, evaluation = profile.base, profile.evaluation
        generator = Generator(
            base.model,
            base.revision,
            size=base.size,
            steps=evaluation.steps,
            scheduler=evaluation.scheduler,
            precision=base.precision,
            batch_size=evaluation.batch_size,
        )
        requests = asked(training_set, wanted)
        question = questions.pictures(generator, store.files(FILES))
        drawn = calls.ask(context, store, question, requests, profile, evaluation.chunk)
        named = drawn.frame.select("file_kind", "file", content())
        encoder = Autoencoder(base.model, base.revision, base.precision, base.batch_size)
        question = questions.latents(encoder, base.size, store.files("latents"))
        encoded = calls.ask(context, store, question, named, profile)
        places = calls.readable(encoded.frame).select("file_kind", "file", "row", "model", "fingerprint")
        table = requests.select("sample_id", pl.col("prompt").alias("caption"), "seed").hstack(
            [drawn.frame["file"].alias("picture"), *places.get_columns()]
        )
        table = table.with_columns(pl.lit(base.size, dtype=pl.Int64).alias("size")).select(list(SCHEMA))
        return stage.result(
            table, model_calls=drawn.asked + encoded.asked, reused=drawn.reused + encoded.reused
        )

    return [class_images]


def asked(training_set: pl.DataFrame, wanted: "ClassImages") -> pl.DataFrame:
    """What is asked of the base: sample_id, prompt, aus (null), seed, guidance. The prompts are captions of
    training samples, drawn without repetition while there are enough, as often as each stands there.

    Raises ValueError where there is no training sample.
    """
    captions = stage.kept(training_set).filter(split="train").sort("sample_id")["caption"].to_list()
    if not captions:
        raise ValueError("the training set keeps no sample of the split train, whose captions are drawn with")
    draw = random.Random(wanted.seed)
    prompts: list[str] = []
    while len(prompts) < wanted.count:
        prompts += draw.sample(captions, min(len(captions), wanted.count - len(prompts)))
    seeds = [draw.getrandbits(31) for _ in prompts]
    return pl.DataFrame(
        {
            "sample_id": [f"class/{number:06d}" for number in range(len(prompts))],
            "prompt": prompts,
            "aus": pl.Series([None] * len(prompts), dtype=pl.List(pl.Float64)),
            "seed": seeds,
            "guidance": [float(wanted.guidance)] * len(prompts),
        }
    )
