"""relative_msf: the change of action units as the condition, multi-scale fusion in the generator (Ling et
al., "Toward Fine-grained Facial Expression Manipulation", ECCV 2020). Its authors mention a patent on it.
"""

from methods.registry import Method, register
from methods.relative_msf.settings import RelativeMSFTrain
from methods.wording import as_vectors
from settings.experiment import SampleSettings

register(
    Method(
        "relative_msf",
        RelativeMSFTrain,
        SampleSettings,
        as_vectors,
        model="methods.relative_msf.model:RelativeMSF",
        edits=True,
    )
)
