"""The stages once, in order: group, whether a table an experiment, what of the profile each reads, and what
its table holds. From here come the schema check of every stage, the order in `why`, the funnel, column
descriptions in the UI, and docs/tables.md. What a stage computes lives elsewhere.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import dataframely as dy
import polars as pl

from facs import ACTION_UNITS, MAXIMUM
from reasons import Reason

Columns = Mapping[str, dy.Column]

WEB = ("affectnet", "folder")
"""Web photographs."""
RENDERED = "rendered"
LABELLED = ("disfa", RENDERED)
"""Those that bring their labels along."""
SOURCES = (*WEB, *LABELLED)


class Group(StrEnum):
    """The part of the graph that a stage belongs to."""

    DATA_SET = "data_set"
    EXPERIMENT = "experiment"
    RESULTS = "results"
    ANNOTATORS = "annotators"
    EDITING = "editing"
    HELD_OUT = "held_out"


@dataclass(frozen=True)
class Stage:
    """A stage and its table. `table` says what the table holds, `reads` names what of the profile decides it
    (a section, "section.key", or a property of the profile).
    """

    name: str
    group: Group
    table: str
    columns: Columns
    reads: tuple[str, ...] = ()
    sources: tuple[str, ...] = SOURCES
    """Of which raw data it may have rows."""
    optional: Columns = field(default_factory=dict)
    """Columns that some profiles' tables have."""
    chain: bool = True
    """Whether samples go through it; else it stands beside, and is no part of the funnel."""
    by_people: bool = False
    """Whether its rows are written by people's commands; then no run makes the table."""

    @property
    def per_experiment(self) -> bool:
        """Whether every experiment has a table of its own, `<stage>/<experiment>`."""
        return self.group == Group.EXPERIMENT

    @property
    def filters(self) -> bool:
        """Whether it keeps some samples of a source and drops others."""
        return {"source", "keep"} <= set(self.columns)

    def complaints(self, table: pl.DataFrame) -> dict[str, int]:
        """What of the declaration `table` breaks: each rule with its number of rows, each column that is
        missing or of another type with all of them. Empty for a table that is as declared.
        """
        found = {}
        for name, column in self.columns.items():
            if name not in table.columns:
                found[f"{name}: missing"] = table.height
            elif not column.validate_dtype(table.schema[name]):
                found[f"{name}: {table.schema[name]}, not {column.dtype}"] = table.height
        if found:
            return found
        present = {name: column for name, column in self.optional.items() if name in table.columns}
        counts = schema(self.name, {**self.columns, **present}).filter(table).failure.counts()
        return {rule.replace("|", ": "): count for rule, count in counts.items()}

    def undeclared(self, table: pl.DataFrame) -> list[str]:
        """Columns of `table` that are not declared here."""
        return [name for name in table.columns if name not in self.columns and name not in self.optional]


def schema(name: str, columns: Columns) -> type[dy.Schema]:
    """Types and rules of a table of these columns."""
    body: dict[str, Any] = dict(columns)
    if "keep" in columns:
        body["dropped_for_a_reason"] = dy.rule()(_dropped_for_a_reason)
    return types.new_class(name, (dy.Schema,), exec_body=lambda namespace: namespace.update(body))


def _dropped_for_a_reason(cls: type[dy.Schema]) -> pl.Expr:
    return pl.col("keep") | pl.col("reason_code").is_not_null()


def _text(description: str, *, known: Iterable[str] | None = None, null: bool = False) -> dy.String:
    """`known`: the only values it may have."""
    words = None if known is None else [str(word) for word in known]
    check = None if words is None else {"known": lambda text: text.is_in(words)}
    return dy.String(nullable=null, description=description, check=check)


def _key(description: str) -> dy.String:
    return dy.String(primary_key=True, description=description)


def _count(description: str, *, null: bool = False, least: int = 0) -> dy.Int64:
    return dy.Int64(nullable=null, min=least, description=description)


def _number(
    description: str,
    *,
    null: bool = True,
    low: float | None = None,
    high: float | None = None,
    nan: bool = False,
) -> dy.Float64:
    return dy.Float64(nullable=null, min=low, max=high, allow_nan=nan, description=description)


def _numbers(description: str) -> dy.List:
    return dy.List(dy.Float64(nullable=True), nullable=True, description=description)


