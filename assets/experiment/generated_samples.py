"""generated_samples: the protocol's pictures of one experiment, and the guidance they are drawn with."""

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


def build(
    experiments: dg.StaticPartitionsDefinition, gates: list[dg.AssetCheckKey]
) -> list[dg.AssetsDefinition]:
    """The asset, with one partition an experiment."""

    @dg.asset(
        group_name="experiment",
        code_version="1",
        partitions_def=experiments,
        kinds={"torch", "huggingface"},
        pool="gpu",
    )
    def generated_samples(
        context: dg.AssetExecutionContext,
        trained_model: pl.DataFrame,
        training_set: pl.DataFrame,
        store: dg.ResourceParam[Store],
        profile: dg.ResourceParam[Any],
    ) -> dg.MaterializeResult:
        """A picture for every sample of the protocol and every no-AU partner; `file` names it."""
        from evaluation import protocol

        trained = trained_model.row(0, named=True)
        chosen, made, reused = choose_guidance(context, store, profile, trained)
        samples, guidance = protocol_samples(profile, training_set), float(chosen["guidance"][0])
        wanted = pl.concat([samples, protocol.no_au_samples(samples)])
        drawn = draw(context, store, profile, trained, wanted, guidance)
        table = drawn.frame.with_columns(
            pl.lit(context.partition_key).alias("experiment"), pl.lit(guidance).alias("guidance")
        )
        shown = pictures.spread(table.filter(kind="individual"))
        paths = [str(store.files(FILES).path(name)) for name in shown["file"]]
        titles = [f"AU{row['prompted']}={sum(row[c] for c in facs.COLUMNS):g}" for row in shown.to_dicts()]
        return stage.result(
            table,
            model_calls=made + drawn.asked,
            reused=reused + drawn.reused,
            protocol=protocol.version(samples),
            guidance=guidance,
            guidance_by_validation=stage.markdown(chosen),
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


def choose_guidance(
    context: dg.AssetExecutionContext, store: Store, profile: Any, trained: Mapping[str, Any]
) -> tuple[pl.DataFrame, int, int]:
    """The profile's candidates by AU-MSE (prompted) on the validation samples, best first: guidance,
    au_mse_prompted; calls, reused.

    Validation prompts and seeds are none of the protocol's. A single candidate is taken unseen.
    """
    from evaluation import metrics, protocol

    settings = profile.evaluation
    candidates = [float(guidance) for guidance in settings.guidance_candidates]
    if len(candidates) == 1:
        return pl.DataFrame({"guidance": candidates, "au_mse_prompted": [None]}), 0, 0
    samples = _first_prompts(protocol.validation_samples(settings.protocol), profile)
    found, calls_made, answers_known = [], 0, 0
    for guidance in candidates:
        drawn = draw(context, store, profile, trained, samples, guidance)
        measured, made, reused = measure(context, store, profile, drawn.frame)
        calls_made += drawn.asked + made
        answers_known += drawn.reused + reused
        sums = metrics.au_mse_prompted(metrics.Scores.of(measured))
        found.append(float(sums.total.sum() / sums.count.sum()) if sums.n else float("inf"))
    table = pl.DataFrame({"guidance": candidates, "au_mse_prompted": found})
    return table.sort("au_mse_prompted", "guidance"), calls_made, answers_known


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


def _first_prompts(samples: pl.DataFrame, profile: Any) -> pl.DataFrame:
    count = profile.evaluation.prompts
    if count is None:
        return samples
    return samples.filter(pl.col("prompt_index").rank("dense") <= count)
