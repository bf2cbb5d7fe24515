"""unedited: the picture as it is, whatever is asked. What every editor has to be better than."""

from typing import Literal

from pydantic import Field

from methods.editing.settings import EditSettings
from methods.registry import Method, register
from methods.wording import as_vectors
from settings.experiment import SampleSettings


class UneditedTrain(EditSettings):
    """The picture as it is: the error of doing nothing, and the identity of it."""

    method: Literal["unedited"] = Field("unedited", description="The picture as it is; nothing is trained.")


register(
    Method(
        "unedited",
        UneditedTrain,
        SampleSettings,
        as_vectors,
        edits=True,
        editor="methods.editing.editor:Unchanging",
    )
)
