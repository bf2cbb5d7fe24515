"""The cards of an export: README.md of the data set, and a page a trained model. The words stand in
templates."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import yaml

import facs
from exports import croissant, formats, licences
from exports import samples as exported
from exports.licences import Terms
from exports.samples import COLUMNS, IMAGE, Samples

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
"""Hugging Face's categories of size; what is larger has none here."""
READING = {
    "parquet": """\
```python
from datasets import load_dataset

faces = load_dataset("{folder}")  # features: pictures, captions, intensities
```""",
    "webdataset": """\
```python
from datasets import load_dataset

faces = load_dataset("{folder}", streaming=True)  # a picture and `json` a sample; also read by `webdataset`
```""",
    "fiftyone": """\
In an environment of its own (`pip install fiftyone`):

```python
import fiftyone as fo

words = ["sample_id", "source", "split", "caption", "subject", "annotator", "content_hash", "overruled"]
numbers = ["au1", "au2", "au4", "au5", "au6", "au9", "au12", "au15", "au17", "au20", "au25", "au26"]
fields = dict.fromkeys(words, str) | dict.fromkeys(numbers, float)
faces = fo.Dataset.from_dir("{folder}", dataset_type=fo.types.CSVDataset, fields=fields)
fo.launch_app(faces)
```""",
}
"""How each format is read, by its name; the folder is to be filled in."""
PATTERNS = {"parquet": "data/{}-*.parquet", "webdataset": "data/{}-*.tar"}


@dataclass(frozen=True)
class Model:
    """What a model card says of one experiment. `measured`: `label`, `individual` and `combination`, as
    text."""

    experiment: str
    method: str
    base: str
    folder: str
    model_hash: str
    samples: int
    steps: int
    loss: float
    data_set: int
    """The version of the training set that it was trained on."""
    settings: Mapping[str, Any]
    guidance: float | None
    judge: str
    measured: Sequence[Mapping[str, Any]]


def data_set(
    title: str,
    notice: str,
    form: str,
    folder: Path,
    samples: Samples,
    terms: Mapping[str, Terms],
    agreement: Sequence[str],
    blind_spots: Sequence[str],
    with_pictures: bool,
) -> str:
    """README.md of the export in `folder`: Hugging Face's front matter, and the card. `blind_spots`:
    sentences on what the labeller does not see."""
    every = list(dict.fromkeys(terms.values()))
    names = [IMAGE, *COLUMNS] if with_pictures else list(COLUMNS)
    return _template("data_set_card.md").render(
        front=_front(title, form, folder, samples, every),
        title=title,
        notice=_line(notice),
        description=croissant.described(samples, terms),
        version=samples.version,
        written=f"{samples.commit.written:%Y-%m-%d %H:%M} UTC",
        held=[one.name for one in every if not one.passed_on],
        how=READING[form].replace("{folder}", "this/folder"),
        columns=[(name, exported.described(name)) for name in names],
        counts=exported.counts(samples.frame),
        balance=exported.balance(samples.frame).to_dicts(),
        protocol=croissant.protocol(samples),
        agreement=agreement,
        commits=samples.commits,
        settings="\n".join(
            f"{one.stage}: {json.dumps(one.settings)}" for one in samples.commits if one.settings
        ),
        terms=every,
        sentences=[sentence for one in every for sentence in one.sentences] + _labellers(samples),
        limits=[*croissant.LIMITS, *croissant.biases(samples, every), *blind_spots],
        uses=croissant.USES,
        impact=croissant.IMPACT,
        citations=[croissant.CITE, *filter(None, (one.citation for one in every))],
    )


def model(
    title: str,
    notice: str,
    samples: Samples,
    terms: Iterable[Terms],
    blind_spots: Sequence[str],
    about: Model,
) -> str:
    """The card of one trained model."""
    held = list(dict.fromkeys(one.name for one in terms if not one.passed_on))
    front: dict[str, Any] = {
        "library_name": "diffusers",
        "base_model": about.base,
        "pipeline_tag": "text-to-image",
    }
    front |= {"license": "other", "tags": ["faces", "facial-action-units"]}
    return _template("model_card.md").render(
        front=yaml.safe_dump(front, sort_keys=False),
        title=title,
        notice=_line(notice),
        held=held,
        same=about.data_set == samples.commit.version,
        limits=[
            "The base's own licence and limits hold too.",
            "It was trained on labels with the limits of the data set's card (README.md).",
            *blind_spots,
            "A picture without a found face counts as one without expression in every error above.",
        ],
        impact=croissant.IMPACT,
        **{name: getattr(about, name) for name in ("experiment", "method", "base", "folder", "model_hash")},
        **{
            name: getattr(about, name)
            for name in ("samples", "steps", "loss", "data_set", "guidance", "judge")
        },
        settings=[(name, json.dumps(value)) for name, value in about.settings.items()],
        measured=about.measured,
    )


def _labellers(samples: Samples) -> list[str]:
    provider = samples.setting("training_set", "au_estimator.provider")
    return [licences.LABELLERS[provider]] if provider in licences.LABELLERS else []


def _front(title: str, form: str, folder: Path, samples: Samples, terms: Sequence[Terms]) -> str:
    """Hugging Face's front matter."""
    held = [one for one in terms if not one.passed_on]
    known = {one.licence for one in terms} == {licences.EMBEDDED.licence}
    front: dict[str, Any] = {"pretty_name": title, "license": "apache-2.0" if known else "other"}
    if held:
        front |= {"license_name": "not-to-be-passed-on", "license_link": held[0].url}
    front |= {
        "task_categories": ["text-to-image"],
        "language": ["en"],
        "tags": ["faces", "facial-action-units"],
    }
    rows = samples.frame.height
    front["size_categories"] = [next((name for most, name in SIZES if rows < most), "n>1M")]
    if form in PATTERNS:
        files = [{"split": split, "path": PATTERNS[form].format(split)} for split in samples.splits]
        front["configs"] = [{"config_name": "default", "data_files": files}]
    if suffix := formats.webdataset_suffix(folder):
        front["dataset_info"] = {"features": _webdataset_features(suffix)}
    return yaml.safe_dump(front, sort_keys=False)


def _webdataset_features(suffix: str) -> list[dict[str, Any]]:
    """The types of a sample's files. Readers would guess them from the first five, where one may be null."""
    said: list[dict[str, Any]] = [{"name": name, "dtype": "string"} for name in exported.TEXTS]
    said += [{"name": name, "dtype": "float32"} for name in facs.COLUMNS]
    said += [{"name": "overruled", "list": "int64"}]
    found: list[dict[str, Any]] = [{"name": suffix, "dtype": "image"}, {"name": "json", "struct": said}]
    return found + [{"name": name, "dtype": "string"} for name in ("__key__", "__url__")]


def _line(text: str) -> str:
    """`text`, which comes from a profile, in one line."""
    return " ".join(text.split())


def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=False,  # Markdown; what comes from data (captions, names) is in no card
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(name)
