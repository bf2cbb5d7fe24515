"""What each stage needs before it may begin. How the needs of models are looked at lives in
`inference.needs`, what comes of them in `pipelines.preflight`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from inference.needs import Need, disk, package
from settings.base import identity
from settings.experiment import LoopSettings, TrainSettings
from settings.profile import Profile, RayEngine, SidecarCaptions, VouchedPhotorealism
from store import Store, StoreError, file_system
from store.hashing import fingerprint

NOT_SET = "${"
"""How a path begins whose environment variable is not set; that is a need of its own."""
SAMPLES, PROMPTS = 1650, 15
"""Of the protocol (paper), for a forecast."""
BESIDE = 180 + 24 + 180
"""Pictures beside those of an experiment: the partners without AUs, those beyond the scale, the base's."""
TRIED = 2 * 60
"""Pictures that one guidance scale is tried with."""
PNG_PIXEL_BYTES = 1.5
"""Of a generated picture, generously."""


Asked = tuple[str, Mapping[str, Any]]
"""An ability, and the section of the profile that chooses who has it."""


def fingerprints(profile: Profile, stages: Collection[str]) -> dict[str, str]:
    """The fingerprint of each model that `stages` ask, by ability and provider, as its files are now. Raises
    what a provider raises whose files are not there."""
    from inference import abilities
    from inference.generation import base_content

    chosen = [asked for stage in stages if stage in ASKED for asked in ASKED[stage](profile)]
    found = {
        f"{name} {dict(section)}": abilities.build(name, section).fingerprint for name, section in chosen
    }
    if not {
        "latents",
        "class_images",
        "trained_model",
        "guidance_curve",
        "generated_samples",
        "held_out_comparisons",
    }.isdisjoint(stages):
        found["base"] = base_content(profile.base.model, profile.base.revision)
    return found


def _providers(stage: str) -> Needs:
    """What the providers that a stage asks need."""

    def needs(profile: Profile, store: Store, stages: Collection[str]) -> Iterator[Need]:
        from inference import abilities

        for ability, section in ASKED[stage](profile):
            yield from abilities.build(ability, section).needs()

    return needs


def engine(profile: Profile) -> Iterator[Need]:
    """What the engine needs that the profile chooses, whichever model it asks."""
    if isinstance(profile.engine, RayEngine):
        from inference import ray_engine

        yield from ray_engine.needs(profile.engine)


def _raw(source: str) -> Needs:
    def needs(profile: Profile, store: Store, stages: Collection[str]) -> Iterator[Need]:
        folder: Path | None = getattr(profile.raw, source)
        if folder is None or str(folder).startswith(NOT_SET):
            return
        what, how = f"raw.{source}: {folder}", f"docs/data.md shows its layout; `fineface inspect {folder}`"
        if file_system.is_elsewhere(folder):
            empty = "nothing lies there" * (not file_system.find(folder, "*"))
            yield Need(f"raw.{source}: {file_system.address(folder)}", empty, "docs/data.md shows its layout")
        elif folder.is_dir():
            yield Need(what, _unlike(source, folder), how)
        elif profile.raw_writer is not None and not folder.exists():
            yield Need(f"{what} (written by the run)")
        else:
            yield Need(what, "is a file" if folder.exists() else "does not exist", how)
        if source == "affectnet" and any(folder.glob("*.rar")):
            yield _unpacker(folder)
        if source == "disfa" and folder.is_dir():
            yield disk("DISFA's frames", store.home, _frames(folder, store.home))

    return needs


def _unpacker(folder: Path) -> Need:
    """A program for compressed archives; members that are only stored are read without."""
    from curation.sources import rar

    absent = not any(shutil.which(name) for name in ("unrar", "unar", "7z", "7zz"))
    problem = f"none is on the PATH, which a compressed one in {folder} needs" * absent
    return Need("a program that unpacks RAR archives", problem, f"install {rar.TOOLS}", blocks=False)


def _unlike(source: str, folder: Path) -> str:
    """Why the folder does not look like this source; nothing of it is read yet."""
    from curation import layouts
    from curation.frames import RawDataError

    try:
        layouts.recognise(folder)
    except RawDataError as error:
        return str(error)
    return ""


def _frames(folder: Path, home: Path) -> int:
    """Bytes that the frames of the videos will take that no run has decoded so far."""
    from curation.sources import disfa, video

    videos = [path for path in folder.glob("*/*") if path.suffix.lower() in disfa.VIDEO_SUFFIXES]
    done = len(file_system.find(home / "files" / "videos", "*"))
    return sum(video.forecast(path) for path in sorted(videos)[done:])


def _rendered(profile: Profile) -> Iterator[Asked]:
    if profile.rendered.pictures:
        yield "known_faces", {**profile.rendered.chosen, "side": profile.base.size}


def _framing(profile: Profile) -> Iterator[Asked]:
    from curation.sources import affectnet

    used = [name for name, folder in profile.raw if folder is not None]
    if profile.raw.affectnet is not None and not affectnet.crops(profile.raw.affectnet):
        used.remove("affectnet")  # its lists bring boxes of faces
    if any(getattr(profile.framing, name) == "face" for name in used):
        yield "faces", {"provider": "mediapipe", "model": profile.framing.model}


