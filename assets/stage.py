"""What every stage is (`asset`: declared in `stages`, checked, seeing its own settings) and hands back
(`result`: table, content hash, metadata). No stage lives here, and no model call (`assets.calls`).
"""

from __future__ import annotations

import functools
import inspect
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

import stages
from assets import catalogue, gate, retries
from curation import frames, recipes
from settings import view
from settings.profile import Gates
from settings.view import View
from store.hashing import fingerprint, hash_frame

if TYPE_CHECKING:
    from settings.profile import Profile


CHECK = "{}_is_as_declared"


def asset(
    checks: Sequence[dg.AssetCheckSpec] = (), kinds: Collection[str] = (), **options: Any
) -> Callable[[Callable[..., dg.MaterializeResult]], dg.AssetsDefinition]:
    """`dg.asset` of the stage that the decorated function is named after in `stages`.

    From there come its group and owner, the lineage and descriptions of its columns, the app's view of it,
    and blocking checks of its table: that it is as declared, and what `gate.watch` compares. `checks` are
    those that the function gives results of itself. Of the profile the function sees what the stage declares
    to read; more raises settings.view.Undeclared.
    """

    def declare(compute: Callable[..., dg.MaterializeResult]) -> dg.AssetsDefinition:
        declared = stages.named(compute.__name__)
        signature = inspect.signature(compute)
        tables = [name for name in signature.parameters if name in _STAGES]

        @functools.wraps(compute)
        def computed(*args: Any, **given: Any) -> dg.MaterializeResult:
            bound = signature.bind(*args, **given)
            profile = bound.arguments.get("profile")
            if profile is not None:
                bound.arguments["profile"] = View(profile, declared.reads, declared.name)
            gates = getattr(profile, "gates", Gates())
            context = bound.arguments.get("context")
            helped = nullcontext() if context is None else _helped(context)
            with helped:
                made = _checked(declared, compute(*bound.args, **bound.kwargs), gates)
            _count_answers(context, made)
            partition = context.partition_key if context is not None and context.has_partition_key else None
            return made._replace(
                metadata={
                    **(made.metadata or {}),
                    "in_the_app": dg.MetadataValue.url(catalogue.view(declared, partition)),
                    "dagster/column_lineage": catalogue.columns(declared.name, made.value.columns, tables),
                }
            )

        check = dg.AssetCheckSpec(
            CHECK.format(declared.name),
            asset=declared.name,
            blocking=True,
            description="Columns, types, ranges and words of the table are those of docs/tables.md.",
        )
        return dg.asset(
            group_name=declared.group.value,
            check_specs=[check, *gate.specs(declared), *checks],
            owners=catalogue.owners(declared),
            kinds={"deltalake", *kinds},
            dagster_type=dg.Any,  # with a check beside it, Dagster would expect no value at all
            **options,
        )(computed)

    return declare


def asset_check(*, asset: dg.AssetsDefinition, name: str | None = None, **options: Any) -> Callable:
    """`dg.asset_check` of the table that its function is handed first; its result counts as `gate.judged`."""

    def declare(compute: Callable[..., dg.AssetCheckResult]) -> dg.AssetChecksDefinition:
        key = dg.AssetCheckKey(asset.key, name or compute.__name__)

        @functools.wraps(compute)
        def judged(*args: Any, **given: Any) -> dg.AssetCheckResult:
            tables = (one for one in (*args, *given.values()) if isinstance(one, pl.DataFrame))
            return gate.judged(compute(*args, **given), key, next(tables, None))

        return dg.asset_check(asset=asset, name=key.name, **options)(judged)

    return declare


_STAGES = {one.name for one in stages.STAGES}
ANSWERS = {"model_calls": "fineface/answers_made", "reused": "fineface/answers_reused"}
"""Tags of a run that add up what its stages asked of models and what was known, by their metadata."""


def _count_answers(context: dg.AssetExecutionContext | None, made: dg.MaterializeResult) -> None:
    """Add a stage's answers to the tags of its run, which the run's page shows."""
    counts: dict[str, Any] = {tag: (made.metadata or {}).get(name) for name, tag in ANSWERS.items()}
    if context is None or None in counts.values() or not context.instance.has_run(context.run_id):
        return
    known = context.instance.get_run_by_id(context.run_id)
    tags = known.tags if known is not None else {}
    added = {tag: str(int(tags.get(tag, 0)) + count) for tag, count in counts.items()}
    context.instance.add_run_tags(context.run_id, added)


def _helped(context: dg.AssetExecutionContext) -> AbstractContextManager[None]:
    return retries.where_it_helps(lambda: context.retry_number, context.log)


def _checked(declared: stages.Stage, made: dg.MaterializeResult, gates: Gates) -> dg.MaterializeResult:
    """`made` with the checks of its table, column descriptions, and who answered."""
    complaints, undeclared = declared.complaints(made.value), declared.undeclared(made.value)
    found = check(not complaints, rows=made.value.height, undeclared=undeclared, complaints=complaints)
    metadata = {**(made.metadata or {}), "dagster/column_schema": column_schema(made.value, declared)}
    results = [found._replace(check_name=CHECK.format(declared.name)), *(made.check_results or [])]
    results += gate.unwatched(declared) if complaints else gate.watch(declared, made.value, gates)
    key = dg.AssetKey(declared.name)
    counted = [gate.judged(one, dg.AssetCheckKey(key, one.check_name or ""), made.value) for one in results]
    return made._replace(metadata=metadata, check_results=counted)


