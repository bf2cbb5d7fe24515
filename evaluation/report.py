"""The report: one HTML file with its pictures inside, for a researcher to read, print or send.

It loads nothing from anywhere and holds no script. What it shows is computed in `tables`, `figures` and
`grids`; how it looks stands in `report.html`.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import markupsafe
import polars as pl

import facs
from evaluation import annotator_audit, comparisons, figures, funnel, grids, guidance, metrics, tables
from evaluation.metrics import Scores
from reasons import Reason
from store import file_system

_FOLDER = Path(__file__).parent
_PER_AU = {
    "au_mse_prompted": "AU-MSE prompted",
    "au_mse_prompted_recipe": "AU-MSE recipe",
    "au_mse_mismatched": "AU-MSE mismatched",
    "au_mse_unprompted": "AU-MSE where not asked for",
    "au_bias": "measured − asked",
    "spearman": "Spearman",
    "spearman_within": "Spearman within sweeps",
    "monotone_share": "monotone sweeps",
    "wins_over_neighbour": "wins over its neighbour",
}
SHOWN_COMBINATIONS = 10
"""Of a prompt's combinations; those known from the paper come first."""
_BESIDE = (
    "au_mse_prompted",
    "au_mse_prompted_ratio",
    "au_mse_all",
    "au_mse_all_ratio",
    "gain_over_control",
    "spearman_mean",
    "aus_ordered",
    "spearman_within",
    "face_failure_rate",
)


@dataclass(frozen=True)
class ReportData:
    """All that a report shows: title, results and au_scores at least; a part that is empty is left out."""

    title: str
    results: pl.DataFrame
    """`tables.results`."""
    au_scores: Mapping[str, pl.DataFrame]
    """A frame an experiment, no-AU samples included if they were measured. The first one is shown off."""
    beside: Mapping[str, Mapping[str, pl.DataFrame]] = field(default_factory=dict)
    """au_scores of the other judges, by their names."""
    competitor: str | None = None
    subtitle: str = ""
    """A line below the title: profile, date, run."""
    judge: str = ""
    """Sentences on who measured the action units, and how the readings count."""
    paper: Mapping[str, str] = field(default_factory=dict)
    """Which row of the paper's tables stands beside an experiment."""
    floors: Sequence[str] = ()
    """Experiments that name AUs to a base that never saw such names: no text baselines, and so marked."""
    notice: str = ""
    """What a reader must know before the first number, such as that all is of a small embedded world."""
    recipe_scores: Mapping[str, pl.DataFrame] | None = None
    """au_scores through the labels' recipe."""
    comparisons: pl.DataFrame | None = None
    """`comparisons.compare`."""
    over_seeds: pl.DataFrame | None = None
    """`seeds.over_seeds`."""
    guidance: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    """A `guidance.curve` an experiment."""
    others: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    """The same of experiments that are only shown among the fronts."""
    generated: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    """Protocol columns and `file`, an experiment; individual and no-AU samples."""
    locate: Callable[[str], Path] = Path
    """From `file` to a path."""
    sweep_prompts: Sequence[int] = (0, 3)
    stages: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    """Stage tables in order, with source, keep and reason_code: the data-set funnel."""
    corrections: pl.DataFrame | None = None
    balance: pl.DataFrame | None = None
    """au, name, labelled, present, mean: how many training samples have a label of each AU and show it."""
    agreement: pl.DataFrame | None = None
    """`agreement.AGREEMENT`: how far annotators agree about the same pictures."""
    recipe_errors: pl.DataFrame | None = None
    """recipe, au, mae …: how far each recipe's labels lie from manual ones."""
    losses: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    """Frames of step and loss."""
    audit: pl.DataFrame | None = None
    """The table of `annotator_audit`: estimators against rendered faces of known intensities."""
    facts: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """Tables of names and values, by heading: settings, versions, fingerprints, seeds."""


class Picture(NamedTuple):
    """A PNG with what it says for those who cannot see it, and a caption."""

    png: bytes
    alt: str
    caption: str = ""


def write(path: str | os.PathLike, data: ReportData) -> Path:
    """Write the report of `data` to `path`, replacing what was there in one step, and return the path."""
    return file_system.write(Path(path), render(data))


