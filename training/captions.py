"""Text embeddings of the training captions: of a frozen encoder, so each is computed once if they fit."""

import torch
from accelerate import Accelerator
from accelerate.utils import gather

from inference import texts
from inference.pipeline import FineFacePipeline
from inference.texts import Texts

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
        one = sum(part.nbytes for part in self._encode(captions[:1]).parts())
        self._kept = self._encode_all() if one * len(captions) <= memory else None

    def at(self, indices: torch.Tensor) -> Texts:
        """The embeddings of the captions at `indices` [n], on the training device."""
        if self._kept is None:
            return self._encode([self._captions[index] for index in indices.tolist()])
        device = self._accelerator.device
        return Texts(*(part[indices].to(device, non_blocking=True) for part in self._kept.parts()))

    def added_conditions(self, said: Texts, latents: torch.Tensor) -> dict[str, torch.Tensor]:
        """What else the UNet is told beside those `said` of the `latents` [n, C, h, w]."""
        return texts.added_conditions(self._pipe, said, latents.shape[-2:])

    def _encode_all(self) -> Texts:
        blocks = [self._captions[start : start + _BLOCK] for start in range(0, len(self._captions), _BLOCK)]
        world, rank = self._accelerator.num_processes, self._accelerator.process_index
        blocks += [[""] * _BLOCK] * (-len(blocks) % world)  # an equal share each, for the exchange
        made = [self._encode(_full(block)).parts() for block in blocks[rank::world]]
        gathered = [torch.cat([gather(part).cpu() for part in parts]) for parts in zip(*made, strict=True)]
        return Texts(*(part[: len(self._captions)] for part in gathered))

    @torch.no_grad()
    def _encode(self, captions: list[str]) -> Texts:
        with self._accelerator.autocast():
            return texts.encode(self._pipe, captions, self._accelerator.device)


def _full(block: list[str]) -> list[str]:
    return block + [""] * (_BLOCK - len(block))