def _per_au(
    pattern: str, sentence: str, *, null: bool = True, low: float | None = 0.0, high: float | None = MAXIMUM
) -> Columns:
    """A column an AU; "{}" in `pattern` and `sentence` is its number."""
    return {
        pattern.format(au): dy.Float64(
            nullable=null,
            min=low,
            max=high,
            description=sentence.format(au),
            metadata={"name": pattern.format("{n}"), "description": sentence.format("n")},
        )
        for au in ACTION_UNITS
    }


SAMPLE: Columns = {
    "sample_id": _key("Source and place of the picture in it; the same for ever."),
    "source": _text("The raw data set.", known=SOURCES),
}
FILE: Columns = {
    "file_kind": _text("Where it lies: a raw data set, or a kind of stored files.", null=True),
    "file": _text("The picture's name there; null where there is none.", null=True),
}
PICTURE: Columns = {
    **FILE,
    "content_hash": _text("Hash of what is seen of it, by which answers are remembered.", null=True),
}
SIZE: Columns = {
    "width": _count("Pixels, upright as EXIF says.", null=True, least=1),
    "height": _count("Pixels, upright as EXIF says.", null=True, least=1),
}
BOX: Columns = {
    "face_x": _number("Left edge of the face box, in pixels of the upright picture."),
    "face_y": _number("Its upper edge."),
    "face_width": _number("Its width."),
    "face_height": _number("Its height."),
}
SUBJECT: Columns = {"subject": _text("The person, where the source says.", null=True)}
LABELS = _per_au("label_au{}", "Intensity of AU{} that came with the picture, 0-5.")
READ = _per_au("au{}", "Intensity of AU{} as read, 0-5; null where it is not supported.")
FINAL = _per_au("au{}", "Final intensity of AU{}; 0-5 where the recipe is bounded.", high=None)
ESTIMATE: Columns = {
    "faces": _count("Faces found; null where they are not counted.", null=True),
    "rival": _number(
        "Area of the second largest face as a share of the largest one's; null where unknown.", low=0, high=1
    ),
    "face_box": dy.List(
        dy.Float64(nullable=True),
        nullable=True,
        description="Of the face that was read: left, top, right, bottom, as shares of width and height.",
    ),
    "head_pose": dy.List(
        dy.Float64(nullable=True), nullable=True, description="Its pitch, yaw and roll in degrees."
    ),
    "clamped": dy.List(
        dy.Int64(nullable=True), nullable=True, description="AUs whose value lay outside 0-5 before."
    ),
}
MODEL: Columns = {
    "model": _text("Who answered.", null=True),
    "fingerprint": _text("Hash of all that decides its answer.", null=True),
}
JUDGED: Columns = {
    "keep": dy.Bool(description="Whether the sample goes on."),
    "reason_code": _text("Why it does not, of the reasons below.", known=Reason, null=True),
    "reason_detail": _text("The numbers, file or line behind the reason.", null=True),
}
RAW: Columns = {
    **SAMPLE,
    **FILE,
    "origin": _text("Raw file and its line or frame.", null=True),
    "content_hash": _text("Hash of the file's bytes.", null=True),
    **SIZE,
    **SUBJECT,
    "frame": _count(
        "Label frame in DISFA, counted from 1; the number in the name in a folder of frames.", null=True
    ),
    "expression": dy.Int64(nullable=True, min=0, max=10, description="AffectNet's expression, 0-10."),
    "valence": _number("AffectNet's valence; null where not applicable.", low=-1, high=1),
    "arousal": _number("AffectNet's arousal; null where not applicable.", low=-1, high=1),
    **BOX,
    "landmarks": _text("AffectNet's landmarks as listed.", null=True),
    **LABELS,
    "raw_caption": _text("The text beside the picture.", null=True),
    "caption_fault": _text("Why that text is no caption.", null=True),
    **JUDGED,
}
PROMPT: Columns = {
    "sample_id": _key("Kind, prompt, AUs and noise of the picture."),
    "kind": _text(
        "The part of the protocol.", known=("individual", "combination", "beyond", "no_au", "base")
    ),
    "prompt_index": _count("Number of the prompt in the protocol."),
    "prompt": _text("The prompt itself."),
    "prompt_source": _text("Who wrote it.", known=("paper", "ours", "training caption")),
    **_per_au(
        "au{}", "Intensity of AU{} asked for; 0 where it is not prompted.", null=False, low=None, high=None
    ),
    "prompted": _text("The AUs asked for, as in 6+12; empty for none."),
    "seed": _count("Seed of the initial noise."),
    "partner_id": _text("The no-AU sample of the same prompt and noise.", null=True),
    "file_kind": _text("The kind of stored files that it is one of."),
    "file": _text("The picture's name in the store."),
    "experiment": _key("Name in the profile."),
    "guidance": _number("Classifier-free guidance it was drawn with.", null=False),
}