def render(data: ReportData) -> str:
    """The page itself. Every text in `data` is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["picture"] = _figure
    environment.filters["estimate"] = _estimate
    environment.filters["short"] = tables.short
    environment.filters["decimal"] = _decimal
    template = environment.get_template("report.html")
    experiments = list(data.au_scores)
    counts = funnel.counts(data.stages)
    return template.render(
        data=data,
        experiments=experiments,
        shown=experiments[0],
        cards=_cards(data),
        cells=_cells(_first(data)),
        beside=[_beside(data, judge) for judge in data.beside],
        kinds=data.results["kind"].unique(maintain_order=True).to_list(),
        metrics=[m for m in tables.DEFINITIONS if m in data.results["metric"].to_list()],
        definitions=tables.DEFINITIONS,
        names=facs.NAMES,
        paper=_paper_rows(data),
        prompts=_prompts(data),
        comparisons=_comparisons(data),
        level=comparisons.LEVEL,
        over_seeds=_over_seeds(data),
        guidance=_guidance(data),
        rule=guidance.RULE,
        control=_control(data),
        per_au=_per_au(data),
        pictures=_pictures(data),
        methods=_methods(data),
        counts=counts.rows(named=True),
        funnel=[Picture(figures.funnel(counts), "Bars: samples kept and dropped by each stage")]
        if counts.height
        else [],
        reasons=_reasons(data),
        histograms=_histograms(data),
        balance=[] if data.balance is None else data.balance.rows(named=True),
        agreement=_agreement(data),
        recipe_errors=_recipe_errors(data),
        one_prompt=_count_prompts(data) == 1,
        training=_training(data),
        audits=_audits(data),
        audit_curves=_audit_curves(data),
    )


def _first(data: ReportData) -> pl.DataFrame:
    """The results of the first judge, and CLIP's."""
    return data.results.filter(~pl.col("judge").is_in(list(data.beside)))


def _cells(results: pl.DataFrame) -> dict[tuple[str, str, str], dict]:
    return {(r["experiment"], r["kind"], r["metric"]): r for r in results.iter_rows(named=True)}


def _beside(data: ReportData, judge: str) -> dict:
    """What another judge measures: who, its model, its measures and, of the first experiment, each AU's."""
    frames = data.beside[judge]
    shown, frame = next(iter(frames.items()))
    results = data.results.filter(judge=judge)
    individual = frame.filter(kind="individual")
    table = tables.per_au({shown: individual}) if individual.height else None
    return {
        "judge": judge,
        "model": ", ".join(frame["model"].unique().sort()) if "model" in frame.columns else "",
        "left_out": metrics.left_out(frame),
        "cells": _cells(results),
        "metrics": [m for m in _BESIDE if m in results["metric"].to_list()],
        "columns": {m: label for m, label in _PER_AU.items() if table is not None and m in table["metric"]},
        "per_au": {} if table is None else {(r["au"], r["metric"]): r for r in table.iter_rows(named=True)},
    }


def _cards(data: ReportData) -> list[dict]:
    """The headline numbers of the first experiment."""
    wanted = {
        "au_mse_prompted": "AU-MSE prompted",
        "au_mse_prompted_ratio": f"AU-MSE prompted, ratio to {data.competitor}",
        "gain_over_control": "gain over mismatched control",
        "clip_i": "CLIP-I to the no-AU partner",
        "spearman_mean": "Spearman, asked and measured",
    }
    first = _first(data).filter(experiment=next(iter(data.au_scores)))
    cards = []
    for metric, label in wanted.items():
        rows = [r for r in first.filter(metric=metric).iter_rows(named=True) if r["value"] is not None]
        if rows:
            cards.append({"label": label, "rows": rows})
    return cards


def _paper_rows(data: ReportData) -> dict[str, list[dict]]:
    """The rows of the paper's Table 1, and those of its Tables 2 and 3 that an experiment is printed beside,
    by table: a name and its four numbers each, with the ratio to its untouched base."""
    table = tables.paper()
    shown = (pl.col("table") == "Table 1") | pl.col("experiment").is_in(list(data.paper.values()))
    base = dict(table.filter(experiment="SD", metric="au_mse_prompted").select("kind", "value").iter_rows())
    found: dict[str, list[dict]] = {}
    for (name, experiment), part in table.filter(shown).group_by("table", "experiment", maintain_order=True):
        row: dict[str, Any] = {"experiment": experiment}
        for (kind,), numbers in part.group_by("kind"):
            values = dict(numbers.select("metric", "value").iter_rows())
            row[str(kind)] = values | {"ratio": values["au_mse_prompted"] / base[kind]}
        found.setdefault(str(name), []).append(row)
    return found


