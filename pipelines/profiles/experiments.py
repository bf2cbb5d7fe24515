"""Which experiments a profile has: those that its groups name in experiments.yaml, and its own."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from pipelines.profiles.merging import merge
from settings import nearest
from settings.experiment import declared

LIST = Path(__file__).parent / "experiments.yaml"

Said = dict[str, Any]


class UnknownExperiment(ValueError):
    """A name that is neither a group nor an experiment; the message names what is close."""


def listed() -> tuple[dict[str, list[str]], dict[str, Said]]:
    """The groups and the experiments of experiments.yaml, as they are written there."""
    content = yaml.safe_load(LIST.read_text(encoding="utf-8"))
    return content["groups"], content["experiments"]


def own(content: Mapping[str, Any]) -> list[str]:
    """The experiments that the content of one file adds, which it names a method for: the others change one
    of the list.
    """
    said, known = content.get("experiments"), listed()[1]
    if not isinstance(said, dict):
        return []
    return [name for name, one in said.items() if _names_method(one) or name not in known]


def resolved(
    profile: Mapping[str, Any], more: Sequence[str], picked: Sequence[str] = (), seeds: int = 0
) -> dict[str, Said]:
    """The experiments that a profile has, of all that its content describes, in the order it names them in.

    Its `groups` pick them, and `more` are there beside these; or `picked` alone says which: groups, or single
    experiments. One that is null is none. Those that others are compared with come along. Of `training` each
    gets the settings that its method has, unless it says them itself. With `seeds` (or the profile's own) of
    n each is trained n times, the further ones as NAME.seed1 and so on. Raises UnknownExperiment.
    """
    groups, described = listed()[0], profile["experiments"]
    if picked:
        names = [name for one in picked for name in _named(one, groups, described)]
    else:
        names = [name for group in profile.get("groups") or () for name in _group(group, groups)]
        names += more
    competitor = (profile.get("evaluation") or {}).get("competitor")
    names = [name for name in names if described[name] is not None]
    scale = profile.get("training") or {}
    found = {name: _filled(described[name], scale) for name in _with_rivals(names, competitor, described)}
    return dict(_trainings(found, seeds or profile.get("seeds") or 1))


def _group(name: str, groups: Mapping[str, list[str]]) -> list[str]:
    if name not in groups:
        close = nearest.hint(str(name), groups)
        raise UnknownExperiment(f"no group of experiments {name!r}{close} (there are {', '.join(groups)})")
    return groups[name]


def _named(name: str, groups: Mapping[str, list[str]], known: Mapping[str, Any]) -> list[str]:
    if name in groups:
        return groups[name]
    if name in known:
        return [name]
    close = nearest.hint(name, [*groups, *known])
    there = f"(groups: {', '.join(groups)}; experiments: {', '.join(known)})"
    raise UnknownExperiment(f"no experiment or group {name!r}{close} {there}")


def _names_method(said: Any) -> bool:
    return "method" in _train(said)


def _train(said: Any) -> Mapping[str, Any]:
    """What an experiment says of its training; empty for what is no such thing, which is refused later."""
    train = said.get("train") if isinstance(said, dict) else None
    return train if isinstance(train, dict) else {}


def _with_rivals(names: Iterable[str], competitor: str | None, known: Mapping[str, Any]) -> Iterator[str]:
    """`names`, and those that they are compared with."""
    waiting, seen = list(names), set()
    while waiting:
        name = waiting.pop(0)
        if name in seen or known.get(name) is None:
            continue
        seen.add(name)
        yield name
        against = known[name].get("against") if isinstance(known[name], dict) else None
        waiting += [rival for rival in (against, competitor) if isinstance(rival, str)]


def _filled(said: Any, scale: Mapping[str, Any]) -> Any:
    """An experiment with the settings of `scale` that its method has and it does not say itself."""
    fields = _settings(said)
    mine = {name: value for name, value in scale.items() if name in fields}
    return said | {"train": merge(mine, _train(said))} if fields else said


def _trainings(experiments: Mapping[str, Any], seeds: int) -> Iterator[tuple[str, Any]]:
    """Each experiment as often as it is trained, with seeds one after another; a training is compared with
    its rival's of the same number."""
    seeded = {name for name, said in experiments.items() if "seed" in _settings(said)}
    for name, said in experiments.items():
        yield name, said
        if name in seeded:
            first = _train(said).get("seed", 0)
            for more in range(1, seeds):
                changed: Said = {"train": {**_train(said), "seed": first + more}}
                if said.get("against") in seeded:
                    changed["against"] = f"{said['against']}.seed{more}"
                yield f"{name}.seed{more}", said | changed


def _settings(said: Any) -> Collection[str]:
    """The names of what the method of an experiment can be told; none where there is no such method."""
    method = _train(said).get("method")
    return declared()[method][0].model_fields if method in declared() else ()
