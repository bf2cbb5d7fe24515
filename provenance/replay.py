"""The data set computed again from the answers that its tables hold, under its own rules or changed ones.
Asks no model: what a rule lets in that no model was asked about cannot be told.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from curation import corrections, overrides, photorealism, recipes, resolution, training_set
from curation import frames as frames_table
from curation.recipes import Recipe
from facs import number
from provenance.difference import Tables
from provenance.moments import Moment
from provenance.values import recipe_of
from provenance.why import Step
from reasons import Reason
from settings import nearest
from stages import LABELLED, WEB

READ = (
    *("raw_affectnet", "raw_disfa", "raw_folder", "raw_rendered", "face_crop", "resolution", "photorealism"),
    *("au_annotation", "disfa_readings", "captions", "au_statistics", "au_corrections", "training_set"),
)
UNREAD = (Reason.CORRUPT_IMAGE.value, Reason.CHANGED_FILE.value)
LOOKS = "perceptual_hashes"
SHARE = "rendered.share"


class UnknownSetting(ValueError):
    """A rule that is not there, or a value that it cannot have; the message says which there are."""


class NeedsModel(LookupError):
    """A changed rule lets in pictures about which no model was asked."""


class NotReplayable(LookupError):
    """Tables that are missing, or that do not follow from one another by this code."""


@dataclass(frozen=True)
class Rules:
    """All that the data set follows from besides the models' answers; as commits hold it, section by section.

    without: samples that are taken to be absent.
    """

    recipe: Recipe
    resolution: Mapping[str, Any] = field(default_factory=dict)
    thresholds: Mapping[str, float] | None = None
    questions: Mapping[str, str] = field(default_factory=dict)
    rival: float | None = None
    split: Mapping[str, Any] = field(default_factory=dict)
    disfa: Mapping[str, Any] = field(default_factory=dict)
    rendered_share: float | None = None
    without: frozenset[str] = frozenset()


def rules(moment: Moment) -> Rules:
    """The rules by which the tables of a moment were made. Raises NotReplayable for tables that do not
    say."""

    def said(stage: str) -> dict[str, Any]:
        commit = moment.commit(stage)
        return commit.settings if commit else {}

    commit = moment.commit("au_corrections")
    recipe = recipe_of(Step("au_corrections", 0, None, commit.metadata)) if commit else None
    split = said("training_set").get("split")
    if recipe is None or split is None:
        raise NotReplayable(
            f"the tables of {moment.store.home} ({moment.told}) do not say how they were made"
        )
    photos = said("photorealism").get("photorealism", {})
    return Rules(
        recipe,
        said("resolution").get("resolution", {}),
        photos.get("thresholds"),
        photos.get("questions", {}),
        said("au_annotation").get("au_estimator", {}).get("rival"),
        split,
        said("raw_disfa").get("disfa", {}),
        said("training_set").get(SHARE),
    )


def changed(own: Rules, setting: str) -> Rules:
    """`own` with one setting changed: "corrections.gamma.AU4=1.0", "resolution.min_side=640", "without=ID".

    Raises UnknownSetting, naming what is near.
    """
    key, equals, text = (part.strip() for part in setting.partition("="))
    if not equals or not text:
        raise UnknownSetting(f"{setting!r}: say SETTING=VALUE, as in corrections.gamma.AU4=1.0")
    if key == "without":
        return replace(own, without=own.without | {text})
    section, _, name = key.partition(".")
    try:
        if section == "corrections":
            return replace(own, recipe=_recipe(own.recipe, name, text))
        if key in (known := settings_of(own)):
            return _section(own, section, name, _like(known[key], key, text))
    except (ValueError, TypeError) as error:
        raise UnknownSetting(f"{key}: {error}") from None
    known_names = [*known, *_recipe_settings(own.recipe), "without"]
    close = nearest.hint(key, known_names) or f"; there are {', '.join(known_names)}"
    raise UnknownSetting(f"no setting {key!r} that could be changed without asking a model{close}")


def settings_of(own: Rules) -> dict[str, Any]:
    """The settings outside the recipe that `changed` takes, and what they are."""
    found = {f"resolution.{name}": value for name, value in own.resolution.items()}
    found |= {f"photorealism.thresholds.{name}": value for name, value in (own.thresholds or {}).items()}
    found |= {"au_estimator.rival": own.rival, SHARE: own.rendered_share}
    found |= {f"split.{name}": value for name, value in own.split.items()}
    drawn = ("no_au_share", "seed", "neutral_share_of")
    return found | {f"disfa.{name}": own.disfa[name] for name in drawn if name in own.disfa}


def value_of(own: Rules, setting: str) -> Any:
    """What a setting that `changed` takes is in `own`; None for none."""
    key = setting.partition("=")[0].strip()
    return (settings_of(own) | _recipe_settings(own.recipe)).get(key)


def _recipe_settings(recipe: Recipe) -> dict[str, Any]:
    found: dict[str, Any] = {"corrections.recipe": recipe.name}
    found |= {f"corrections.{name}": getattr(recipe, name) for name in ("weak_at", "zero_below", "bounded")}
    for power in recipe.powers:
        for name in ("gamma", "target", "amplify"):
            if getattr(power, name) is not None:
                found[f"corrections.{name}.AU{power.au}"] = getattr(power, name)
    return found


def _recipe(recipe: Recipe, name: str, text: str) -> Recipe:
    if name == "recipe":
        return recipes.named(text)
    known = _recipe_settings(recipe)
    part, _, au = name.partition(".")
    key = f"corrections.{part}.AU{number(au)}" if au else f"corrections.{part}"
    if key not in known:
        close = nearest.hint(key, known) or f"; there are {', '.join(known)}"
        raise ValueError(f"the recipe {recipe.name!r} has no such setting{close}")
    value = _like(known[key], key, text)
    if not au:
        return replace(recipe, **{part: value})
    powers = (replace(one, **{part: value}) if one.au == number(au) else one for one in recipe.powers)
    return replace(recipe, powers=tuple(powers))


def _section(own: Rules, section: str, name: str, value: Any) -> Rules:
    if section == "photorealism":
        return replace(own, thresholds={**(own.thresholds or {}), name.removeprefix("thresholds."): value})
    if section == "au_estimator":
        return replace(own, rival=value)
    if section == "rendered":
        if value is not None and not 0 <= value < 1:
            raise ValueError(f"at least 0 and below 1, not {value:g}")
        return replace(own, rendered_share=value)
    if section == "resolution":
        return replace(own, resolution={**own.resolution, name: value})
    if section == "split":
        return replace(own, split={**own.split, name: value})
    return replace(own, disfa={**own.disfa, name: value})


def _like(known: Any, key: str, text: str) -> Any:
    """`text` as a value like `known`. Raises ValueError."""
    if isinstance(known, bool):
        if text.lower() not in ("true", "false"):
            raise ValueError(f"true or false, not {text!r}")
        return text.lower() == "true"
    if text.lower() in ("null", "none") and key in ("au_estimator.rival", "split.looks_within", SHARE):
        return None
    if isinstance(known, int) or key == "split.looks_within":
        return int(text)
    return float(text) if isinstance(known, float) or known is None else text


def recorded(moment: Moment) -> dict[str, pl.DataFrame]:
    """The tables of a data set at a moment, checked. Raises NotReplayable where one is missing."""
    tables = {stage: table for stage in READ if (table := moment.read(stage)) is not None}
    if "raw_disfa" in tables:  # a data set from before there were rendered pictures
        tables.setdefault("raw_rendered", tables["raw_disfa"].clear())
    if missing := [stage for stage in READ if stage not in tables]:
        raise NotReplayable(f"{moment.store.home} has no table {', '.join(missing)} ({moment.told})")
    return tables


def replay(moment: Moment, tables: Tables, own: Rules) -> dict[str, pl.DataFrame]:
    """The tables from `resolution` on as they follow from the answers in `tables` by the rules `own`.

    Raises NeedsModel, naming pictures, where these let in what no model was asked about.
    """
    made = dict(tables)
    absent = pl.col("sample_id").is_in(sorted(own.without))
    for stage in ("raw_affectnet", "raw_disfa", "raw_folder", "raw_rendered", "face_crop"):
        made[stage] = made[stage].filter(~absent)
    made["raw_disfa"] = _drawn(made["raw_disfa"], own)
    drawn = _kept(made["raw_disfa"]).select("sample_id")
    _asked("face_crop", drawn, made["face_crop"])
    undrawn = (pl.col("source") == "disfa") & ~pl.col("sample_id").is_in(drawn["sample_id"].implode())
    made["face_crop"] = made["face_crop"].filter(~undrawn)
    seen = _kept(made["face_crop"])
    labelled = seen.filter(pl.col("source").is_in(LABELLED))
    made["resolution"] = _resolution(seen, tables["resolution"], own)
    made["photorealism"] = _photorealism(_kept(made["resolution"]), tables["photorealism"], own)
    made["au_annotation"] = _readings(_kept(made["photorealism"]), tables["au_annotation"], own)
    wanted = pl.concat([_kept(made["au_annotation"]).select("sample_id"), labelled.select("sample_id")])
    made["captions"] = _asked("captions", wanted, tables["captions"]).sort("sample_id")
    made["disfa_readings"] = tables["disfa_readings"].filter(~absent)
    made["au_statistics"], made["au_corrections"] = _corrected(moment, made, tables, own)
    table = _assembled(moment, made, tables, own, made["au_corrections"])
    made["training_set"] = _given(moment, table, tables["training_set"])
    return made


def _kept(table: pl.DataFrame) -> pl.DataFrame:
    return table.filter(pl.col("keep"))


def _asked(stage: str, wanted: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """The rows of `known` that are `wanted`, in that order. Raises NeedsModel for those it has not."""
    unasked = wanted.join(known, on="sample_id", how="anti")["sample_id"]
    if len(unasked):
        raise NeedsModel(
            f"{len(unasked):,} pictures would come that {stage} never saw, such as {unasked[0]}: "
            "only a run can tell"
        )
    return wanted.select("sample_id").join(known, on="sample_id", maintain_order="left").select(known.columns)


def _drawn(frames: pl.DataFrame, own: Rules) -> pl.DataFrame:
    if not own.disfa:
        return frames
    again = pl.col("reason_code").eq_missing(pl.lit(Reason.NO_ACTIVE_AU.value))
    frames = frames.with_columns(
        (pl.col("keep") | again).alias("keep"),
        *(pl.when(~again).then(name).alias(name) for name in ("reason_code", "reason_detail")),
    )
    said = own.disfa
    return training_set.draw_no_au(
        frames, said["no_au_share"], said["seed"], share_of=said.get("neutral_share_of", "neutral")
    )


def _resolution(seen: pl.DataFrame, known: pl.DataFrame, own: Rules) -> pl.DataFrame:
    inclusive = own.resolution.get("inclusive", True)
    judged = resolution.apply(
        seen.filter(pl.col("source").is_in(WEB)),
        own.resolution["min_side"],
        inclusive,
        inclusive_height=inclusive and own.recipe.inclusive_height,
    )
    return judged.select(known.columns)


def _photorealism(wanted: pl.DataFrame, known: pl.DataFrame, own: Rules) -> pl.DataFrame:
    rows = _asked("photorealism", wanted, known)
    if own.thresholds is None:
        return rows
    unread = pl.col("model_reason_code").is_in(list(UNREAD)).fill_null(False)
    asked = rows.with_columns(
        (~unread).alias("keep"),
        *(pl.when(unread).then(f"model_{name}").alias(name) for name in ("reason_code", "reason_detail")),
    )
    judged = photorealism.judge(asked, own.thresholds, own.questions or photorealism.QUESTIONS)
    said = rows.filter(pl.col("override").is_not_null()).select(
        "sample_id",
        pl.lit("photorealism").alias("stage"),
        pl.col("override").alias("verdict"),
        pl.lit(None, dtype=pl.Int64).alias("au"),
        pl.lit(None, dtype=pl.Float64).alias("value"),
        pl.col("overruled_by").alias("author"),
        pl.col("overruled_at").alias("time"),
        pl.col("override_reason").alias("reason"),
    )
    below = ("model_keep", "model_reason_code", "model_reason_detail")
    above = ("override", "overruled_by", "overruled_at", "override_reason")
    judged = judged.drop(*below, *above)
    return overrides.apply(judged, said, "photorealism").select(known.columns)


def _readings(wanted: pl.DataFrame, known: pl.DataFrame, own: Rules) -> pl.DataFrame:
    rows = _asked("au_annotation", wanted, known)
    again = pl.col("reason_code").eq_missing(pl.lit(Reason.SEVERAL_FACES.value))
    rows = rows.with_columns(
        (pl.col("keep") | again).alias("keep"),
        *(pl.when(~again).then(name).alias(name) for name in ("reason_code", "reason_detail")),
    )
    return frames_table.quarantine(
        rows,
        pl.col("rival") >= (float("inf") if own.rival is None else own.rival),
        Reason.SEVERAL_FACES,
        pl.format("{} faces, the second of {} of the largest one's area", "faces", pl.col("rival").round(2)),
    )


def _corrected(moment: Moment, made: Tables, tables: Tables, own: Rules) -> tuple[pl.DataFrame, pl.DataFrame]:
    """au_statistics and au_corrections, as `assets.data_set.corrections` makes them."""
    captioned = _kept(made["au_annotation"]).join(
        _kept(made["captions"]), on="sample_id", how="semi", maintain_order="left"
    )
    readings = captioned
    if own.recipe.powers:
        strong = corrections.judged(readings, own.recipe)
        members = _kept(_assembled(moment, made, tables, own, strong))
        readings = readings.join(members, on="sample_id", how="semi", maintain_order="left")
    labelled = training_set.split(_kept(made["disfa_readings"]), _shares(own), own.split["seed"])
    fitted = corrections.fit(readings, own.recipe, labelled.filter(split="train"))
    return fitted.statistics, fitted.apply(captioned)


def _assembled(
    moment: Moment, made: Tables, tables: Tables, own: Rules, photographs: pl.DataFrame
) -> pl.DataFrame:
    within = own.split.get("looks_within")
    captioned = _kept(made["captions"])
    return training_set.of_tables(
        photographs,
        made["raw_disfa"],
        made["raw_folder"],
        made["raw_rendered"],
        made["face_crop"],
        captioned,
        hashes=None if within is None else _looks(moment, tables["training_set"], captioned),
        within=within or 0,
        shares=_shares(own),
        seed=own.split["seed"],
        rendered_share=own.rendered_share,
    )


def _shares(own: Rules) -> dict[str, float]:
    held_out = {name: own.split[name] for name in ("validation", "test")}
    return {"train": 1 - sum(held_out.values()), **held_out}


def _looks(moment: Moment, known: pl.DataFrame, captioned: pl.DataFrame) -> pl.DataFrame:
    """The perceptual hash of each content: of the training set, else of the memo."""
    contents = captioned.select("content_hash").unique(maintain_order=True)
    unread = pl.col("reason_code").is_in(list(UNREAD)).fill_null(False)
    told = (
        known.filter(pl.col("perceptual_hash").is_not_null() | unread)
        .select(
            "content_hash",
            "perceptual_hash",
            *(pl.when(unread).then(name).alias(name) for name in ("reason_code", "reason_detail")),
        )
        .unique("content_hash", keep="first", maintain_order=True)
    )
    rest = contents.join(told, on="content_hash", how="anti")
    if rest.is_empty():
        return told
    memo = moment.store.memo(LOOKS).where(pl.col("content_hash").is_in(rest["content_hash"].implode()))
    if memo.is_empty() or rest.join(memo, on="content_hash", how="anti").height:
        raise NeedsModel(
            f"{rest.height} pictures would come whose look was never compared, such as "
            f"{captioned.join(rest, on='content_hash', how='semi')['sample_id'][0]}"
        )
    more = memo.unique("content_hash", keep="last").select("content_hash", "perceptual_hash")
    return pl.concat([told, more], how="diagonal")


def _given(moment: Moment, table: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """The training set with the intensities that people gave, as far as the table knew of them."""
    if "overruled" not in known.columns:
        return table
    commit = moment.commit("training_set")
    version = commit.upstream.get("overrides") if commit else None
    said = pl.DataFrame(schema=overrides.SCHEMA)
    if version is not None:
        said = overrides.complete(moment.store.read("overrides", version))
    return overrides.apply_intensities(table, said).select(known.columns)