def _prompts(data: ReportData) -> list[dict]:
    first = next(iter(data.au_scores.values()))
    if "prompt_source" not in first.columns:
        return []
    drawn = first.filter(pl.col("kind").is_in(tables.KINDS))
    columns = ["prompt_index", "prompt", "prompt_source"]
    return drawn.select(columns).unique().sort("prompt_index").rows(named=True)


def _comparisons(data: ReportData) -> list[dict]:
    """A row a comparison: what was compared, both values, the difference with its interval, the verdict."""
    if data.comparisons is None:
        return []
    return [
        {
            **row,
            "label": tables.DEFINITIONS[row["metric"]].label,
            "estimate": {"value": row["difference"], "low": row["low"], "high": row["high"]},
            "p_text": comparisons.p_text(row["p_holm"]),
        }
        for row in data.comparisons.drop_nulls("difference").iter_rows(named=True)
    ]


def _over_seeds(data: ReportData) -> list[dict]:
    if data.over_seeds is None:
        return []
    return [
        {
            **row,
            "label": tables.DEFINITIONS[row["metric"]].label,
            "estimate": {"value": row["mean"], "low": row["low"], "high": row["high"]},
        }
        for row in data.over_seeds.iter_rows(named=True)
    ]


def _guidance(data: ReportData) -> dict:
    """The curves of experiments that had a choice: a chart, and a row a candidate."""
    tried = {name: curve for name, curve in data.guidance.items() if curve["samples"].count()}
    if not tried:
        return {}
    chart = Picture(
        figures.guidance_curves(tried),
        "Lines: AU error, CLIP-I and faces lost over guidance for each experiment",
        "Measured on the validation prompts; a ring marks the scale that was chosen.",
    )
    rows = [{"experiment": name, **row} for name, curve in tried.items() for row in curve.to_dicts()]
    return {"chart": chart, "front": _front({**tried, **data.others}), "rows": rows}


def _front(curves: Mapping[str, pl.DataFrame]) -> Picture | None:
    """AU error against CLIP-I; None where CLIP-I was measured for no candidate."""
    if not any(curve["clip_i"].count() for curve in curves.values()):
        return None
    return Picture(
        figures.fronts(curves),
        "Lines: AU error against CLIP-I over guidance for each experiment",
        "Numbers are guidance scales, a ring marks the one that was chosen. One experiment is better than "
        "another where its line lies left of and above the other’s.",
    )


def _control(data: ReportData) -> list[Picture]:
    if "au_mse_prompted_gain" not in data.results["metric"].to_list():
        return []
    alt = f"Bars: gain over {data.competitor} on the AUs asked for and on the mismatched control"
    return [
        Picture(figures.gains(_first(data)), alt, "Bars are means, whiskers 95 % intervals over prompts.")
    ]


def _per_au(data: ReportData) -> dict:
    individual = {e: f for e, f in data.au_scores.items() if f.filter(kind="individual").height}
    if not individual:
        return {}
    table = tables.per_au(individual, data.recipe_scores)
    cells = {(r["experiment"], r["au"], r["metric"]): r for r in table.iter_rows(named=True)}
    leakage = [
        Picture(
            figures.leakage_heatmap(metrics.leakage(Scores.of(frame.filter(kind="individual"))), experiment),
            f"Heat map: how much each AU rises when another is asked for, {experiment}",
        )
        for experiment, frame in individual.items()
    ]
    curves = figures.intensity_curves({e: tables.curves(frame) for e, frame in individual.items()})
    return {
        "columns": {metric: label for metric, label in _PER_AU.items() if metric in table["metric"]},
        "names": facs.NAMES,
        "cells": cells,
        "neighbours": _neighbours(next(iter(individual.values()))),
        "ceilings": _ceilings(data),
        "bars": Picture(
            figures.per_au_bars(table),
            "Bars: AU-MSE of each AU and experiment",
            "Error on the samples that ask for this AU alone. Whiskers are 95 % intervals over prompts.",
        ),
        "curves": Picture(
            curves,
            "Lines: measured against asked-for intensity for each AU and experiment",
            "Mean over prompts, 95 % interval; intensity 0 is the no-AU partner. Dashed: perfect control.",
        ),
        "leakage": leakage,
    }


