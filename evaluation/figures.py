"""Charts as PNG bytes, drawn from the tables of this room. Picture grids live in `grids`.

Every chart has a white ground of its own, so it can be read in a dark page and on paper. The same input
gives the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import polars as pl
from matplotlib.figure import Figure

import facs
from evaluation.tables import DEFINITIONS

COLOURS = ("#2563a8", "#9aa3ad", "#c2571a", "#3f8f5f", "#7a54a8", "#b8892b")
"""One an experiment, in the order given."""

_INK, _FAINT = "#1f2933", "#dfe3e8"
_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": "#7b8794",
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": _FAINT,
    "grid.linewidth": 0.7,
    "xtick.color": "#52606d",
    "ytick.color": "#52606d",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}
_LABELS = [f"AU{au}" for au in facs.ACTION_UNITS]


def gains(results: pl.DataFrame) -> bytes:
    """Gain over the competitor, as asked and mismatched, with 95 % intervals: two bars a comparison.

    `results` is a frame of `tables.results`. Raises ValueError if it holds no comparison with a competitor.
    """
    part = results.filter(pl.col("metric").is_in(["au_mse_prompted_gain", "au_mse_mismatched_gain"]))
    groups = part.select("experiment", "kind").unique(maintain_order=True).rows()
    if not groups:
        raise ValueError("no gain to draw: no experiment was compared with a competitor")
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7.6, 0.8 + 0.62 * len(groups)), layout="constrained")
        axes = figure.subplots()
        places = np.arange(len(groups))[::-1].astype(float)
        for metric, label, colour, shift in (
            ("au_mse_prompted_gain", "AUs that were asked for", COLOURS[0], 0.17),
            ("au_mse_mismatched_gain", "mismatched control: AUs that were not", COLOURS[1], -0.17),
        ):
            rows = [_estimate(part.filter(experiment=e, kind=k, metric=metric)) for e, k in groups]
            values, errors = _bars(rows)
            style: dict[str, Any] = {"color": colour, "label": label, "error_kw": _whisker()}
            axes.barh(places + shift, values, 0.32, xerr=errors, **style)
        axes.set_yticks(places, [f"{experiment}\n{kind}" for experiment, kind in groups])
        axes.axvline(0, color=_INK, linewidth=0.8)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("AU-MSE below the competitor's (right is better)")
        _legend_above(figure, axes)
        return _png(figure)


def guidance_curves(curves: Mapping[str, pl.DataFrame]) -> bytes:
    """AU error (prompted and all), CLIP-I and faces lost over guidance; a ring around the scale chosen. Each
    experiment has a row and scales of its own.

    `curves` holds a frame of `guidance.curve` an experiment.
    """
    columns = {
        "au_mse_prompted": "AU-MSE prompted",
        "au_mse_all": "AU-MSE all",
        "clip_i": "CLIP-I",
        "face_failure_rate": "faces lost, share",
    }
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7.6, 0.4 + 1.7 * len(curves)), layout="constrained")
        panels = figure.subplots(len(curves), len(columns), squeeze=False)
        for i, (experiment, curve) in enumerate(curves.items()):
            for panel, (column, title) in zip(panels[i], columns.items(), strict=True):
                part = curve.drop_nulls(column)
                panel.plot(
                    part["guidance"], part[column], "o-", color=_colour(i), linewidth=1.4, markersize=3.5
                )
                best = part.filter("chosen")
                panel.scatter(best["guidance"], best[column], s=75, facecolors="none", edgecolors=_colour(i))
                if part.is_empty():
                    panel.text(0.5, 0.5, "not measured", transform=panel.transAxes, ha="center", fontsize=7.5)
                panel.set_xticks(curve["guidance"])
                panel.margins(0.15)
                if i == 0:
                    panel.set_title(title, fontsize=8.5, loc="left")
            panels[i, 0].set_ylabel(experiment)
            panels[i, -1].set_ylim(-0.01, max(0.1, panels[i, -1].get_ylim()[1]))
        figure.supxlabel("guidance scale", fontsize=8.5)
        return _png(figure)


def fronts(curves: Mapping[str, pl.DataFrame]) -> bytes:
    """AU error, prompted and all, against CLIP-I: a line an experiment over its guidance scales, each written
    beside its point; a ring around the scale chosen. Left and up is better.

    `curves` holds a frame of `guidance.curve` an experiment. Raises ValueError if none was measured.
    """
    drawn = {name: curve.drop_nulls(["au_mse_all", "clip_i"]) for name, curve in curves.items()}
    drawn = {name: curve.sort("guidance") for name, curve in drawn.items() if curve.height}
    if not drawn:
        raise ValueError("no front to draw: guidance was measured for no experiment")
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7.6, 3.6), layout="constrained")
        panels = figure.subplots(1, 2, sharey=True)
        for panel, (column, label) in zip(
            panels, {"au_mse_prompted": "AU-MSE prompted", "au_mse_all": "AU-MSE all"}.items(), strict=True
        ):
            for i, (experiment, curve) in enumerate(drawn.items()):
                style: dict[str, Any] = {"color": _colour(i), "linewidth": 1.4, "markersize": 3.5}
                panel.plot(curve[column], curve["clip_i"], "o-", label=experiment, **style)
                best = curve.filter("chosen")
                panel.scatter(best[column], best["clip_i"], s=75, facecolors="none", edgecolors=_colour(i))
                for error, cosine, scale in curve.select(column, "clip_i", "guidance").iter_rows():
                    place: dict[str, Any] = {
                        "textcoords": "offset points",
                        "fontsize": 7,
                        "color": _colour(i),
                    }
                    panel.annotate(f"{scale:g}", (error, cosine), (4, 4), **place)
            panel.set_xlabel(f"{label} (less is better)")
            panel.margins(0.12)
        panels[0].set_ylabel("CLIP-I (more is better)")
        _legend_above(figure, panels[0])
        return _png(figure)


def per_au_bars(per_au: pl.DataFrame, metric: str = "au_mse_prompted", label: str | None = None) -> bytes:
    """One bar an AU and experiment with its 95 % interval. `per_au` is a frame of `tables.per_au`."""
    experiments = per_au["experiment"].unique(maintain_order=True).to_list()
    width = 0.8 / len(experiments)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7.6, 2.7), layout="constrained")
        axes = figure.subplots()
        for i, experiment in enumerate(experiments):
            part = per_au.filter(experiment=experiment, metric=metric)
            values, errors = _bars([_estimate(part.filter(au=au)) for au in facs.ACTION_UNITS])
            places = np.arange(12) + (i - (len(experiments) - 1) / 2) * width
            style: dict[str, Any] = {"color": _colour(i), "label": experiment, "error_kw": _whisker()}
            axes.bar(places, values, width * 0.92, yerr=errors, **style)
            for place in places[np.isnan(values)]:
                axes.text(place, 0, " not measured", rotation=90, va="bottom", ha="center", fontsize=6.5)
        axes.set_xticks(range(12), _LABELS)
        axes.grid(visible=False, axis="x")
        axes.axhline(0, color=_INK, linewidth=0.8)
        axes.set_ylabel(label or (DEFINITIONS[metric].label if metric in DEFINITIONS else metric))
        _legend_above(figure, axes)
        return _png(figure)


def leakage_heatmap(matrix: np.ndarray, title: str = "") -> bytes:
    """The 12 × 12 matrix of `metrics.leakage`: rows asked, columns measured, points per point asked."""
    with matplotlib.rc_context(_STYLE | {"axes.grid": False}):
        figure = Figure(figsize=(5.4, 4.7), layout="constrained")
        axes = figure.subplots()
        colours = matplotlib.colormaps["RdBu_r"].with_extremes(bad="#eceff2")
        image = axes.imshow(np.ma.masked_invalid(matrix), cmap=colours, vmin=-1, vmax=1)
        for i, j in np.ndindex(12, 12):
            value = matrix[i, j]
            if np.isnan(value):
                axes.text(j, i, "–", ha="center", va="center", fontsize=6.5, color="#7b8794")
            elif abs(value) >= 0.05:
                colour = "white" if abs(value) > 0.6 else _INK
                axes.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=6.5, color=colour)
        axes.set_xticks(range(12), _LABELS, rotation=45)
        axes.set_yticks(range(12), _LABELS)
        axes.set_xlabel("measured")
        axes.set_ylabel("asked for")
        axes.set_title(title)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        bar = figure.colorbar(image, ax=axes, shrink=0.8, label="points measured per point asked")
        bar.outline.set_visible(False)
        return _png(figure)


def intensity_curves(curves: Mapping[str, pl.DataFrame]) -> bytes:
    """Measured against asked-for intensity, one panel an AU, one line an experiment with its 95 % band.

    `curves` holds a frame of `tables.curves` an experiment; the dashed diagonal is perfect control.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7.6, 5.2), layout="constrained")
        panels = figure.subplots(3, 4, sharex=True, sharey=True)
        for panel, au in zip(panels.flat, facs.ACTION_UNITS, strict=True):
            panel.plot([0, 5], [0, 5], color="#7b8794", linewidth=0.9, linestyle=(0, (4, 3)))
            for i, (experiment, frame) in enumerate(curves.items()):
                part = frame.filter(pl.col("value").is_not_null(), au=au)
                style: dict[str, Any] = {
                    "color": _colour(i),
                    "label": experiment,
                    "markersize": 3,
                    "linewidth": 1.4,
                }
                panel.plot(part["intensity"], part["value"], marker="o", **style)
                panel.fill_between(
                    part["intensity"], part["low"], part["high"], color=_colour(i), alpha=0.18, lw=0
                )
            panel.set_title(f"AU{au} {facs.NAMES[au]}", fontsize=7.5, loc="left")
            panel.set(xlim=(-0.2, 5.2), ylim=(-0.2, 5.2), xticks=range(6), yticks=range(6))
        figure.supxlabel("intensity asked for", fontsize=8.5)
        figure.supylabel("intensity measured", fontsize=8.5)
        _legend_above(figure, panels.flat[0])
        return _png(figure)