EDIT: Columns = {
    "editor": _key("Name in the profile."),
    "sample_id": _key("Kind, source picture, AUs and strength of the edit."),
    "kind": _text(
        "The part of the protocol.", known=("individual", "combination", "transferred", "unchanged")
    ),
    "source_index": _count("Number of the source picture."),
    "source_id": _text("Its sample id."),
    "source_kind": _text("Where it lies: a raw data set, or a kind of stored files."),
    "source_file": _text("Its name there."),
    "source_hash": _text("Hash of what is seen of it."),
    **_per_au("source_au{}", "Intensity of AU{} that it shows, by its label.", null=False, high=None),
    **_per_au("au{}", "Intensity of AU{} asked for.", null=False, low=None, high=None),
    "prompted": _text("The AUs asked for, as in 6+12; empty for none."),
    "strength": _number("What the change was multiplied with.", null=False),
    "kept": _number("Share of the source that the attention mask kept; null without one.", low=0, high=1),
    "file_kind": _text("The kind of stored files that the edit is one of."),
    "file": _text("The edit's name in the store."),
    **MODEL,
}

COMPARED: Columns = {
    "first": _key("The experiment."),
    "second": _key("The one it is compared with."),
    "judge": _key("Who measured: labeller, second, clip, or identity."),
    "kind": _key("The part of the protocol."),
    "metric": _key("Which measure; evaluation.md defines them."),
    "first_value": _number("The experiment's value."),
    "second_value": _number("The other's."),
    "difference": _number("The first less the second."),
    "low": _number("Lower end of its 95 % interval over prompts."),
    "high": _number("Upper end."),
    "prompts": _count("Prompts that are exchanged."),
    "p": _number("Of the paired permutation test.", low=0, high=1),
    "p_holm": _number("After Holm's correction over the table.", low=0, high=1),
    "better": _text("Who is better, where the difference stands.", null=True),
}