def _neighbours(frame: pl.DataFrame) -> dict[int, int]:
    """The most confusable neighbour of each AU; none without no-AU samples."""
    if frame.filter(kind="no_au").is_empty():
        return {}
    return metrics.neighbours(metrics.differences(frame, "individual"))


def _ceilings(data: ReportData) -> dict[str, dict[int, float | None]]:
    """Of each judge that was compared with manual labels, its ICC with them an AU: no experiment can be
    measured better than that."""
    if data.agreement is None:
        return {}
    judges = data.results["judge"].unique(maintain_order=True)
    compared = data.agreement.filter(pl.col("second") == "manual")
    found = {judge: _finite(compared.filter(first=judge), "icc") for judge in judges}
    return {judge: of for judge, of in found.items() if any(value is not None for value in of.values())}


def _pictures(data: ReportData) -> list[dict]:
    """The AU grid of each experiment; sweeps of the first only."""
    groups = []
    for number, (experiment, generated) in enumerate(data.generated.items()):
        grid = Picture(
            grids.au_grid(generated, data.locate),
            f"Faces by {experiment}: five prompts, each with no AU and with each of the twelve AUs at 5",
            "Each face stands below its no-AU partner: same prompt, same noise, only the AU differs.",
        )
        sweeps = [
            Picture(
                grids.intensity_sweeps(generated, data.locate, index),
                f"Faces by {experiment}: each AU from 0 to 5 on prompt {index}",
                f"Intensity 0 to 5, one noise a row: “{_prompt(generated, index)}”.",
            )
            for index in (data.sweep_prompts if number == 0 else ())
            if generated.filter(kind="individual", prompt_index=index).height
        ]
        if number == 0 and not generated.filter(kind="beyond").is_empty():
            sweeps.append(
                Picture(
                    grids.beyond_the_scale(generated, data.locate),
                    f"Faces by {experiment}: each AU below 0, at 0 and 5, and above 5",
                    "Beyond the scale of the labels, one noise a column; no measure counts these.",
                )
            )
        groups.append({"experiment": experiment, "grid": grid, "sweeps": sweeps})
    return groups


def _methods(data: ReportData) -> list[Picture]:
    """Every experiment on the same prompts and noise: each AU alone, and combinations."""
    if len(data.generated) < 2:
        return []
    first = next(iter(data.generated.values()))
    alone = first.filter(pl.max_horizontal(facs.COLUMNS) == facs.MAXIMUM, kind="individual")
    together = first.filter(kind="combination").sort("sample_id")
    found = []
    for index in data.sweep_prompts:
        for part, count, what in (
            (alone, len(facs.ACTION_UNITS), "each action unit alone at 5"),
            (together, SHOWN_COMBINATIONS, "combinations of action units"),
        ):
            ids = part.filter(prompt_index=index)["sample_id"].head(count).to_list()
            if ids:
                shown = grids.methods(data.generated, data.locate, ids)
                caption = f"“{_prompt(first, index)}”: {what}, the same noise in each column."
                found.append(Picture(shown, f"Faces: {what} by every experiment, prompt {index}", caption))
    return found


def _prompt(generated: pl.DataFrame, index: int) -> str:
    return generated.filter(prompt_index=index)["prompt"][0]


def _reasons(data: ReportData) -> list[dict]:
    """How often each reason dropped a row, with its sentence."""
    descriptions = {reason.value: reason.description for reason in Reason}
    return [
        {**row, "description": descriptions[row["reason_code"]]}
        for row in funnel.reasons(data.stages).rows(named=True)
    ]


