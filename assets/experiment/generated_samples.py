"""generated_samples: the protocol's pictures of one experiment, and the guidance they are drawn with."""

from functools import partial
from typing import Any

import dagster as dg
import polars as pl

import facs
from assets import calls, pictures, stage
from assets.data_set.au_annotation import annotate
from store import Store
from store.hashing import fingerprint

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
        store: dg.ResourceParam[Store],
        profile: dg.ResourceParam[Any],
    ) -> dg.MaterializeResult:
        """A picture for every sample of the protocol and every no-AU partner; `file` names it."""
        from evaluation import protocol

        artist = Artist(context, store, profile, trained_model.row(0, named=True))
        chosen = choose_guidance(artist)
        samples = protocol_samples(profile)
        wanted = pl.concat([samples, protocol.no_au_samples(samples)])
        table = artist.draw(wanted, chosen["guidance"][0]).with_columns(
            pl.lit(context.partition_key).alias("experiment"), pl.lit(chosen["guidance"][0]).alias("guidance")
        )
        shown = pictures.spread(table.filter(kind="individual"))
        paths = [str(store.files(FILES).path(name)) for name in shown["file"]]
        titles = [f"AU{row['prompted']}={sum(row[c] for c in facs.COLUMNS):g}" for row in shown.to_dicts()]
        return stage.result(
            table,
            model_calls=artist.calls,
            reused=artist.reused,
            protocol=protocol.version(samples),
            guidance=float(chosen["guidance"][0]),
            guidance_by_validation=stage.markdown(chosen),
            sheet=stage.picture(pictures.contact_sheet(paths, titles), "individual samples"),
        )

    return [generated_samples]


class Artist:
    """Draws protocol rows with one experiment's model, through the memo; counts model calls."""

    def __init__(
        self, context: dg.AssetExecutionContext, store: Store, profile: Any, trained: dict[str, Any]
    ) -> None:
        import methods.registry
        from inference.generation import Generator

        experiment = profile.experiments[trained["experiment"]]
        base, evaluation, sample = profile.base, profile.evaluation, experiment.sample
        self.context, self.store, self.profile = context, store, profile
        self.calls = self.reused = 0
        self.sample, self.method = sample, methods.registry.get(experiment.train.method)
        load = None
        if trained["folder"] is not None:
            folder = store.home / trained["folder"]
            load = partial(methods.registry.load, settings=experiment.train, folder=folder)
        self.generator = Generator(
            base.model,
            base.revision,
            install=load,
            model_hash=trained["model_hash"],
            arguments=sample.arguments,
            size=base.size,
            steps=sample.steps or evaluation.steps,
            scheduler=sample.scheduler or evaluation.scheduler,
            precision=base.precision,
            batch_size=evaluation.batch_size,
        )

    def draw(self, samples: pl.DataFrame, guidance: float) -> pl.DataFrame:
        """`samples` (protocol columns) with `key`, and `file`: the picture's name in the store."""
        requests = self._requests(samples).with_columns(pl.lit(float(guidance)).alias("guidance"))
        keys = [
            fingerprint(model=self.generator.fingerprint, **row) for row in requests.iter_rows(named=True)
        ]
        requests = requests.with_columns(pl.Series("key", keys, dtype=pl.String))
        found = self.store.memo("generated", {"file": pl.String}).get_or_compute(
            requests,
            self._compute,
            chunk=self.profile.evaluation.chunk,
            progress=calls.logged(self.context, f"generated, guidance {guidance:g}"),
        )
        self.calls += found.computed
        self.reused += found.reused
        return samples.with_columns(requests["key"]).join(
            found.frame, on="key", how="left", maintain_order="left"
        )

    def _requests(self, samples: pl.DataFrame) -> pl.DataFrame:
        worded = self.method.word(samples["prompt"].to_list(), samples.select(facs.COLUMNS).rows())
        vectors = worded.aus if worded.aus is not None else [None] * samples.height
        return samples.select(
            pl.Series("prompt", worded.prompts), "seed", pl.Series("aus", vectors, dtype=pl.List(pl.Float64))
        )

    def _compute(self, missing: pl.DataFrame) -> pl.DataFrame:
        drawn = self.generator.generate(
            missing["prompt"].to_list(),
            None if missing["aus"].null_count() else missing["aus"].to_list(),
            missing["seed"].to_list(),
            missing["guidance"][0],
        )
        files = self.store.files(FILES)
        names = [files.put(pictures.png(picture), ".png") for picture in drawn]
        return pl.DataFrame({"key": missing["key"], "file": names})


def choose_guidance(artist: Artist) -> pl.DataFrame:
    """The profile's candidates by AU-MSE (prompted) on the validation samples, best first: guidance,
    au_mse_prompted.

    Validation prompts and seeds are none of the protocol's. The experiment's own guidance, or a single
    candidate, is taken unseen.
    """
    from evaluation import metrics, protocol

    settings = artist.profile.evaluation
    candidates = [float(guidance) for guidance in settings.guidance_candidates]
    if artist.sample.guidance is not None:
        candidates = [artist.sample.guidance]
    if len(candidates) == 1:
        return pl.DataFrame({"guidance": candidates, "au_mse_prompted": [None]})
    samples = _first_prompts(protocol.validation_samples(settings.protocol), artist.profile)
    found = []
    for guidance in candidates:
        measured, made, reused = measure(
            artist.context, artist.store, artist.profile, artist.draw(samples, guidance)
        )
        artist.calls, artist.reused = artist.calls + made, artist.reused + reused
        sums = metrics.au_mse_prompted(metrics.Scores.of(measured))
        found.append(float(sums.total.sum() / sums.count.sum()) if sums.n else float("inf"))
    return pl.DataFrame({"guidance": candidates, "au_mse_prompted": found}).sort(
        "au_mse_prompted", "guidance"
    )


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


def protocol_samples(profile: Any) -> pl.DataFrame:
    """The protocol's 1650 samples, or those of its first prompts if the profile says so."""
    from evaluation import protocol

    return _first_prompts(protocol.build(profile.evaluation.protocol), profile)


def _first_prompts(samples: pl.DataFrame, profile: Any) -> pl.DataFrame:
    count = profile.evaluation.prompts
    if count is None:
        return samples
    return samples.filter(pl.col("prompt_index").rank("dense") <= count)