STAGES: tuple[Stage, ...] = (
    Stage(
        "forgotten",
        Group.DATA_SET,
        "Samples that were to be forgotten: hashes that recognise them, nothing else; rows are only added.",
        {
            "sample_hash": _text("Hash of the sample's id."),
            "content_hashes": dy.List(
                dy.String(nullable=True), description="Hashes of its picture and of the part that was seen."
            ),
            "source": _text("The raw data set.", known=SOURCES),
            "author": _text("Who asked."),
            "time": dy.Datetime(time_zone="UTC", time_unit="us", description="When."),
            "reason": _text("Why."),
            "trained_on": dy.List(
                dy.String(nullable=True), description="Keys of the models that were trained on it."
            ),
        },
        chain=False,
        by_people=True,
    ),
    Stage(
        "raw_affectnet",
        Group.DATA_SET,
        "AffectNet: a row a line of its lists, or a crop.",
        RAW,
        reads=("raw.affectnet", "resolution.min_side"),
        sources=("affectnet",),
    ),
    Stage(
        "raw_disfa",
        Group.DATA_SET,
        "DISFA: a row a labelled frame; of frames without an active AU some are drawn.",
        RAW,
        reads=("raw.disfa", "disfa"),
        sources=("disfa",),
    ),
    Stage(
        "raw_folder",
        Group.DATA_SET,
        "A folder of portraits: a row a picture.",
        RAW,
        reads=("raw.folder",),
        sources=("folder",),
    ),
    Stage(
        "raw_rendered",
        Group.DATA_SET,
        "Rendered faces of known action units: a row a picture; empty unless the profile asks for some.",
        RAW,
        reads=("rendered.chosen", "base.size"),
        sources=(RENDERED,),
    ),
    Stage(
        "face_crop",
        Group.DATA_SET,
        "The part of each picture that all later stages see.",
        {
            **SAMPLE,
            **PICTURE,
            **SIZE,
            "original_file": _text("The picture it is a part of.", null=True),
            "original_hash": _text("That picture's content hash.", null=True),
            "framing": _text("Which part is seen.", known=("squash", "centre", "face")),
            "crop_x": _count("Left edge of the square that is seen, in pixels; null: all of it.", null=True),
            "crop_y": _count("Its upper edge.", null=True),
            "crop_side": _count("Its side.", null=True, least=1),
            **BOX,
            "face_inside": _number(
                "Share of the face box that is seen; null without a box.", low=0, high=1.001
            ),
            "faces": _count("Faces the detector found; null where it was not asked.", null=True),
            **MODEL,
            **JUDGED,
        },
        reads=("framing", "resolution.min_side"),
    ),
    Stage(
        "resolution",
        Group.DATA_SET,
        "Web photographs, and which are large enough.",
        {**SAMPLE, **PICTURE, **SIZE, **JUDGED},
        reads=("resolution", "corrections.recipe"),
        sources=WEB,
    ),
    Stage(
        "overrides",
        Group.DATA_SET,
        "What people said over the models; rows are only added.",
        {
            "sample_id": _text("The sample."),
            "stage": _text("The stage whose verdict or intensity is meant."),
            "verdict": _text(
                "What was said; an undo takes the last one back.", known=("keep", "drop", "set", "undo")
            ),
            "au": dy.Int64(nullable=True, description="The AU whose intensity is meant; null for a verdict."),
            "value": _number("Its intensity, 0-5; null for others than set.", low=0, high=MAXIMUM),
            "author": _text("Who says so."),
            "time": dy.Datetime(time_zone="UTC", time_unit="us", description="When."),
            "reason": _text("Why."),
        },
        chain=False,
        by_people=True,
    ),
    Stage(
        "acceptances",
        Group.DATA_SET,
        "The failed checks that people accepted; rows are only added.",
        {
            "check": _text("The check."),
            "stage": _text("The stage whose table it judged."),
            "content": _text("The hash of that table: of no other is it accepted."),
            "said": _text("What the check said."),
            "author": _text("Who accepts it."),
            "time": dy.Datetime(time_zone="UTC", time_unit="us", description="When."),
            "reason": _text("Why."),
        },
        chain=False,
        by_people=True,
    ),
    Stage(
        "photorealism",
        Group.DATA_SET,
        "Which pictures are photographs: the model's answers, its verdict, a person's word over it.",
        {
            **SAMPLE,
            **PICTURE,
            "cartoon_answer": _text("The answer to the question for cartoons, verbatim.", null=True),
            "real_answer": _text("The answer to the question for real photographs, verbatim.", null=True),
            "cartoon_score": _number("P(yes) of the first answer.", low=0, high=1, nan=True),
            "real_score": _number("P(yes) of the second answer.", low=0, high=1, nan=True),
            **MODEL,
            "vouched_by": _text("Who says that all are photographs, instead of a model.", null=True),
            "model_keep": dy.Bool(description="The verdict below an override."),
            "model_reason_code": _text("Its reason.", known=Reason, null=True),
            "model_reason_detail": _text("Its reason's detail.", null=True),
            "override": _text("A person's verdict.", known=("keep", "drop"), null=True),
            "overruled_by": _text("Who gave it.", null=True),
            "overruled_at": dy.Datetime(nullable=True, time_zone="UTC", time_unit="us", description="When."),
            "override_reason": _text("Why.", null=True),
            **JUDGED,
        },
        reads=("photorealism",),
        sources=WEB,
    ),
    Stage(
        "au_annotation",
        Group.DATA_SET,
        "Twelve intensities of every photograph as the estimator gave them.",
        {**SAMPLE, **PICTURE, **READ, **ESTIMATE, **MODEL, **JUDGED},
        reads=("au_estimator",),
        sources=WEB,
    ),
    Stage(
        "disfa_readings",
        Group.DATA_SET,
        "What the labeller reads in manually labelled frames, beside the labels.",
        {**SAMPLE, **SUBJECT, **PICTURE, **LABELS, **READ, "faces": ESTIMATE["faces"], **MODEL, **JUDGED},
        reads=("au_estimator", "reads_labelled_frames"),
        chain=False,
        sources=("disfa",),
    ),
    Stage(
        "annotator_agreement",
        Group.DATA_SET,
        "How far the labeller, a second estimator and DISFA's coders agree, an AU and pair of them.",
        {
            "pictures": _key("Which pictures were compared."),
            "first": _key("One annotator."),
            "second": _key("The other."),
            "au": dy.Int64(primary_key=True, description="Action unit."),
            "pearson": _number("Correlation; NaN where undefined.", nan=True, low=-1.001, high=1.001),
            "icc": _number("ICC(3,1); NaN where undefined.", nan=True),
            "mae": _number("Mean absolute difference of intensities.", nan=True, low=0),
            "opposite": _number(
                "Share that one calls present and the other absent.", nan=True, low=0, high=1
            ),
            "n": _count("Pictures that both read."),
            "first_present": _count("Of these, how many the first calls present."),
            "second_present": _count("And the second."),
            "note": _text("Why there are no figures, or few.", null=True),
        },
        reads=("second_au_estimator",),
        chain=False,
    ),
    Stage(
        "captions",
        Group.DATA_SET,
        "What each picture shows, in words.",
        {**SAMPLE, **PICTURE, "caption": _text("One line of text.", null=True), **MODEL, **JUDGED},
        reads=("captions",),
    ),
    Stage(
        "au_statistics",
        Group.DATA_SET,
        "What the recipe was fitted to, and the samples that set it.",
        {
            "recipe": _text("Name of the recipe."),
            "step": _text("Which number of the recipe it is."),
            "au": _count("Action unit."),
            "minimum": _number("Smallest value, on the recipe's scale."),
            "maximum": _number("Largest value."),
            "minimum_sample_id": _text("The sample that set the smallest.", null=True),
            "maximum_sample_id": _text("The sample that set the largest.", null=True),
            "samples": _count("Values it was fitted to."),
            "next_maximum": _number("Largest value of all samples but the one that set it."),
            "reading": _number("Of a knot of a calibrated map: the reading.", low=0),
            "intensity": _number("And what it becomes.", low=0),
        },
        reads=("corrections.recipe", "split", "rendered.share"),
        chain=False,
        sources=WEB,
    ),
    Stage(
        "au_corrections",
        Group.DATA_SET,
        "Each AU before and after each step of the recipe; rows too weak are dropped.",
        {
            **SAMPLE,
            **PICTURE,
            **FINAL,
            **ESTIMATE,
            **MODEL,
            **JUDGED,
            **_per_au("au{}_raw", "AU{} as the estimator gave it."),
        },
        reads=("corrections.recipe",),
        optional={
            **_per_au("au{}_power", "AU{} to the power of the recipe, on its scale.", high=None),
            **_per_au("au{}_scaled", "AU{} normalised and amplified, on 0-5.", high=None),
            **_per_au("au{}_mapped", "AU{} through the calibrated map, on 0-5."),
        },
        sources=WEB,
    ),
    Stage(
        "recipe_errors",
        Group.DATA_SET,
        "How far each recipe's labels lie from manual ones, on subjects it was not fitted on.",
        {
            "recipe": _key("Name of the recipe, or uncorrected."),
            "au": dy.Int64(primary_key=True, description="Action unit."),
            "mae": _number("Mean absolute error.", low=0),
            "mse": _number("Mean squared error.", low=0),
            "frames": _count("Frames that every recipe keeps."),
            "positives": _count("Of these, manually labelled as present."),
        },
        chain=False,
    ),
    Stage(
        "training_set",
        Group.DATA_SET,
        "What models are trained on: final intensities, caption and split of all sources.",
        {
            **SAMPLE,
            **PICTURE,
            **SUBJECT,
            **FINAL,
            "overruled": dy.List(
                dy.Int64(nullable=True),
                nullable=True,
                description="AUs whose intensity a person gave; null for none.",
            ),
            "caption": _text("What the picture shows.", null=True),
            "split": _text("Null for dropped rows.", known=("train", "validation", "test"), null=True),
            "perceptual_hash": _text("256 bits of its look, hexadecimal.", null=True),
            "duplicate_of": _text("The earlier sample that it repeats.", null=True),
            "duplicate_by": _text("How that was seen.", known=("content", "perceptual"), null=True),
            "duplicate_distance": _count("In how many bits the looks differ.", null=True),
            **JUDGED,
        },
        reads=("split", "au_estimator.provider", "rendered.share"),
    ),
    Stage(
        "latents",
        Group.DATA_SET,
        "Where the VAE's moments of each training picture lie.",
        {
            **SAMPLE,
            "content_hash": _text("Hash of what is seen of the picture."),
            "file_kind": FILE["file_kind"],
            "file": _text("A shard's name in the store.", null=True),
            "row": _count("Its row in the shard.", null=True),
            "size": _count("Side of the encoded picture, pixels.", least=1),
            **MODEL,
            **JUDGED,
        },
        reads=("base",),
        chain=False,
    ),
    Stage(
        "class_images",
        Group.EXPERIMENT,
        "What the untouched base draws of training captions, where a method is trained on that too.",
        {
            "sample_id": _key("Its number."),
            "caption": _text("The training caption it was drawn with."),
            "seed": _count("Seed of the initial noise."),
            "picture": _text("The picture's name among the generated ones in the store."),
            "file_kind": _text("The kind of stored files that its latents are one of."),
            "file": _text("The shard of its latents."),
            "row": _count("Their row in the shard."),
            "size": _count("Side of the picture, pixels.", least=1),
            **MODEL,
        },
        reads=("base", "evaluation.scheduler", "evaluation.steps", "experiments"),
        chain=False,
    ),
    Stage(
        "trained_model",
        Group.EXPERIMENT,
        "One experiment's trained model.",
        {
            "experiment": _key("Name in the profile."),
            "method": _text("Name of the method."),
            "folder": _text("Where it lies in the home; null where nothing is trained.", null=True),
            "model_hash": _text("Hash of its weights.", null=True),
            "steps": _count("Optimiser steps."),
            "final_loss": _number("Mean loss of the last steps."),
            "key": _text("Hash of all that decides it.", null=True),
            "samples": _count("Samples it was trained on.", null=True),
        },
        reads=("base", "experiments", "evaluation.protocol"),
    ),
    Stage(
        "guidance_curve",
        Group.EXPERIMENT,
        "What each guidance scale gives on the validation prompts, and which one is chosen.",
        {
            "experiment": _key("Name in the profile."),
            "guidance": dy.Float64(primary_key=True, description="Classifier-free guidance scale."),
            "au_mse_prompted": _number("AU-MSE over the AUs asked for; null where it was not tried.", low=0),
            "au_mse_all": _number("AU-MSE over all twelve.", low=0),
            "au_mse_worst_case": _number("The error that is chosen by.", low=0),
            "clip_i": _number("Mean cosine to the no-AU partners.", low=-1.001, high=1.001),
            "face_failure_rate": _number("Share of pictures without a face.", low=0, high=1),
            "samples": _count("Validation samples.", null=True),
            "admitted": dy.Bool(description="Whether it loses few enough faces."),
            "chosen": dy.Bool(description="Whether the protocol's pictures are drawn with it."),
        },
        reads=("base", "evaluation", "experiments", "judge"),
    ),
    Stage(
        "generated_samples",
        Group.EXPERIMENT,
        "A picture for every sample of the protocol and every no-AU partner, and the untouched base's.",
        PROMPT,
        reads=("base", "evaluation", "experiments"),
    ),
    Stage(
        "au_scores",
        Group.EXPERIMENT,
        "The twelve intensities that each judge measures in every picture; null without a face.",
        {
            "judge": _key("Who measured: labeller, or second."),
            **PROMPT,
            **_per_au("measured_au{}", "Intensity of AU{} measured."),
            "faces": ESTIMATE["faces"],
            **MODEL,
        },
        reads=("judges",),
    ),
    Stage(
        "clip_scores",
        Group.EXPERIMENT,
        "Cosines of every sample's CLIP embedding.",
        {
            **PROMPT,
            **MODEL,
            "clip_i": _number("With its no-AU partner's.", low=-1.001, high=1.001),
            "clip_i_base": _number("With that of the untouched base's picture.", low=-1.001, high=1.001),
            "clip_t": _number("With that of the prompt.", low=-1.001, high=1.001),
        },
        reads=("evaluation.embedder",),
    ),
    Stage(
        "identity_scores",
        Group.EXPERIMENT,
        "Whether every sample still shows the person of its no-AU partner; empty where nobody is asked.",
        {
            **PROMPT,
            **MODEL,
            "identity_distance": _number("Of both faces' descriptors; null where one has no face.", low=0),
            "same_person": _number(
                "1 below 0.6, else 0, also without a face; null where the partner has none.", low=0, high=1
            ),
        },
        reads=("identity",),
    ),
    Stage(
        "realism_scores",
        Group.EXPERIMENT,
        "How far the pictures as a whole lie from those of the training set, by CLIP's embeddings.",
        {
            "experiment": _key("Name in the profile."),
            "kind": _key("The part of the protocol."),
            "metric": _key("kid or fid; evaluation.md defines them."),
            "value": _number("Its value."),
            "low": _number("Lower end of the 95 % interval over prompts; null for fid."),
            "high": _number("Upper end."),
            "n": _count("Generated pictures."),
            "real": _count("Pictures of the training set."),
            **MODEL,
        },
        reads=("evaluation.embedder",),
    ),
    Stage(
        "annotator_audit",
        Group.ANNOTATORS,
        "What each estimator reads in rendered faces of known intensities.",
        {
            "annotator": _key("Who read: labeller, or second."),
            "picture_id": _key("The picture."),
            "kind": _text("What is tried: one AU alone, a pair, one side, a condition."),
            "person": _count("Whose face."),
            "gender": _text("Of the person."),
            "age": _text("Of the person."),
            "skin": _text("Of the person."),
            "pose": _text("Of the head."),
            "light": _text("On the face."),
            "resolution": _count("Side of the picture, pixels.", least=1),
            "lean": dy.Int64(min=-1, max=1, description="1: left side only; -1: right side only; 0: both."),
            **_per_au("true_au{}", "AU{} as it was rendered."),
            **_per_au("au{}", "AU{} as it was read; null where it was not."),
            "faces": ESTIMATE["faces"],
            **PICTURE,
            **MODEL,
        },
        reads=("au_estimator", "second_au_estimator", "audit"),
        chain=False,
    ),
    Stage(
        "trained_editors",
        Group.EDITING,
        "Every editor of the profile, trained on the training set's pictures.",
        {
            "editor": _key("Name in the profile."),
            "method": _text("Name of the method."),
            "folder": _text("Where it lies in the home; null where nothing is trained.", null=True),
            "model_hash": _text("Hash of its weights.", null=True),
            "steps": _count("Steps of the critic."),
            "final_loss": _number("Mean loss of the last steps."),
            "key": _text("Hash of all that decides it.", null=True),
            "samples": _count("Pictures it was trained on.", null=True),
        },
        reads=("editing.editors",),
        chain=False,
    ),
    Stage(
        "edited_samples",
        Group.EDITING,
        "What every editor makes of every held-out picture and AU vector.",
        EDIT,
        reads=("base", "editing", "framing.model"),
        chain=False,
    ),
    Stage(
        "edit_scores",
        Group.EDITING,
        "The twelve intensities that each judge measures in every edit; null without a face.",
        {
            "judge": _key("Who measured: labeller, or second."),
            **EDIT,
            **_per_au("measured_au{}", "Intensity of AU{} measured."),
            "faces": ESTIMATE["faces"],
        },
        reads=("judges",),
        chain=False,
    ),
    Stage(
        "edit_fidelity",
        Group.EDITING,
        "What every edit changed of its source.",
        {
            **EDIT,
            "clip_i": _number("Cosine of the CLIP embeddings of edit and source.", low=-1.001, high=1.001),
            "l1": _number("Mean absolute difference of the pixels.", low=0, high=1),
            "outside_l1": _number("Of those outside the source's face; null without one.", low=0, high=1),
            "outside_psnr": _number("PSNR outside the source's face, dB; at most 99.", high=99),
        },
        reads=("evaluation.embedder", "framing.model"),
        chain=False,
    ),
    Stage(
        "edit_identity",
        Group.EDITING,
        "Whether edits still show the face of their source; no rows where nobody knows faces.",
        {
            **EDIT,
            "identity_distance": _number("Of both faces' descriptors; null where one has no face.", low=0),
            "same_person": _number(
                "1 below a distance of 0.6; 0 also without a face; null where the source has none.",
                low=0,
                high=1,
            ),
        },
        reads=("identity",),
        chain=False,
    ),
    Stage(
        "edit_realism",
        Group.EDITING,
        "How far every editor's edits as a whole lie from held-out photographs.",
        {
            "editor": _key("Name in the profile."),
            "kind": _key("The part of the protocol."),
            "strength": dy.Float64(primary_key=True, description="What the change was multiplied with."),
            "metric": _key("kid, or fid, by the embedder's features."),
            "value": _number("Its value."),
            "low": _number("Lower end of the interval over source pictures; null for FID."),
            "high": _number("Upper end."),
            "n": _count("Edits."),
            "real": _count("Photographs that they are compared with."),
            **MODEL,
        },
        reads=("evaluation.embedder",),
        chain=False,
    ),
    Stage(
        "edit_results",
        Group.EDITING,
        "Every measure of every editor with its 95 % interval over source pictures.",
        {
            "editor": _key("Name in the profile."),
            "judge": _key("Who measured: labeller, second, clip, identity, or pixels."),
            "kind": _key("The part of the protocol."),
            "strength": dy.Float64(primary_key=True, description="What the change was multiplied with."),
            "metric": _key("Which measure; editing.md defines them."),
            "value": _number("Its value."),
            "low": _number("Lower end of the interval."),
            "high": _number("Upper end."),
            "n": _count("Entries it is a mean of."),
        },
        reads=("judges",),
        chain=False,
    ),
    Stage(
        "openings",
        Group.HELD_OUT,
        "When the held-out prompts were opened; rows are only added.",
        {
            "protocol": _text("Hash of the samples that were opened."),
            "prompts": _count("How many prompts."),
            "experiments": dy.List(dy.String(nullable=True), description="Who was to be measured."),
            "author": _text("Who opened them."),
            "time": dy.Datetime(time_zone="UTC", time_unit="us", description="When."),
            "reason": _text("Why."),
        },
        chain=False,
        by_people=True,
    ),
    Stage(
        "held_out_comparisons",
        Group.HELD_OUT,
        "Each experiment beside its rival on the held-out prompts.",
        COMPARED,
        reads=("base", "evaluation", "experiments", "identity", "judges", "rivals"),
        chain=False,
    ),
    Stage(
        "comparisons",
        Group.RESULTS,
        "Each experiment beside its rival: which differences stand.",
        COMPARED,
        reads=("experiments", "judges", "rivals"),
        chain=False,
    ),
    Stage(
        "results",
        Group.RESULTS,
        "Every measure of every experiment with its 95 % interval.",
        {
            "experiment": _key("Name in the profile."),
            "judge": _key("Who measured: labeller, second, clip, or identity."),
            "kind": _key("The part of the protocol."),
            "metric": _key("Which measure; evaluation.md defines them."),
            "value": _number("Its value.", nan=True),
            "low": _number("Lower end of the interval.", nan=True),
            "high": _number("Upper end.", nan=True),
            "n": _count("Samples it is a mean of."),
        },
        reads=("au_estimator", "base", "corrections.recipe", "evaluation", "experiments", "judges", "paper"),
        chain=False,
    ),
)

