"""An annotator against pictures of known intensity: does it rise, how steeply, what else moves, for whom.

Takes tables, gives tables; makes no picture and asks no model. Rendered faces are not photographs: what is
found here bounds an annotator from one side (what it cannot read on clean faces, it will not read on others).
"""

from __future__ import annotations

import numpy as np
import polars as pl

from evaluation import bootstrap
from facs import ACTION_UNITS, COLUMNS, MAXIMUM

TRUTH = tuple(f"true_{column}" for column in COLUMNS)
KINDS = ("neutral", "alone", "pair", "asymmetric", "pose", "light", "resolution")
"""`neutral`: nobody moves; `alone`: one AU at 1-5; `pair`: two; `asymmetric`: one on one side of the face;
`pose`, `light` and `resolution`: expressions under a condition, named in the column of the same name."""
PEOPLE = ("gender", "age", "skin")
CONDITIONS = ("pose", "light", "resolution")


def joined(truth: pl.DataFrame, readings: pl.DataFrame) -> pl.DataFrame:
    """A row a picture: truth, and readings au1 … au26 (0-5, null where unread) with `faces`.

    `truth` has picture_id, kind (KINDS), person, gender, age, skin, pose, light, resolution and true_au1 …;
    `readings` has picture_id, faces and au1 …. A picture that `readings` lacks counts as one without a face.
    Raises ValueError for a missing column, a repeated picture or a reading of an unknown one.
    """
    wanted = {"picture_id", "kind", "person", *PEOPLE, *CONDITIONS, *TRUTH}
    for name, table, columns in (
        ("truth", truth, wanted),
        ("readings", readings, {"picture_id", "faces", *COLUMNS}),
    ):
        if missing := columns - set(table.columns):
            raise ValueError(f"{name} lacks the columns {', '.join(sorted(missing))}")
        if table["picture_id"].is_duplicated().any():
            raise ValueError(f"{name} has a picture twice")
    if unknown := set(readings["picture_id"]) - set(truth["picture_id"]):
        raise ValueError(f"readings of unknown pictures, for one {min(unknown)!r}")
    read = readings.select("picture_id", "faces", pl.col(COLUMNS).cast(pl.Float64))
    table = truth.join(read, on="picture_id", how="left", maintain_order="left")
    return table.with_columns(pl.col("faces").fill_null(0))


def supported(table: pl.DataFrame) -> tuple[int, ...]:
    """The AUs of which `table` (as `joined` gives) has any reading."""
    return tuple(
        au
        for au, column in zip(ACTION_UNITS, COLUMNS, strict=True)
        if table[column].null_count() < len(table)
    )


def responses(table: pl.DataFrame) -> pl.DataFrame:
    """How the reading of an AU rises when it alone does: au, intensity 0-5, reading, deviation, pictures.

    The mean over people; intensity 0 are the neutral pictures. An unread AU has null readings.
    """
    parts = []
    for au in ACTION_UNITS:
        parts.append(
            _sweep(table, au)
            .group_by("intensity")
            .agg(
                pl.col("reading").mean(),
                pl.col("reading").std().alias("deviation"),
                pl.col("reading").count().cast(pl.Int64).alias("pictures"),
            )
            .sort("intensity")
            .select(pl.lit(au, dtype=pl.Int64).alias("au"), pl.all())
        )
    return pl.concat(parts)


def monotonicity(table: pl.DataFrame) -> pl.DataFrame:
    """An AU a row: `spearman` of intensity and reading within a person, averaged over people, with its 95 %
    interval over people; `rising`: share of the five steps 0-1 … 4-5 at which the mean reading rises.

    A person in whom the reading never changes counts as 0. Null for an unread AU.
    """
    rows = []
    levels = responses(table)
    for au in ACTION_UNITS:
        people = _sweep(table, au).drop_nulls("reading").partition_by("person", maintain_order=True)
        people = [one for one in people if one["intensity"].n_unique() > 1]
        values = np.array([_spearman(one["intensity"], one["reading"]) for one in people])
        persons = np.array([one["person"][0] for one in people])
        found = _mean(values, persons)
        steps = levels.filter(au=au)["reading"].drop_nulls().diff().drop_nulls()
        rising = float((steps.to_numpy() > 0).mean()) if len(steps) else None
        rows.append({"au": au, "spearman": found[0], "low": found[1], "high": found[2], "rising": rising})
    return pl.DataFrame(
        rows, schema={"au": pl.Int64} | dict.fromkeys(("spearman", "low", "high", "rising"), pl.Float64)
    )


