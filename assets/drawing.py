"""How pictures are drawn and remembered, whichever stage asks: the protocol's, guidance's, class images."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

import facs
from assets import calls
from inference import questions
from settings.profile import Profile
from store import Store
from store.trained import model_here

if TYPE_CHECKING:
    from inference.generation import Generator

FILES = "generated"
"""The kind of stored files that drawn pictures are."""


def protocol_samples(profile: Profile, training_set: pl.DataFrame) -> pl.DataFrame:
    """The protocol's 1650 samples, or those of its first prompts if the profile says so. Prompts that are no
    hand-written ones are captions of `training_set`.
    """
    from evaluation import protocol

    captions = protocol.training_captions(training_set)
    return protocol.build(profile.evaluation.protocol, captions, profile.evaluation.prompts)


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
    return _drawn(context, store, profile, generator(store, profile, trained), samples, worded, guidance)


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
    return _drawn(context, store, profile, base, samples, asked, guidance)


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


def _drawn(
    context: dg.AssetExecutionContext,
    store: Store,
    profile: Profile,
    generator: "Generator",
    samples: pl.DataFrame,
    asked: pl.DataFrame,
    guidance: float,
) -> calls.Answers:
    """`samples` with the `file` of what `generator` draws of each one's row of `asked`."""
    question = questions.pictures(generator, store.files(FILES))
    asked = asked.with_columns(pl.lit(float(guidance)).alias("guidance"))
    found = calls.ask(context, store, question, asked, profile, profile.evaluation.chunk)
    return replace(found, frame=samples.with_columns(found.frame["file_kind"], found.frame["file"]))


def requests(samples: pl.DataFrame, word: Callable[..., Any]) -> pl.DataFrame:
    """prompt, seed and aus of each sample as a method words them; aus is null where the prompt says all."""
    worded = word(samples["prompt"].to_list(), samples.select(facs.COLUMNS).rows())
    vectors = worded.aus if worded.aus is not None else [None] * samples.height
    return samples.select(
        pl.Series("prompt", worded.prompts, dtype=pl.String),
        "seed",
        pl.Series("aus", vectors, dtype=pl.List(pl.Float64)),
    )


def content() -> pl.Expr:
    """The content hash of a generated picture: its name says it."""
    return pl.col("file").str.head(32).alias("content_hash")