def _histograms(data: ReportData) -> list[Picture]:
    if data.corrections is None or data.corrections.is_empty():
        return []
    alt = "Histograms of each AU's intensities before and after the corrections"
    caption = "Share of the kept samples, logarithmic; grey before, blue after."
    return [Picture(figures.correction_histograms(data.corrections), alt, caption)]


def _count_prompts(data: ReportData) -> int:
    first = next(iter(data.au_scores.values()))
    return first.filter(pl.col("kind").is_in(tables.KINDS))["prompt_index"].n_unique()


def _agreement(data: ReportData) -> list[dict]:
    """A row a pair of annotators: ICC(3,1) of each AU, None without one, and the pictures compared."""
    if data.agreement is None or data.agreement.is_empty():
        return []
    pairs = data.agreement.partition_by("pictures", "first", "second", maintain_order=True)
    return [
        {
            **part.row(0, named=True),
            "n": part["n"].max(),
            "icc": _finite(part, "icc"),
        }
        for part in pairs
    ]


def _recipe_errors(data: ReportData) -> list[dict]:
    """A row a recipe: its mean absolute error of each AU, and their mean."""
    if data.recipe_errors is None or data.recipe_errors.is_empty():
        return []
    parts = data.recipe_errors.partition_by("recipe", maintain_order=True)
    return [
        {"recipe": part["recipe"][0], "mae": _finite(part, "mae"), "mean": part["mae"].mean()}
        for part in parts
    ]


def _finite(table: pl.DataFrame, column: str) -> dict[int, float | None]:
    return dict(table.select("au", pl.col(column).fill_nan(None)).iter_rows())


def _training(data: ReportData) -> list[Picture]:
    losses = {e: frame for e, frame in data.losses.items() if frame.height}
    if not losses:
        return []
    return [
        Picture(figures.training_curves(losses), "Line: training loss against step", "Thick: running mean.")
    ]


def _audits(data: ReportData) -> list[dict]:
    """What the audit says of each estimator: its AUs, its errors and failures by group, its cross-talk."""
    if data.audit is None:
        return []
    found = []
    for (annotator,), table in data.audit.group_by("annotator", maintain_order=True):
        groups = [
            {"by": by, **error, "share": failure["share"]}
            for by in (*annotator_audit.PEOPLE, *annotator_audit.CONDITIONS)
            for error, failure in zip(
                annotator_audit.errors(table, by).to_dicts(),
                annotator_audit.failures(table, by).to_dicts(),
                strict=True,
            )
        ]
        talk = Picture(
            figures.leakage_heatmap(annotator_audit.cross_talk(table), str(annotator)),
            f"Heat map: how much {annotator} reads of each AU when another is rendered",
        )
        found.append(
            {
                "annotator": annotator,
                "model": table["model"].drop_nulls().first(),
                "aus": annotator_audit.by_au(table).to_dicts(),
                "groups": groups,
                "cross_talk": talk,
            }
        )
    return found


def _audit_curves(data: ReportData) -> list[Picture]:
    if data.audit is None:
        return []
    parts = data.audit.group_by("annotator", maintain_order=True)
    curves = {str(name): annotator_audit.curves(table) for (name,), table in parts}
    alt = "Lines: read against rendered intensity for each AU and estimator"
    caption = "Mean over people, 95 % interval; each AU alone. Dashed: a perfect annotator."
    return [Picture(figures.intensity_curves(curves), alt, caption)]


def _figure(picture: Picture) -> markupsafe.Markup:
    encoded = base64.b64encode(picture.png).decode("ascii")
    caption = (
        markupsafe.Markup("<figcaption>{}</figcaption>").format(picture.caption) if picture.caption else ""
    )
    template = '<figure><img alt="{}" src="data:image/png;base64,{}">{}</figure>'
    return markupsafe.Markup(template).format(picture.alt, encoded, caption)


def _estimate(row: Mapping | None, metric: str) -> markupsafe.Markup:
    """The value, and its interval in small print below."""
    text = tables.format_estimate(metric, row)
    value, _, interval = text.partition(" [")
    if not interval:
        return markupsafe.Markup("{}").format(value or "–")
    return markupsafe.Markup('{}<span class="ci">{}</span>').format(
        value, interval.rstrip("]").replace(", ", " to ")
    )


def _decimal(value: float | None) -> str:
    return "–" if value is None else tables.short(value)
