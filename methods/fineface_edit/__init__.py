"""fineface_edit: the diffusion adapter of an experiment asked to edit: the picture is inverted, and what the
target's action units change on the way back is laid over it, within the face. Trains nothing of its own.
"""

from methods.fineface_edit.settings import FineFaceEditTrain
from methods.registry import Method, register
from methods.wording import as_vectors
from settings.experiment import SampleSettings

register(
    Method(
        "fineface_edit",
        FineFaceEditTrain,
        SampleSettings,
        as_vectors,
        edits=True,
        editor="methods.fineface_edit.editor:Inverting",
    )
)
