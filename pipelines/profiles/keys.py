"""The part of docs/profiles.md that lists every key, made from the settings classes."""

from __future__ import annotations

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from inference.au_encoders import ENCODERS
from settings.base import Settings, operational
from settings.experiment import Experiment, declared, edits
from settings.profile import Editing, Profile

MARK = "## Every key\n"
PREFACE = """
Made from the settings classes by `python -m pipelines.documentation`. A key decides the result unless the
third column says *operational*: it then says where, how fast or how visibly, and changing it neither asks a
model again nor begins a training anew.
"""
TABLE = ["| key | value | | says |", "|---|---|---|---|"]
CHOICES = ("provider", "kind")
"""What tells the alternatives of a section apart."""
_SIGNS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def page(path: Path) -> str:
    """docs/profiles.md: what stands in the file at `path` up to the list of keys, and the list."""
    written, _, _ = path.read_text(encoding="utf-8").partition(MARK)
    top = [*TABLE, *(line for name, field in _own(Profile) for line in _row(name, field))]
    return "\n".join([written + MARK + PREFACE, *top, *_sections(), ""])


def _own(model: type[Settings]) -> Iterator[tuple[str, FieldInfo]]:
    """The fields of a model that are no sections; what it was asked for by is no key."""
    for name, field in model.model_fields.items():
        if not _models(field.annotation) and (model, name) != (Profile, "name"):
            yield name, field


def _sections() -> Iterator[str]:
    for name, field in Profile.model_fields.items():
        models = _models(field.annotation)
        if name in ("experiments", "editing") or not models:
            continue
        yield from ("", f"### `{name}`", "", field.description or _says(models[0]))
        for model in models:
            if len(models) > 1:
                choice = next(name for name in CHOICES if name in model.model_fields)
                (chosen,) = get_args(model.model_fields[choice].annotation)
                yield from ("", f"`{choice}: {chosen}`: {_says(model)}")
            yield from ("", *TABLE, *_rows(model, marked=operational(field)))
    yield from ("", "### `experiments`", "", _says(Experiment), "")
    yield "Each has a name and is a partition: `NAME: {train: …, sample: …}`."
    yield from ("", *TABLE)
    for name in ("against", "paper"):
        yield from _row(name, Experiment.model_fields[name])
    drawing = {name: both for name, both in declared().items() if not edits(name)}
    for method, (train, sample) in drawing.items():
        yield from ("", f"#### `train: {{method: {method}}}`", "", _says(train), "", *TABLE, *_rows(train))
        yield from ("", f"Its `sample`: {_says(sample)}", "", *TABLE, *_rows(sample))
    yield from ("", "#### AU encoders", "")
    yield from ("| `encoder` | tokens | narrowest cross-attention |", "|---|---|---|")
    for encoder in ENCODERS.values():
        yield f"| `{encoder.name}` | {encoder.tokens} | {encoder.least_width} |"
    yield from _editing()


def _editing() -> Iterator[str]:
    yield from ("", "### `editing`", "", _says(Editing), "", *TABLE)
    for name, field in _own(Editing):
        yield from _row(name, field)
    yield from ("", "`editors: {NAME: {method: …}}`:")
    for method, (train, _) in declared().items():
        if edits(method):
            yield from ("", f"#### `{{method: {method}}}`", "", _says(train), "", *TABLE, *_rows(train))


def _rows(model: type[Settings], above: str = "", marked: bool = False) -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner = _models(field.annotation)
        if inner:
            yield from _rows(inner[0], f"{above}{name}.", marked or operational(field))
        else:
            yield from _row(f"{above}{name}", field, marked)


def _row(key: str, field: FieldInfo, marked: bool = False) -> Iterator[str]:
    mark = "*operational*" if marked or operational(field) else ""
    yield f"| `{key}` | {_value(field)} | {mark} | {_cell(field.description or '')} |"


def _value(field: FieldInfo) -> str:
    """Choices or kind, range and default."""
    marks = ((mark, name) for mark in field.metadata for name in _SIGNS if hasattr(mark, name))
    limits = [f"{_SIGNS[name]} {getattr(mark, name)}" for mark, name in marks]
    parts = [" ".join([_kind(field.annotation), *limits])]
    default = field.default_factory() if field.default_factory else field.default  # type: ignore[call-arg]
    if default is not PydanticUndefined and _kind(field.annotation) != str(default):
        parts.append("default null" if default is None else f"default {_shown(default)}")
    elif default is PydanticUndefined:
        parts.append("**required**")
    return _cell("; ".join(parts))


def _kind(annotation: Any) -> str:
    annotation = _plain(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(map(_shown, arguments))
    if origin in (Union, types.UnionType):
        return " or ".join(_kind(one) for one in arguments if one is not type(None))
    if origin is dict:
        return f"mapping of {_kind(arguments[0])} to {_kind(arguments[1])}"
    if origin in (list, tuple):
        return f"list of {_kind(arguments[0])}"
    if annotation is type(None):
        return "null"
    names = {int: "whole number", float: "number", bool: "true, false", str: "text", Path: "folder"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_shown(part)}" for key, part in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_shown, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value) or '""'


def _plain(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _models(annotation: Any) -> list[type[Settings]]:
    """The settings classes that an annotation allows."""
    annotation = _plain(annotation)
    if isinstance(annotation, type):
        return [annotation] if issubclass(annotation, Settings) else []
    return [model for one in get_args(annotation) for model in _models(one)]


def _says(model: type[Settings]) -> str:
    return " ".join((model.__doc__ or "").split())


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
