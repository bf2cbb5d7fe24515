"""Text embeddings of the training captions: of a frozen encoder, so each is computed once if they fit."""

import torch
from accelerate import Accelerator
from accelerate.utils import gather

from inference.pipeline import FineFacePipeline

MEMORY = 2**30
_BLOCK = 64


class CaptionEmbeddings:
    """Embeddings of `captions`, kept where they need at most `memory` bytes, else made when asked for.

    The processes share the work of making them; blocks are the same whoever makes them, and so are the
    embeddings.
    """

    def __init__(
        self, pipe: FineFacePipeline, captions: list[str], accelerator: Accelerator, memory: int = MEMORY
    ):
        self._pipe, self._captions, self._accelerator = pipe, captions, accelerator
        sample = self._encode(captions[:1])
        self._kept = None
        if sample[0].numel() * sample.element_size() * len(captions) <= memory:
            self._kept = self._encode_all()

    def at(self, indices: torch.Tensor) -> torch.Tensor:
        """The embeddings [n, tokens, width] of the captions at `indices` [n], on the training device."""
        if self._kept is None:
            return self._encode([self._captions[index] for index in indices.tolist()])
        return self._kept[indices].to(self._accelerator.device, non_blocking=True)

    def _encode_all(self) -> torch.Tensor:
        blocks = [self._captions[start : start + _BLOCK] for start in range(0, len(self._captions), _BLOCK)]
        world, rank = self._accelerator.num_processes, self._accelerator.process_index
        blocks += [[""] * _BLOCK] * (-len(blocks) % world)  # an equal share each, for the exchange
        made = [gather(self._encode(_full(block))).cpu() for block in blocks[rank::world]]
        return torch.cat(made)[: len(self._captions)]

    @torch.no_grad()
    def _encode(self, captions: list[str]) -> torch.Tensor:
        with self._accelerator.autocast():
            return self._pipe.encode_prompt(captions, self._accelerator.device, 1, False)[0]


def _full(block: list[str]) -> list[str]:
    return block + [""] * (_BLOCK - len(block))