def _photorealism(profile: Profile) -> Iterator[Asked]:
    if not isinstance(profile.photorealism, VouchedPhotorealism):
        yield "answers", profile.photorealism.chosen


def _captions(profile: Profile) -> Iterator[Asked]:
    if not isinstance(profile.captions, SidecarCaptions):
        yield "captions", profile.captions.chosen


def _labels(profile: Profile) -> Iterator[Asked]:
    yield "action_units", profile.au_estimator.chosen


def _second_labels(profile: Profile) -> Iterator[Asked]:
    if profile.second_au_estimator is not None:
        yield "action_units", profile.second_au_estimator.chosen


def _readings(profile: Profile) -> Iterator[Asked]:
    if profile.reads_labelled_frames:
        yield from _labels(profile)


def _judge(profile: Profile) -> Iterator[Asked]:
    for judge in profile.judges.values():
        yield "action_units", judge.chosen


def _audited(profile: Profile) -> Iterator[Asked]:
    yield "known_faces", profile.audit.model_dump()
    yield from _judge(profile)


def _embedder(profile: Profile) -> Iterator[Asked]:
    yield "embeddings", profile.evaluation.embedder


def _judge_and_embedder(profile: Profile) -> Iterator[Asked]:
    yield from _judge(profile)
    yield from _embedder(profile)


def _identity(profile: Profile) -> Iterator[Asked]:
    if profile.identity is not None:
        yield "identity", profile.identity.chosen


def _witnesses(profile: Profile) -> Iterator[Asked]:
    yield from _judge_and_embedder(profile)
    yield from _identity(profile)


def _outlines_and_embedder(profile: Profile) -> Iterator[Asked]:
    yield "faces", {"provider": "mediapipe", "model": profile.framing.model}
    yield from _embedder(profile)


ASKED: dict[str, Callable[[Profile], Iterator[Asked]]] = {
    "raw_rendered": _rendered,
    "face_crop": _framing,
    "photorealism": _photorealism,
    "au_annotation": _labels,
    "disfa_readings": _readings,
    "annotator_agreement": _second_labels,
    "captions": _captions,
    "guidance_curve": _judge_and_embedder,
    "au_scores": _judge,
    "annotator_audit": _audited,
    "edit_scores": _judge,
    "edit_fidelity": _outlines_and_embedder,
    "edit_identity": _identity,
    "edit_realism": _embedder,
    "clip_scores": _embedder,
    "identity_scores": _identity,
    "held_out_comparisons": _witnesses,
    "realism_scores": _embedder,
}
"""Whom each stage asks besides the base."""


def _base(profile: Profile, store: Store, stages: Collection[str]) -> Iterator[Need]:
    from inference import needs

    base = profile.base
    yield from needs.base(base.model, base.revision, base.size, base.precision)


def _training(profile: Profile, store: Store, stages: Collection[str]) -> Iterator[Need]:
    """The base, what a training reports to, and latents that are this base's."""
    yield from _base(profile, store, stages)
    yield from _trackers(experiment.train for experiment in profile.experiments.values())
    if steps := _untrained(profile, store):
        yield Need(f"time for {_counted(steps)}{_pace(store, sum(steps))}")
    if "latents" in stages or store.version("latents") is None:
        return
    from inference.autoencoder import Autoencoder
    from inference.weights import ModelNotFound

    base = profile.base
    try:
        wanted = Autoencoder(base.model, base.revision, base.precision, base.batch_size).fingerprint
    except ModelNotFound:
        return  # said already
    found = store.read("latents", columns=["model", "fingerprint", "size"]).unique()
    others = found.filter((found["fingerprint"] != wanted) | (found["size"] != base.size))
    theirs = ", ".join(f"{model} at {size} px" for model, _, size in others.sort("model", "size").iter_rows())
    problem = f"they are of {theirs}, the profile's base is {base.model} at {base.size} px"
    yield Need("latents of this base", problem * bool(others.height), "fineface run --select latents+")


def _trackers(trainings: Iterable[TrainSettings]) -> Iterator[Need]:
    """What the trainings report to, beside what they print."""
    named = {tracker for one in trainings if isinstance(one, LoopSettings) for tracker in one.trackers}
    yield from (package(tracker, f"pip install {tracker}") for tracker in sorted(named))


def _renderings(profile: Profile, store: Store, stages: Collection[str]) -> Iterator[Need]:
    """What renders, and disk for the pictures that no run has rendered so far."""
    yield from _providers("raw_rendered")(profile, store, stages)
    if pictures := profile.rendered.pictures:
        known = (
            0
            if store.version("raw_rendered") is None
            else store.history("raw_rendered")[0]["metadata"]["rows"]
        )
        size = int(max(0, pictures - int(known)) * profile.base.size**2 * PNG_PIXEL_BYTES)
        yield disk("rendered pictures", store.home, size)


