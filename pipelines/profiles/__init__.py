"""Reading profiles: the YAML files here or one's own. What they may say stands in `settings.profile`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

import methods  # noqa: F401  (their settings are declared)
from pipelines.profiles import experiments
from pipelines.profiles.merging import CHOICES, merge
from settings import nearest
from settings.base import UNKNOWN_KEY
from settings.profile import Profile
from store import file_system

FOLDER = Path(__file__).parent
PROJECT = FOLDER.resolve().parent.parent
"""The folder that holds the packages; `${project}` in a profile."""

EXPERIMENTS, SEEDS = "FINEFACE_EXPERIMENTS", "FINEFACE_SEEDS"
"""Environment variables: groups and names of experiments, with commas between, and how often each is trained,
instead of the profile's `groups` and `seeds`."""

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
File = tuple[Path, dict[str, Any]]


class ProfileError(ValueError):
    """A profile cannot be used; the message names the file and the key."""


def names() -> list[str]:
    """The profiles that come with the project."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml") if path != experiments.LIST)


def load(
    name: str,
    home: Path,
    unset: Callable[[str], str] | None = None,
) -> Profile:
    """The profile `name` (one of `names()`, or the path of a YAML file) with `${…}` expanded.

    `${home}` is `home` (of one in a bucket, what of it is this machine's), `${project}` the folder of the
    packages, `${profile}` the folder of the YAML file that says it, `${NAME}` the environment variable NAME,
    `${NAME:-text}` the same with a default. Raw folders may be addresses, s3://bucket/prefix. A profile
    with `extends` changes single keys of another; one that names another provider, method or kind starts that
    section afresh. Its experiments are those that `experiments.resolved` picks from what it and
    experiments.yaml describe; the variables EXPERIMENTS and SEEDS speak there. `unset` says, of a variable
    that is not set, what stands in its place, for a reader who does not need its value. Raises ProfileError,
    naming file and key, for an unknown profile, key, provider, experiment or variable, and for a value of the
    wrong type.
    """
    files = _files(name)
    merged: dict[str, Any] = {"experiments": experiments.listed()[1]}
    for path, content in reversed(files):
        merged = merge(merged, _expand(content, lambda key, match, p=path: _folder(match, p)))
    merged = _expand(merged, lambda key, match: _value(key, match, home, files, unset))
    if isinstance(raw := merged.get("raw"), dict):
        merged["raw"] = {name: _from_bucket(folder) for name, folder in raw.items()}
    if isinstance(merged["experiments"], dict):
        own = [name for _, content in reversed(files) for name in experiments.own(content)]
        picked = [one.strip() for one in os.environ.get(EXPERIMENTS, "").split(",") if one.strip()]
        seeds = int(os.environ.get(SEEDS) or 0)
        try:
            merged["experiments"] = experiments.resolved(merged, own, picked, seeds)
        except experiments.UnknownExperiment as error:
            raise ProfileError(str(error) if picked else f"{_origin(('groups',), files)}: {error}") from None
    files.append((experiments.LIST, {"experiments": experiments.listed()[1]}))
    try:
        return Profile(**{**merged, "name": name})
    except ValidationError as error:
        problems = [_explain(problem, merged, files) for problem in error.errors()]
        raise ProfileError("\n".join(problems)) from None


def _from_bucket(folder: Any) -> Any:
    return file_system.place(folder) if file_system.is_address(str(folder)) else folder


def _files(name: str) -> list[File]:
    """The profile's own file first, then those it extends."""
    files: list[File] = []
    wanted: str | None = name
    folder = Path.cwd()
    while wanted is not None:
        path = _find(wanted, folder)
        if any(path == seen for seen, _ in files):
            raise ProfileError(f"{path}: extends itself, through {' → '.join(str(p) for p, _ in files)}")
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            raise ProfileError(f"{path}: not valid YAML: {error}") from None
        if not isinstance(content, dict):
            raise ProfileError(f"{path}: a profile is a mapping of keys, this file is not")
        if "name" in content:
            raise ProfileError(f"{path}: unknown key 'name' (a profile is called what its file is called)")
        wanted = content.pop("extends", None)
        files.append((path, content))
        folder = path.parent
    return files


def _find(name: str, folder: Path) -> Path:
    inside = FOLDER / f"{name}.yaml"
    if inside.is_file():
        return inside
    path = Path(name).expanduser()
    path = path if path.is_absolute() else folder / path
    if path.is_file():
        return path.resolve()
    close = nearest.hint(name, names()) or f": neither a file nor one of {', '.join(names())}"
    raise ProfileError(f"no profile {name!r}{close}")


def _expand(value: Any, replace: Any, key: tuple[str, ...] = ()) -> Any:
    """`value` with `replace(key, match)` for every `${…}` in every text; None leaves it as it stands."""
    if isinstance(value, dict):
        return {name: _expand(part, replace, (*key, str(name))) for name, part in value.items()}
    if isinstance(value, list):
        return [_expand(part, replace, (*key, str(index))) for index, part in enumerate(value)]
    if not isinstance(value, str):
        return value
    return _VARIABLE.sub(lambda match: replace(key, match) or match.group(0), value)


def _folder(match: re.Match[str], path: Path) -> str | None:
    return str(path.parent) if match.group(1) == "profile" else None


def _value(
    key: tuple[str, ...],
    match: re.Match[str],
    home: Path,
    files: list[File],
    unset: Callable[[str], str] | None,
) -> str:
    variable, default = match.groups()
    own = {"home": str(file_system.own(home)), "project": str(PROJECT)}
    found = own.get(variable) or os.environ.get(variable) or default or (unset and unset(variable))
    if found is None:
        path = _origin(key, files)
        raise ProfileError(f"{path}: {'.'.join(key)}: the environment variable {variable} is not set")
    return found


def _explain(problem: Mapping[str, Any], merged: Mapping[str, Any], files: list[File]) -> str:
    """One line on a pydantic error: the file that says it, the key as written there, what is wrong."""
    key = _said_as(_without_tags(problem["loc"], merged), files)
    dotted, path = ".".join(key), _origin(key, files)
    if problem["type"] == UNKNOWN_KEY:
        return f"{path}: {problem['msg'].replace('unknown key', f'unknown key {dotted!r}', 1)}"
    if problem["type"] == "missing":
        return f"{path}: '{dotted}' is missing"
    choices = problem.get("ctx", {})
    expected = re.findall("'([^']+)'", str(choices.get("expected_tags") or choices.get("expected") or ""))
    said = str(choices.get("tag") or problem["input"])
    return f"{path}: {dotted}: {problem['msg']}{nearest.hint(said, expected)}"


def _without_tags(location: tuple[int | str, ...], content: Any) -> tuple[str, ...]:
    """`location` less the union tags that pydantic adds (`photorealism.blip2.model`)."""
    key: list[str] = []
    for part in location:
        if isinstance(content, dict) and part not in content and part in map(content.get, CHOICES):
            continue
        key.append(str(part))
        if isinstance(content, dict):
            content = content.get(part)
        elif isinstance(content, list) and isinstance(part, int) and part < len(content):
            content = content[part]
        else:
            content = None
    return tuple(key)


def _said_as(key: tuple[str, ...], files: list[File]) -> tuple[str, ...]:
    """Where a profile says what stands at `key`: a setting that an experiment has from `training`, there."""
    scale = ("training", *key[3:])
    if key[:1] != ("experiments",) or key[2:3] != ("train",) or len(key) < 4:
        return key
    here = max(_depth(key, content) for _, content in files)
    return scale if here < 4 and any(_depth(scale, content) > 1 for _, content in files) else key


def _origin(key: tuple[str, ...], files: list[File]) -> Path:
    """The file that says `key`, or else the most of it; the profile's own when none is better."""
    return max(files, key=lambda file: _depth(key, file[1]))[0]


def _depth(key: tuple[str, ...], content: Any) -> int:
    """How many parts of `key` `content` says."""
    for count, part in enumerate(key):
        if isinstance(content, dict) and part in content:
            content = content[part]
        elif isinstance(content, list) and part.isdigit() and int(part) < len(content):
            content = content[int(part)]
        else:
            return count
    return len(key)
