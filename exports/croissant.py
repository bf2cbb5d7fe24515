"""Croissant 1.1 of an export: its files, its columns, where they came from, and what a user has to know.

The sentences of Responsible AI stand here, for machines; the cards say the same to people.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import facs
from exports import samples as exported
from exports.licences import Terms
from exports.samples import EXACT, IMAGE, MANUAL, Commit, Samples

FILE = "croissant.json"
CONFORMS_TO = ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"]
PAPER = "https://arxiv.org/abs/2407.20175"
CITE = (
    "@article{varanka2024towards, title={Towards Localized Fine-Grained Control for Facial Expression "
    "Generation}, author={Varanka, Tuomas and others}, journal={arXiv preprint arXiv:2407.20175}, "
    "year={2024}}"
)
LIMITS = (
    "Intensities of photographs are a model's readings, corrected by rule, and no FACS coding by people.",
    "A corrected intensity depends on the smallest and largest reading of the whole data set, so a sample's "
    "label may differ in another version.",
    "Twelve action units of the upper and lower face are labelled; left and right are not told apart.",
    "Captions are a model's, and may be wrong about age, gender or origin of the people shown.",
)
LABELLER_BIAS = (
    "Whatever the labeller reads badly, for a group of people or an action unit, is read badly here."
)
IMPACT = (
    "Action units describe movements, not feelings. Labels of this kind must not be used to infer what a "
    "person feels, thinks or intends, nor to identify or profile anybody."
)
USES = (
    "Training and measuring models that draw faces with chosen action units.",
    "Studying estimators of action units and the corrections of their readings.",
)
CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "prov": "http://www.w3.org/ns/prov#",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""That of the specification (its appendix), with PROV-O and RAI."""
MEDIA = {"parquet": "application/x-parquet", "tar": "application/x-tar", "csv": "text/csv"}


def metadata(
    title: str,
    folder: Path,
    samples: Samples,
    terms: Mapping[str, Terms],
    agreement: Sequence[str],
    with_pictures: bool,
) -> dict[str, Any]:
    """The description of the export that lies in `folder`; `terms` by source, `agreement`: sentences on how
    far annotators agree."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lstrip(".") in MEDIA)
    every = list(dict.fromkeys(terms.values()))
    return {
        "@context": dict(CONTEXT),
        "@type": "sc:Dataset",
        "name": title,
        "description": described(samples, terms),
        "conformsTo": CONFORMS_TO,
        "citeAs": " ".join(filter(None, [CITE, *(one.citation for one in every)])),
        "license": list(dict.fromkeys(one.licence for one in every)),
        "url": PAPER,
        "creator": {"@type": "sc:Organization", "name": "made with the FineFace Pipeline"},
        "datePublished": samples.commit.written.date().isoformat(),
        "version": samples.version,
        "keywords": ["faces", "facial action units", "FACS", "text-to-image"],
        "isLiveDataset": False,
        "usageInfo": [sentence for one in every if not one.passed_on for sentence in one.sentences],
        "distribution": _distribution(folder, files),
        "recordSet": [_splits(), _records(samples, files, with_pictures)],
        "prov:wasDerivedFrom": [
            {"@type": "prov:Entity", "prov:label": one.name, **({"@id": one.url} if one.url else {})}
            for one in every
        ],
        "prov:wasGeneratedBy": [_activity(commit) for commit in samples.commits],
        **_responsible(samples, every, agreement),
    }


def described(samples: Samples, terms: Mapping[str, Terms]) -> str:
    """One sentence on what the data set is."""
    names = " and ".join(dict.fromkeys(one.name for one in terms.values()))
    return (
        f"{samples.frame.height:,} pictures of faces from {names}, each with a caption and the intensities "
        f"(0-5) of twelve facial action units: AU{', AU'.join(map(str, facs.ACTION_UNITS))}."
    )


def annotators(samples: Samples) -> list[str]:
    """The models that labelled."""
    return sorted(set(samples.frame["annotator"].drop_nulls()) - {MANUAL, EXACT})


def protocol(samples: Samples) -> list[str]:
    """How the labels came about, in sentences."""
    recipe = samples.setting("au_corrections", "corrections.recipe")
    name = recipe.get("name") if isinstance(recipe, dict) else recipe
    found = []
    if models := annotators(samples):
        found.append(f"Photographs were read by {', '.join(models)}, the readings corrected by “{name}”.")
    if samples.frame.filter(annotator=MANUAL).height:
        found.append("DISFA's frames carry the manual intensities of its FACS coders, uncorrected.")
    if samples.frame.filter(annotator=EXACT).height:
        found.append("Rendered faces carry the intensities that they were rendered with.")
    if overruled := samples.frame["overruled"].drop_nulls().len():
        found.append(f"Of {overruled:,} samples a person overruled intensities; `overruled` names them.")
    return found


def biases(samples: Samples, terms: Sequence[Terms]) -> list[str]:
    """In which ways these samples are no fair picture of people."""
    return [*(bias for one in terms for bias in one.biases), *([LABELLER_BIAS] * bool(annotators(samples)))]


def _distribution(folder: Path, files: Sequence[Path]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for path in files:
        name = path.relative_to(folder).as_posix()
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        found.append(
            {
                "@type": "cr:FileObject",
                "@id": name,
                "name": name,
                "contentUrl": name,
                "contentSize": f"{path.stat().st_size} B",
                "encodingFormat": MEDIA[path.suffix.lstrip(".")],
                "sha256": digest,
            }
        )
    match _kind(files):
        case ".parquet":
            found.append(_set("samples", MEDIA["parquet"], "data/*.parquet"))
        case ".tar":
            inside = {"containedIn": [{"@id": one["@id"]} for one in found]}
            found += [_set("labels", "application/json", "*.json") | inside]
            found += [_set("pictures", "image/*", "*.*g") | inside]
        case _:
            found.append(_set("pictures", "image/*", "data/*/*"))
    return found


def _kind(files: Iterable[Path]) -> str:
    return next(path.suffix for path in files)


def _set(name: str, media: str, includes: str) -> dict[str, Any]:
    return {"@type": "cr:FileSet", "@id": name, "name": name, "encodingFormat": media, "includes": includes}


def _splits() -> dict[str, Any]:
    urls = {"train": "cr:TrainingSplit", "validation": "cr:ValidationSplit", "test": "cr:TestSplit"}
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": [
            {"@type": "cr:Field", "@id": "splits/name", "name": "name", "dataType": "sc:Text"},
            {"@type": "cr:Field", "@id": "splits/url", "name": "url", "dataType": ["sc:URL", "cr:Split"]},
        ],
        "data": [{"splits/name": name, "splits/url": url} for name, url in urls.items()],
    }


def _records(samples: Samples, files: Sequence[Path], with_pictures: bool) -> dict[str, Any]:
    kind = _kind(files)
    names = [*exported.COLUMNS, *([IMAGE] if with_pictures and kind == ".parquet" else [])]
    return {
        "@type": "cr:RecordSet",
        "@id": "default",
        "name": "default",
        "description": "A sample a record.",
        "key": {"@id": "default/sample_id"},
        "field": [_field(name, kind, samples) for name in names],
    }


def _field(name: str, kind: str, samples: Samples) -> dict[str, Any]:
    source: dict[str, Any] = {"fileObject": {"@id": "labels.csv"}}
    if kind != ".csv":
        source = {"fileSet": {"@id": "samples" if kind == ".parquet" else "labels"}}
    source["extract"] = {"jsonPath": f"$.{name}"} if kind == ".tar" else {"column": name}
    if name == IMAGE:
        source["transform"] = {"jsonPath": "bytes"}
    found: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"default/{name}",
        "name": name,
        "description": exported.described(name),
        "dataType": _types(name, kind),
        "source": source,
    }
    if name == "overruled" and kind != ".csv":
        found |= {"isArray": True, "arrayShape": "-1"}
    if name in facs.COLUMNS:
        coders = ["FACS coders"] * bool(samples.frame.filter(annotator=MANUAL).height)
        found["prov:wasAttributedTo"] = [_agent(one) for one in [*annotators(samples), *coders]]
    if name == "caption" and (said := samples.setting("captions", "captions")):
        found["prov:wasAttributedTo"] = _agent(str(said.get("model") or said.get("provider")))
    return found


def _types(name: str, kind: str) -> str | list[str]:
    if name in facs.COLUMNS:
        return ["sc:Float", "cr:Label"]
    if name == "overruled":
        return "sc:Text" if kind == ".csv" else "sc:Integer"
    return "sc:ImageObject" if name == IMAGE else "sc:Text"


def _agent(name: str) -> dict[str, Any]:
    return {"@type": "prov:Agent", "prov:label": name}


def _activity(commit: Commit) -> dict[str, Any]:
    """A stage's run, by which a table that the data set rests on was written."""
    return {
        "@type": "prov:Activity",
        "@id": f"urn:fineface:{commit.stage}:{commit.version}",
        "prov:label": f"{commit.stage}, version {commit.version}, run {commit.run_id}",
        "prov:endedAtTime": commit.written.isoformat(),
        "prov:wasAssociatedWith": {
            "@type": "prov:SoftwareAgent",
            "prov:label": f"FineFace Pipeline, code {commit.code_version}",
        },
    }