def _drawn_and_measured(stage: str) -> Needs:
    """What draws the samples of a stage of their own, and what measures them."""

    def needs(profile: Profile, store: Store, stages: Collection[str]) -> Iterator[Need]:
        yield from _base(profile, store, stages)
        yield from _providers(stage)(profile, store, stages)

    return needs


def _generated(profile: Profile, store: Store, stages: Collection[str]) -> Iterator[Need]:
    """Base, and disk for the pictures."""
    yield from _base(profile, store, stages)
    missing = [name for name in profile.experiments if f"generated_samples/{name}" not in store.stages()]
    if missing:
        pictures = sum(_pictures(profile, name) for name in missing)
        yield Need(f"time for about {pictures:,} pictures of {len(missing)} experiments")
        yield disk("generated pictures", store.home, int(pictures * profile.base.size**2 * PNG_PIXEL_BYTES))


def _untrained(profile: Profile, store: Store) -> list[int]:
    """The steps of each training that is not there; experiments that differ in sampling alone share one."""
    wanted = {}
    for name, experiment in profile.experiments.items():
        if isinstance(experiment.train, LoopSettings) and store.version(f"trained_model/{name}") is None:
            wanted[fingerprint(**identity(experiment.train))] = experiment.train.steps
    return list(wanted.values())


def _counted(steps: list[int]) -> str:
    each = f"{steps[0]:,}" if len(set(steps)) == 1 else f"{min(steps):,} to {max(steps):,}"
    return f"{len(steps)} training{'s' * (len(steps) > 1)} of {each} steps"


def _pace(store: Store, steps: int) -> str:
    """How long so many steps take, by the trainings that the home has; nothing where it has none to go by."""
    tables = [name for name in store.stages() if name.startswith("trained_model/")]
    with suppress(StoreError, OSError, ValueError, LookupError, ZeroDivisionError):
        folders = {folder for name in tables for folder in store.read(name)["folder"].drop_nulls()}
        files = [file_system.read(store.home / Path(folder).parent / "result.json") for folder in folders]
        results = [json.loads(file) for file in files]
        each = sum(one["seconds"] for one in results) / sum(one["steps"] for one in results)
        return f": {each * steps / 3600:,.1f} hours at the pace of those in this home"
    return ""


def _pictures(profile: Profile, name: str) -> int:
    """About how many an experiment's pictures are, those that its guidance is chosen by among them."""
    said, sample = profile.evaluation, profile.experiments[name].sample
    share = (said.prompts or PROMPTS) / PROMPTS
    tried = len(said.guidance_candidates) if sample.guidance is None else 1
    return round((SAMPLES + BESIDE) * share) + TRIED * tried


def _editors(profile: Profile, store: Store, stages: Collection[str]) -> Iterator[Need]:
    """Editors to be trained, and trained already those experiments by whose models some edit."""
    problem = "" if profile.editing.editors else "the profile names none"
    how = (
        "editing: {editors: {relative_msf: {method: relative_msf, size: 64}}} in a profile (docs/editing.md)"
    )
    yield Need("editors to be trained", problem, how)
    for editor, settings in profile.editing.editors.items():
        name = settings.adapter
        if name is None:
            continue
        there = store.version(f"trained_model/{name}") is not None
        problem = "" if there or "trained_model" in stages else "it was never trained"
        how = f"fineface run --select +trained_model --experiment {name}"
        if problem and name not in profile.experiments:
            problem = "the profile has no such experiment"
            how = f"editing: {{editors: {{{editor}: null}}}} in the profile leaves the editor out"
        yield Need(f"the experiment {name}, by whose model the editor {editor} edits", problem, how)
    yield from _trackers(profile.editing.editors.values())


def _held_out_pictures(profile: Profile, store: Store, stages: Collection[str]) -> Iterator[Need]:
    """Enough pictures to be edited, before hours of training: as far as is known of the training set."""
    from evaluation import edit_protocol

    problem = ""
    if not profile.split.test:
        problem = "split.test is 0: all are trained on, or watched"
    elif "training_set" not in stages and store.version("training_set") is not None:
        try:
            edit_protocol.sources(store.read("training_set"), profile.editing.pictures, profile.editing.seed)
        except ValueError as error:
            problem = str(error)
    how = "split: {test: 0.05} in the profile, then `fineface run --select training_set`"
    yield Need("held-out photographs to be edited", problem, how)


Needs = Callable[[Profile, Store, Collection[str]], Iterable[Need]]
"""Called with the profile, the home's store, and the stages that will run."""

STAGES: dict[str, Needs] = {
    **{stage: _providers(stage) for stage in ASKED},
    "raw_affectnet": _raw("affectnet"),
    "raw_disfa": _raw("disfa"),
    "raw_folder": _raw("folder"),
    "raw_rendered": _renderings,
    "latents": _base,
    "class_images": _base,
    "trained_model": _training,
    "guidance_curve": _drawn_and_measured("guidance_curve"),
    "held_out_comparisons": _drawn_and_measured("held_out_comparisons"),
    "generated_samples": _generated,
    "trained_editors": _editors,
    "edited_samples": _held_out_pictures,
}
"""The stages that need more than the tables they read."""