def correction_histograms(corrections: pl.DataFrame) -> bytes:
    """Label intensities before and after the corrections, one panel an AU, share of samples on a log scale.

    `corrections` holds au1_raw … au26_raw and au1 … au26 (0-5, null where unsupported); its dropped rows
    are left out, so both histograms are of the same samples.
    """
    kept = corrections.filter(pl.col("keep")) if "keep" in corrections.columns else corrections
    edges = np.linspace(0, 5, 21)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7.6, 4.6), layout="constrained")
        panels = figure.subplots(3, 4, sharex=True, sharey=True)
        for panel, au in zip(panels.flat, facs.ACTION_UNITS, strict=True):
            panel.set_title(f"AU{au} {facs.NAMES[au]}", fontsize=7.5, loc="left")
            for column, label, style in (
                (f"au{au}_raw", "before", {"color": COLOURS[1], "fill": True, "alpha": 0.55}),
                (f"au{au}", "after", {"color": COLOURS[0], "linewidth": 1.3}),
            ):
                values = kept[column].drop_nulls().to_numpy() if column in kept.columns else np.array([])
                if len(values):
                    heights, _ = np.histogram(np.clip(values, 0, 5), edges)
                    panel.stairs(heights / len(values), edges, label=label, **style)
                elif label == "after":
                    panel.text(2.5, 0.05, "not measured", ha="center", color="#7b8794")
            panel.set_yscale("log")
            panel.minorticks_off()
            panel.set(xlim=(0, 5), ylim=(2e-4, 1.3), xticks=range(6))
        figure.supxlabel("intensity", fontsize=8.5)
        figure.supylabel("share of samples", fontsize=8.5)
        _legend_above(figure, panels.flat[0])
        return _png(figure)


