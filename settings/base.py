"""What every settings class is: frozen, strict, and telling what decides a result from what does not.

A field decides the result unless it is marked OPERATIONAL (where, how fast, how visibly). `identity` gives
the deciding ones: the one declaration from which keys, checkpoints and docs/profiles.md are made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import InitErrorDetails, PydanticCustomError

from settings.nearest import hint

UNKNOWN_KEY = "unknown_key"


@dataclass(frozen=True)
class _Operational:
    """See OPERATIONAL."""


OPERATIONAL = _Operational()
"""Marks a field that changes no result: `processes: Annotated[int, OPERATIONAL] = Field(1, ge=0)`."""


@dataclass(frozen=True)
class _Later:
    """See LATER."""


LATER = _Later()
"""Marks a field that came when there were results already, with a default that asks for just those: at its
default it is no part of an identity, so they keep their keys."""


class Settings(BaseModel):
    """The base of all settings: unknown keys are refused with the nearest known one, numbers are finite."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False, validate_default=True
    )

    @model_validator(mode="wrap")
    @classmethod
    def _with_nearest_key(cls, data: Any, handler: ModelWrapValidatorHandler[Settings]) -> Settings:
        try:
            return handler(data)
        except ValidationError as error:
            problems = [_with_nearest(problem, cls.model_fields) for problem in error.errors()]
            raise ValidationError.from_exception_data(error.title, problems) from None


def operational(field: FieldInfo) -> bool:
    """Whether the field is marked as one that changes no result."""
    return OPERATIONAL in field.metadata


def identity(settings: BaseModel) -> dict[str, Any]:
    """The deciding fields of `settings` by name, those of settings inside it too; ready for JSON.

    Two settings with equal identities ask for the same result.
    """
    return {
        name: plain(value)
        for name, field in type(settings).model_fields.items()
        if not operational(field)
        and not ((value := getattr(settings, name)) == field.default and LATER in field.metadata)
    }


def plain(value: Any) -> Any:
    """`value` as JSON may hold it; of settings the deciding fields."""
    if isinstance(value, BaseModel):
        return identity(value)
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)


def _with_nearest(problem: Mapping[str, Any], known: Iterable[str]) -> InitErrorDetails:
    """A problem as pydantic takes it back; an unknown key of this class gets its nearest match."""
    kind, location = problem["type"], problem["loc"]
    message = problem["msg"].removeprefix("Value error, ")
    if kind == "extra_forbidden" and len(location) == 1:
        kind, message = UNKNOWN_KEY, f"unknown key{hint(str(location[0]), known)}"
    context = {name: said for name, said in problem.get("ctx", {}).items() if isinstance(said, str)}
    error = PydanticCustomError(kind, message, context or None)
    return InitErrorDetails(type=error, loc=location, input=problem["input"])
