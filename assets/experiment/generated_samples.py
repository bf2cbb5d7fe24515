"""generated_samples: the protocol's pictures of one experiment, drawn with the guidance that was chosen."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import dagster as dg
import polars as pl

import facs
from assets import calls, pictures, stage
from assets.data_set.au_annotation import annotate
from inference import questions
from store import Store

FILES = "generated"
UNTOUCHED: dict[str, Any] = {"folder": None, "model_hash": None}
"""The row of a trained model where none was trained: the base itself."""


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
    def generated_samples(
        context: dg.AssetExecutionContext,
        trained_model: pl.DataFrame,
        guidance_curve: pl.DataFrame,
        training_set: pl.DataFrame,
        store: dg.ResourceParam[Store],
        profile: dg.ResourceParam[Any],
    ) -> dg.MaterializeResult:
        """A picture for every sample of the protocol, every no-AU partner, and what the untouched base makes
        of the same prompt and noise; `file` names it.
        """
        from evaluation import guidance, protocol

        scale = guidance.chosen(guidance_curve)
        samples = protocol_samples(profile, training_set)
        own = pl.concat([samples, protocol.no_au_samples(samples)])
        drawn = draw(context, store, profile, trained_model.row(0, named=True), own, scale)
        base = draw(context, store, profile, UNTOUCHED, protocol.base_samples(samples), scale)
        table = pl.concat([drawn.frame, base.frame]).with_columns(
            experiment=pl.lit(context.partition_key), guidance=pl.lit(scale)
        )
        shown = pictures.spread(table.filter(kind="individual"))
        paths = [str(store.files(FILES).path(name)) for name in shown["file"]]
        titles = [f"AU{row['prompted']}={sum(row[c] for c in facs.COLUMNS):g}" for row in shown.to_dicts()]
        return stage.result(
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

    return [generated_samples]


def draw(
    context: dg.AssetExecutionContext,
    store: Store,
    profile: Any,
    trained: Mapping[str, Any],
    samples: pl.DataFrame,
    guidance: float,
) -> calls.Answers:
    """`samples` (protocol columns) with `file`, the name of the picture that the model `trained`, a row of
    its table, makes of each.
    """
    from inference.generation import Generator

    base, evaluation = profile.base, profile.evaluation
    generator = Generator(
        base.model,
        base.revision,
        adapter=None if trained["folder"] is None else store.home / trained["folder"],
        adapter_hash=trained["model_hash"],
        size=base.size,
        steps=evaluation.steps,
        scheduler=evaluation.scheduler,
        precision=base.precision,
        batch_size=evaluation.batch_size,
    )
    worded = requests(samples, as_text=trained["folder"] is None)
    question = questions.pictures(generator, store.files(FILES))
    asked = worded.with_columns(pl.lit(float(guidance)).alias("guidance"))
    found = calls.ask(context, store, question, asked, evaluation.chunk)
    return replace(found, frame=samples.with_columns(found.frame["file"]))


def requests(samples: pl.DataFrame, as_text: bool) -> pl.DataFrame:
    """prompt, seed and aus of each sample. `as_text`: the AUs become words at the end of the prompt (paper,
    Table 1), and no vector goes along.
    """
    vectors = samples.select(facs.COLUMNS).rows()
    if not as_text:
        return samples.select("prompt", "seed", pl.Series("aus", vectors, dtype=pl.List(pl.Float64)))
    words = [facs.as_text(vector) for vector in vectors]
    prompts = [
        f"{prompt}, {said}" if said else prompt for prompt, said in zip(samples["prompt"], words, strict=True)
    ]
    nothing = pl.lit(None, dtype=pl.List(pl.Float64))
    return samples.select(pl.Series("prompt", prompts), "seed", nothing.alias("aus"))


def measure(
    context: dg.AssetExecutionContext, store: Store, profile: Any, samples: pl.DataFrame
) -> tuple[pl.DataFrame, int, int]:
    """`samples` (with `file`) and what the profile's judge measures in them: measured_au1 …, faces, and its
    model and fingerprint; calls, reused.
    """
    images = located(store, samples)
    found, made, reused = annotate(context, store, profile.judge, images, profile.chunk)
    readings = calls.readable(found).select(
        pl.col(facs.COLUMNS).name.prefix("measured_"), "faces", "model", "fingerprint"
    )
    return samples.hstack(readings), made, reused


def located(store: Store, samples: pl.DataFrame) -> pl.DataFrame:
    """path and content_hash of the generated pictures of `samples`, row by row."""
    files = store.files(FILES)
    return pl.DataFrame(
        {
            "path": [str(files.path(name)) for name in samples["file"]],
            "content_hash": [name.split(".")[0] for name in samples["file"]],
        },
        schema={"path": pl.String, "content_hash": pl.String},
    )


def protocol_samples(profile: Any, training_set: pl.DataFrame) -> pl.DataFrame:
    """The protocol's 1650 samples, or those of its first prompts if the profile says so. Prompts that are no
    hand-written ones are captions of `training_set`.
    """
    from evaluation import protocol

    captions = protocol.training_captions(training_set)
    return protocol.build(profile.evaluation.protocol, captions, profile.evaluation.prompts)