def agreement(table: pl.DataFrame) -> bytes:
    """ICC(3,1) and share of opposite verdicts an AU, a bar a pair of annotators; `table` as of
    `agreement.compare`.
    """
    pairs = pl.format("{}: {} and {}", "pictures", "first", "second").alias("series")
    return _au_panels(table.with_columns(pairs), {"icc": "ICC(3,1)", "opposite": "opposite verdicts, share"})


def recipe_errors(table: pl.DataFrame) -> bytes:
    """Mean squared error of each recipe an AU, with columns recipe, au and mse."""
    return _au_panels(table.rename({"recipe": "series"}), {"mse": "mean squared error"})


def _au_panels(table: pl.DataFrame, panels: Mapping[str, str]) -> bytes:
    """A panel a column of `panels`: a bar an AU and `series`; a cross where there is no value."""
    series = table["series"].unique(maintain_order=True).to_list()
    width = 0.8 / max(1, len(series))
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7.6, 0.5 + 2.2 * len(panels)), layout="constrained")
        for axes, (column, label) in zip(
            np.ravel(figure.subplots(len(panels), 1)), panels.items(), strict=True
        ):
            for i, name in enumerate(series):
                part = table.filter(series=name)
                found = dict(part.select("au", column).iter_rows())
                values = np.array([found.get(au) for au in facs.ACTION_UNITS], dtype=np.float64)
                places = np.arange(12) + (i - (len(series) - 1) / 2) * width
                axes.bar(places, values, width * 0.92, color=_colour(i), label=name)
                axes.plot(places[np.isnan(values)], np.zeros(np.isnan(values).sum()), "x", color=_colour(i))
            axes.set_xticks(range(12), _LABELS)
            axes.grid(visible=False, axis="x")
            axes.axhline(0, color=_INK, linewidth=0.8)
            axes.set_ylabel(label)
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=2)
        return _png(figure)


