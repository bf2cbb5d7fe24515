"""fineface: AU encoder, decoupled cross-attention and LoRA (paper, section 3)."""

from methods.fineface.settings import FineFaceSample, FineFaceTrain
from methods.registry import Method, register
from methods.wording import as_vectors

register(
    Method("fineface", FineFaceTrain, FineFaceSample, as_vectors, model="methods.fineface.model:FineFace")
)