def gains(table: pl.DataFrame) -> pl.DataFrame:
    """An AU a row: least squares reading = offset + gain · intensity on sweeps of it alone.

    With 95 % intervals. 1 and 0 are perfect. Whole people are drawn for the intervals. Null for an unread AU.
    """
    rows = []
    for au in ACTION_UNITS:
        sweep = _sweep(table, au).drop_nulls("reading")
        x, y = sweep["intensity"].to_numpy(), sweep["reading"].to_numpy()
        counted = np.ones(len(x), bool)
        people = sweep["person"].to_numpy()
        sums = (
            [bootstrap.Sums.of(values, counted, people) for values in (x, y, x * x, x * y)] if len(x) else []
        )
        row: dict[str, float | int | None] = {"au": au}
        for name, statistic in (("gain", _slope), ("offset", _intercept)):
            found = bootstrap.estimate(statistic, *sums) if sums else None
            for part, value in zip(("", "_low", "_high"), found[:3] if found else (None,) * 3, strict=True):
                row[f"{name}{part}"] = value
        rows.append(row | {"pictures": len(x)})
    names = [f"{name}{part}" for name in ("gain", "offset") for part in ("", "_low", "_high")]
    return pl.DataFrame(
        rows, schema={"au": pl.Int64} | dict.fromkeys(names, pl.Float64) | {"pictures": pl.Int64}
    )


def by_au(table: pl.DataFrame) -> pl.DataFrame:
    """`monotonicity` and `gains` beside each other, an AU a row: au, spearman, rising, gain, offset; null for
    an unread AU.
    """
    return (
        monotonicity(table).join(gains(table), on="au").select("au", "spearman", "rising", "gain", "offset")
    )


def curves(table: pl.DataFrame) -> pl.DataFrame:
    """`responses` in the form of `tables.curves`: au, intensity, value, low, high (95 %, of the mean), n."""
    half = 1.96 * pl.col("deviation") / pl.col("pictures").sqrt()
    value = pl.col("reading")
    return responses(table).select(
        "au",
        pl.col("intensity").cast(pl.Float64),
        value.alias("value"),
        (value - half).fill_null(value).alias("low"),
        (value + half).fill_null(value).alias("high"),
        pl.col("pictures").alias("n"),
    )


def cross_talk(table: pl.DataFrame) -> np.ndarray:
    """float [12, 12]: how far reading j rises for each unit of intensity that AU i alone rises.

    Differences to the same person's neutral picture, least squares through it. The diagonal is the gain. NaN
    where AU j is unread or AU i was never shown alone.
    """
    neutral = table.filter(kind="neutral").group_by("person").agg(pl.col(COLUMNS).mean().name.prefix("rest_"))
    out = np.full((len(ACTION_UNITS), len(ACTION_UNITS)), np.nan)
    for row, true in enumerate(TRUTH):
        shown = table.filter((pl.col("kind") == "alone") & (pl.col(true) > 0)).join(neutral, on="person")
        for position, column in enumerate(COLUMNS):
            pairs = shown.select(pl.col(true), (pl.col(column) - pl.col(f"rest_{column}")).alias("change"))
            pairs = pairs.drop_nulls()
            if len(pairs):
                x, change = pairs[true].to_numpy(), pairs["change"].to_numpy()
                out[row, position] = float(x @ change / (x @ x))
    return out


def errors(table: pl.DataFrame, by: str) -> pl.DataFrame:
    """Mean absolute error over the AUs that are read, by the column `by`, with 95 % intervals over people.

    A row a value of `by`: value, mae, low, high, pictures, people; pictures without a face do not count here
    (see `failures`). Pictures in which a condition is changed count only where `by` is that condition.
    Raises ValueError for another column.
    """
    rows = []
    for value, part in _parts(table, by):
        read = part.filter(pl.col("faces") > 0)
        distance = [(pl.col(c) - pl.col(t)).abs().alias(c) for c, t in zip(COLUMNS, TRUTH, strict=True)]
        apart = read.select(distance).to_numpy().astype(float)
        people = read["person"].to_numpy()
        found = bootstrap.mean(bootstrap.Sums.of(apart, np.isfinite(apart), people)) if len(read) else None
        low_high = found[:3] if found else (None, None, None)
        rows.append((value, *low_high, len(read), len(np.unique(people))))
    return _by_schema(rows, "mae")