def funnel(counts: pl.DataFrame) -> bytes:
    """What each stage kept (dark) and dropped (light), a panel a source; `counts` as of `funnel.counts`."""
    sources = counts["source"].unique(maintain_order=True).to_list()
    heights = [counts.filter(source=source).height for source in sources]
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7.6, 0.5 + 0.28 * sum(heights) + 0.3 * len(sources)), layout="constrained")
        panels = figure.subplots(len(sources), 1, squeeze=False, height_ratios=heights)[:, 0]
        for panel, source in zip(panels, sources, strict=True):
            part = counts.filter(source=source)
            places = np.arange(part.height)[::-1]
            kept, dropped = part["kept"].to_numpy(), part["dropped"].to_numpy()
            panel.barh(places, kept, 0.68, color=COLOURS[0], label="kept")
            panel.barh(places, dropped, 0.68, left=kept, color="#f0b89a", label="dropped")
            for place, k, d in zip(places, kept, dropped, strict=True):
                text = f"  {k:,}" + (f"   −{d:,}" if d else "")
                panel.text(k + d, place, text, va="center", fontsize=7.5)
            panel.set_yticks(places, part["stage"].to_list())
            panel.set_title(source, loc="left")
            panel.set_xlim(0, max(1, (kept + dropped).max()) * 1.17)
            panel.grid(visible=False, axis="y")
        _legend_above(figure, panels[0])
        return _png(figure)


def training_curves(losses: Mapping[str, pl.DataFrame], window: int = 50) -> bytes:
    """Training loss against step, a running mean over `window` rows on top. Frames hold step and loss."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7.6, 2.6), layout="constrained")
        axes = figure.subplots()
        for i, (experiment, frame) in enumerate(losses.items()):
            frame = frame.sort("step").drop_nulls("loss")
            smooth = frame["loss"].rolling_mean(
                min(window, max(1, frame.height // 4)), min_samples=1, center=True
            )
            axes.plot(frame["step"], frame["loss"], color=_colour(i), linewidth=0.6, alpha=0.3)
            axes.plot(frame["step"], smooth, color=_colour(i), linewidth=1.6, label=experiment)
        axes.set(xlabel="step", ylabel="loss")
        _legend_above(figure, axes)
        return _png(figure)


def edit_fronts(fronts: pl.DataFrame, likeness: str = "clip_i") -> bytes:
    """AU error over all twelve against `likeness` to the source, the better the higher: a line an editor over
    the strengths of its edits (`edits.fronts`), the largest marked; a point alone where strength changes
    nothing."""
    better = DEFINITIONS[likeness].better
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        panel = figure.subplots()
        for i, ((editor,), part) in enumerate(fronts.group_by("editor", maintain_order=True)):
            part = part.drop_nulls().sort("strength")
            panel.plot(
                part["au_mse_all"],
                part[likeness],
                "os"[i // len(COLOURS) % 2] + "-",
                color=_colour(i),
                linewidth=1.4,
                label=editor,
            )
            for point in part.select("au_mse_all", likeness, "strength").tail(1).iter_rows():
                panel.annotate(f"×{point[2]:g}", point[:2], (4, 4), textcoords="offset points", fontsize=7)
        panel.set_xlabel("AU-MSE, all twelve (less is better)")
        panel.set_ylabel(
            f"{DEFINITIONS[likeness].label} to the source ({'more' if better > 0 else 'less'} is better)"
        )
        panel.yaxis.set_inverted(better < 0)
        if panel.lines:
            figure.legend(loc="outside right upper", frameon=False)
        return _png(figure)


def _colour(i: int) -> str:
    return COLOURS[i % len(COLOURS)]


def _whisker() -> dict:
    return {"elinewidth": 0.9, "ecolor": _INK}


def _estimate(rows: pl.DataFrame) -> tuple[float | None, float | None, float | None]:
    return rows.select("value", "low", "high").row(0) if rows.height else (None, None, None)


def _bars(rows: Sequence[tuple]) -> tuple[np.ndarray, np.ndarray]:
    """Heights and the two-sided lengths of their whiskers, NaN where undefined."""
    table = np.array(rows, dtype=np.float64)
    return table[:, 0], np.abs(table[:, 1:].T - table[:, 0])


def _legend_above(figure: Figure, axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=6)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()