FUNNEL: tuple[str, ...] = tuple(stage.name for stage in STAGES if stage.chain and stage.filters)
"""Stages that a sample goes through, each of which may drop it."""


def named(name: str) -> Stage:
    """The stage of that name. Raises KeyError."""
    for stage in STAGES:
        if stage.name == name:
            return stage
    raise KeyError(f"no stage {name!r}; there are {', '.join(stage.name for stage in STAGES)}")


_DERIVED: dict[tuple[str, str], tuple[tuple[str, str], ...]] = {
    ("au_corrections", "au{}_raw"): (("au_annotation", "au{}"),),
    ("au_corrections", "au{}"): (
        ("au_annotation", "au{}"),
        ("au_statistics", "minimum"),
        ("au_statistics", "maximum"),
    ),
    ("training_set", "au{}"): (
        ("au_corrections", "au{}"),
        ("raw_disfa", "label_au{}"),
        ("raw_rendered", "label_au{}"),
    ),
    ("captions", "caption"): (("raw_folder", "raw_caption"), ("raw_rendered", "raw_caption")),
    ("training_set", "caption"): (("captions", "caption"),),
    ("face_crop", "original_file"): (
        ("raw_affectnet", "file"),
        ("raw_disfa", "file"),
        ("raw_folder", "file"),
        ("raw_rendered", "file"),
    ),
    ("generated_samples", "guidance"): (("guidance_curve", "guidance"),),
}
"""Columns that are made of others of another name or meaning; "{}" is an AU's number."""


def column_sources(table: str, upstream: Iterable[str]) -> dict[str, list[tuple[str, str]]]:
    """Which columns of the tables `upstream` the columns of `table` (a stage, with its experiment) come from:
    those that are declared once for both stages, and those that `_DERIVED` names. What a stage finds out
    itself, its verdict among that, is not there.
    """
    own = named(table.partition("/")[0])
    tables = {name: named(name.partition("/")[0]) for name in upstream}
    found: dict[str, list[tuple[str, str]]] = {}
    for column, declared in {**own.columns, **own.optional}.items():
        if column not in JUDGED:
            same = [(name, column) for name, stage in tables.items() if stage.columns.get(column) is declared]
            if same:
                found[column] = same
    for (stage, pattern), sources in _DERIVED.items():
        for au in ACTION_UNITS if "{}" in pattern else ("",):
            there = [
                (name, column.format(au))
                for of, column in sources
                for name in tables
                if tables[name].name == of
            ]
            if stage == own.name and there:
                found[pattern.format(au)] = there
    return found