def failures(table: pl.DataFrame, by: str) -> pl.DataFrame:
    """Share of pictures in which no face was found, by the column `by`: as `errors`, column `share`."""
    rows = []
    for value, part in _parts(table, by):
        failed = (part["faces"] == 0).to_numpy().astype(float)
        people = part["person"].to_numpy()
        found = bootstrap.mean(bootstrap.Sums.of(failed, np.ones(len(part), bool), people))
        rows.append((value, *found[:3], len(part), len(np.unique(people))))
    return _by_schema(rows, "share")


def sides(table: pl.DataFrame) -> pl.DataFrame:
    """What is read of an AU shown on one side of the face only: au, intensity, reading, pictures.

    A coder names the intensity of the stronger side; an annotator that reads both sides halves it.
    """
    parts = []
    for au, column, true in zip(ACTION_UNITS, COLUMNS, TRUTH, strict=True):
        shown = table.filter((pl.col("kind") == "asymmetric") & (pl.col(true) > 0))
        parts.append(
            shown.group_by(pl.col(true).alias("intensity"))
            .agg(pl.col(column).mean().alias("reading"), pl.len().cast(pl.Int64).alias("pictures"))
            .sort("intensity")
            .select(pl.lit(au, dtype=pl.Int64).alias("au"), pl.all())
        )
    return pl.concat(parts)


def _sweep(table: pl.DataFrame, au: int) -> pl.DataFrame:
    """person, intensity and reading in pictures in which `au` moves alone, the neutral ones included."""
    position = ACTION_UNITS.index(au)
    alone = (pl.col("kind") == "alone") & (pl.col(TRUTH[position]) > 0)
    return table.filter(alone | (pl.col("kind") == "neutral")).select(
        "person", pl.col(TRUTH[position]).alias("intensity"), pl.col(COLUMNS[position]).alias("reading")
    )


def _parts(table: pl.DataFrame, by: str) -> list[tuple[str, pl.DataFrame]]:
    if by not in (*PEOPLE, *CONDITIONS):
        raise ValueError(f"by must be one of {', '.join((*PEOPLE, *CONDITIONS))}, not {by!r}")
    kinds = (by,) if by in CONDITIONS else ("neutral", "alone", "pair")
    rows = table.filter(pl.col("kind").is_in(kinds))
    return [(str(value), rows.filter(pl.col(by) == value)) for value in sorted(rows[by].unique().to_list())]


def _by_schema(rows: list[tuple], name: str) -> pl.DataFrame:
    numbers = dict.fromkeys((name, "low", "high"), pl.Float64)
    schema = {"value": pl.String} | numbers | {"pictures": pl.Int64, "people": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _mean(values: np.ndarray, people: np.ndarray) -> tuple[float | None, float | None, float | None]:
    if not len(values):
        return None, None, None
    return bootstrap.mean(bootstrap.Sums.of(values, np.ones(len(values), bool), people))[:3]


def _spearman(first: pl.Series, second: pl.Series) -> float:
    value = (
        np.corrcoef(first.rank().to_numpy(), second.rank().to_numpy())[0, 1] if second.n_unique() > 1 else 0.0
    )
    return float(value)


def _slope(x, y, xx, xy):
    return (xy - x * y) / (xx - x * x)


def _intercept(x, y, xx, xy):
    return y - _slope(x, y, xx, xy) * x


def text(table: pl.DataFrame) -> str:
    """The audit of `table` (as `joined` gives) as aligned lines: an AU a line, then errors and failures."""
    rise, slope = monotonicity(table), gains(table)
    lines = ["AU   Spearman  rising  gain   offset"]
    for au, by_rank, by_size in zip(ACTION_UNITS, rise.rows(named=True), slope.rows(named=True), strict=True):
        if by_rank["spearman"] is None:
            lines.append(f"{au:<4} not read")
            continue
        lines.append(
            f"{au:<4} {by_rank['spearman']:>8.2f}  {by_rank['rising']:>6.2f}"
            f"  {by_size['gain']:>5.2f}  {by_size['offset']:>6.2f}"
        )
    for by in (*PEOPLE, *CONDITIONS):
        for row, failed in zip(
            errors(table, by).rows(named=True), failures(table, by).rows(named=True), strict=True
        ):
            error = "–" if row["mae"] is None else f"{row['mae']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
            lines.append(f"{by} {row['value']}: mean absolute error {error}, no face {failed['share']:.1%}")
    return "\n".join(
        [*lines, f"scale 0-{MAXIMUM:.0f}; {len(table):,} rendered faces, which are not photographs"]
    )