def _responsible(samples: Samples, terms: Sequence[Terms], agreement: Sequence[str]) -> dict[str, Any]:
    """The fields of Croissant RAI 1.0."""
    size = (samples.setting("resolution", "resolution") or {}).get("min_side", "the limit")
    asked = samples.setting("photorealism", "photorealism") or {}
    judge = asked.get("model") or asked.get("by") or asked.get("provider")
    sources = "; ".join(f"{one.name} ({one.licence})" for one in terms)
    return {
        "rai:dataCollection": f"Taken over from {sources}.",
        "rai:dataCollectionType": ["Secondary Data analysis"],
        "rai:dataCollectionMissingData": "An action unit that the labeller does not read is null, never 0. "
        "Samples without a face, a caption or a readable picture were left out.",
        "rai:dataCollectionRawData": "The sources' pictures; a sample_id names the source and place.",
        "rai:dataPreprocessingProtocol": [
            f"Photographs with a side below {size} pixels were left out.",
            f"Pictures that are no photographs were left out; who decides: {judge}.",
            "The part of each picture that its labels describe was cut out.",
            "Near duplicates stand in one split only.",
        ],
        "rai:dataAnnotationProtocol": protocol(samples),
        "rai:dataAnnotationAnalysis": list(agreement),
        "rai:annotationsPerItem": "1",
        "rai:machineAnnotationTools": annotators(samples),
        "rai:dataBiases": biases(samples, terms),
        "rai:dataLimitations": list(LIMITS),
        "rai:dataSocialImpact": IMPACT,
        "rai:dataUseCases": list(USES),
        "rai:personalSensitiveInformation": [sentence for one in terms for sentence in one.sentences],
        "rai:dataReleaseMaintenancePlan": "Made anew by `fineface export`; other labels are another version."
        if all(one.passed_on for one in terms)
        else "Not for release: it stays with whoever holds the licences.",
    }