def decided_by(profile: Profile, places: Mapping[str, str]) -> Callable[[dg.AssetSpec], dg.AssetSpec]:
    """Puts the settings that a stage reads into its spec: their hash into the code version, so that it is
    stale when a threshold or a recipe changed, and all of them into the metadata, which goes into commits.

    `places` are folders of this machine and what stands for them.
    """

    def settle(spec: dg.AssetSpec) -> dg.AssetSpec:
        reads = stages.named(spec.key.path[-1]).reads
        text = json.dumps(view.told(profile, reads) | _recipe(profile, reads), sort_keys=True)
        for place, name in places.items():
            text = text.replace(json.dumps(place)[1:-1], name)
        settings = json.loads(text)
        version = f"{spec.code_version}-{fingerprint(settings=text)[:8]}" if settings else spec.code_version
        return spec.replace_attributes(code_version=version, metadata={**spec.metadata, SETTINGS: settings})

    return settle


SETTINGS = "settings"
"""The metadata of a stage's spec that holds the settings it reads."""


def _recipe(profile: Profile, reads: Sequence[str]) -> dict[str, Any]:
    """A recipe's name says little: every exponent and cut of it."""
    if "corrections.recipe" not in reads:
        return {}
    return {"corrections.recipe": asdict(recipes.named(profile.corrections.recipe))}


def result(
    frame: pl.DataFrame, *, model_calls: int | None = None, reused: int | None = None, **metadata: Any
) -> dg.MaterializeResult:
    """`frame` as the materialised value, with row counts, counts by reason, column schema and `metadata`.

    The data version is the hash of the frame, so an identical rebuild starts nothing downstream.
    `model_calls` and `reused` say how many answers a model gave now and how many the memo did.
    """
    described: dict[str, Any] = {
        "dagster/row_count": frame.height,
        "dagster/column_schema": column_schema(frame),
    }
    if {"model", "fingerprint"} <= set(frame.columns):
        answered = frame.select("model", "fingerprint").drop_nulls().unique().sort("model", "fingerprint")
        described["models"] = [f"{model} ({mark})" for model, mark in answered.iter_rows()]
    if "keep" in frame.columns:
        kept = int(frame["keep"].sum())
        described |= {"kept": kept, "dropped": frame.height - kept}
        if kept < frame.height:
            described["dropped_by_reason"] = markdown(frames.counts_by_reason(frame))
    if model_calls is not None:
        described |= {"model_calls": model_calls, "reused": reused or 0}
    described |= {key: value for key, value in metadata.items() if value is not None}
    return dg.MaterializeResult(
        value=frame, data_version=dg.DataVersion(hash_frame(frame)), metadata=described
    )


def column_schema(frame: pl.DataFrame, declared: stages.Stage | None = None) -> dg.TableSchema:
    """Column names and polars types, for the UI; what they hold, where it is declared."""
    known = {} if declared is None else {**declared.columns, **declared.optional}

    def described(name: str) -> dict[str, Any]:
        if name not in known:
            return {}
        constraints = dg.TableColumnConstraints(nullable=known[name].nullable)
        return {"description": known[name].description, "constraints": constraints}

    return dg.TableSchema(
        [dg.TableColumn(name, str(kind), **described(name)) for name, kind in frame.schema.items()]
    )


def markdown(frame: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """A small table as Markdown; what its cells say is shown, never obeyed (`escaped`)."""
    lines = ["| " + " | ".join(map(escaped, frame.columns)) + " |", "|" + "---|" * frame.width]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in frame.iter_rows()]
    return dg.MetadataValue.md("\n".join(lines))


def picture(png: bytes, title: str) -> dg.MarkdownMetadataValue:
    """A PNG, inline."""
    import base64

    return dg.MetadataValue.md(f"![{escaped(title)}](data:image/png;base64,{base64.b64encode(png).decode()})")


def kept(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows that go on to the next stage."""
    return frame.filter(pl.col("keep"))


def check(
    passed: bool, severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR, **metadata: Any
) -> dg.AssetCheckResult:
    """An asset check's result; numbers in `metadata` show in the UI."""
    return dg.AssetCheckResult(passed=bool(passed), severity=severity, metadata=metadata)


def listed(lines: Iterable[str]) -> dg.MarkdownMetadataValue:
    """A list as Markdown, escaped."""
    return dg.MetadataValue.md("\n".join(f"- {escaped(line)}" for line in lines))


def escaped(text: str) -> str:
    """`text`, which comes from data, as Markdown that shows it as it is, in one line.

    A caption, a file's name or an override's reason must be no image or link that the page then fetches: the
    UI's own address among them would start runs.
    """
    return _ACTIVE.sub(r"\\\g<0>", _UNSEEN.sub(" ", text))


_ACTIVE = re.compile(r"[\\`*~\[\]()<>{}!|:@&$#]|(?<![^\W_])_|_(?![^\W_])|(?<=www)\.", re.IGNORECASE)
"""What Markdown gives a meaning inside a line: quotes of code, emphasis, links, images, HTML, its entities,
cells, and addresses that it would make links of. Underscores inside a word have none."""

_UNSEEN = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
"""Control characters: a new line would end the table, a bidirectional override shows another text."""


def _cell(value: object) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else escaped(str(value))


def share(rows: pl.Series) -> float:
    """The share of true rows, 0-1; 0 for none at all."""
    return int(rows.sum()) / len(rows) if len(rows) else 0.0
