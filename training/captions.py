"""Text embeddings of the training captions: of a frozen encoder, so each is computed once."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import gather

from inference import texts
from inference.pipeline import FineFacePipeline
from inference.texts import Texts
from store import disk

MEMORY = 2**30
_BLOCK = 64


class CaptionEmbeddings:
    """Embeddings of `captions`: in memory where they need at most `memory` bytes, else in files of `folder`.

    They are kept in the precision of the training, which what reads them rounds them to anyway. The processes
    share the work of making them; blocks are the same whoever makes them, and so are the embeddings. The
    files have no name any more once every process has mapped them: whatever ends the training, its disk is
    free again. Raises DiskFull where they do not fit there.
    """

    def __init__(
        self,
        pipe: FineFacePipeline,
        captions: list[str],
        accelerator: Accelerator,
        folder: Path,
        memory: int = MEMORY,
    ):
        self._pipe, self._accelerator = pipe, accelerator
        self._precision = torch.bfloat16 if accelerator.mixed_precision == "bf16" else None
        size = sum(part.nbytes for part in self._encode(captions[:1])) * len(captions)
        made = self._made(captions)
        parts = _joined(made) if size <= memory else self._in_files(made, folder, size)
        self._kept = Texts(*(part[: len(captions)] for part in parts))

    def at(self, indices: torch.Tensor) -> Texts:
        """The embeddings of the captions at `indices` [n], in main memory."""
        return Texts(*(part[indices] for part in self._kept.parts()))

    def _made(self, captions: list[str]) -> Iterator[list[torch.Tensor]]:
        """The parts of some captions' embeddings after those of others, in every process."""
        blocks = [captions[start : start + _BLOCK] for start in range(0, len(captions), _BLOCK)]
        world, rank = self._accelerator.num_processes, self._accelerator.process_index
        blocks += [[""] * _BLOCK] * (-len(blocks) % world)  # an equal share each, for the exchange
        for block in blocks[rank::world]:
            yield [gather(part).cpu() for part in self._encode(_full(block))]

    @torch.no_grad()
    def _encode(self, captions: list[str]) -> list[torch.Tensor]:
        with self._accelerator.autocast():
            said = texts.encode(self._pipe, captions, self._accelerator.device)
        return [part.to(self._precision or part.dtype) for part in said.parts()]

    def _in_files(self, made: Iterable[list[torch.Tensor]], folder: Path, size: int) -> list[torch.Tensor]:
        """All that is `made`, written by the first process of each machine and mapped by its others; pages
        are read when touched. A machine maps its own files only: what another one unlinks is gone."""
        writes, kinds = self._accelerator.is_local_main_process, self._encode([""])
        machine = self._accelerator.process_index - self._accelerator.local_process_index
        paths = [folder / f"captions-{machine}-{number}" for number in range(len(kinds))]
        if writes:
            with disk.room(folder, size, "the embeddings of the captions"):
                _write(made, paths)
        else:
            for _ in made:  # its share of the work
                pass
        self._accelerator.wait_for_everyone()
        parts = [_mapped(path, kind) for path, kind in zip(paths, kinds, strict=True)]
        self._accelerator.wait_for_everyone()
        if writes:
            for path in paths:
                path.unlink()
        return parts


def _full(block: list[str]) -> list[str]:
    return block + [""] * (_BLOCK - len(block))


def _joined(made: Iterable[list[torch.Tensor]]) -> list[torch.Tensor]:
    return [torch.cat(parts) for parts in zip(*made, strict=True)]


def _write(made: Iterable[list[torch.Tensor]], paths: list[Path]) -> None:
    for path in paths:
        path.write_bytes(b"")
    for parts in made:
        for path, part in zip(paths, parts, strict=True):
            with path.open("ab") as file:
                file.write(part.contiguous().view(torch.uint8).numpy())


def _mapped(path: Path, kind: torch.Tensor) -> torch.Tensor:
    """The rows of a file, each of the shape and type of the first one of `kind`."""
    values = path.stat().st_size // kind.element_size()
    return torch.from_file(str(path), size=values, dtype=kind.dtype).view(-1, *kind.shape[1:])
