"""The data sets in a raw folder: recognised by layout, and read for an inventory, which decodes no video.

Raw formats live in `curation.sources`, counting in `curation.inventory`.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import polars as pl

from curation import probing
from curation.frames import RawDataError
from curation.sources import affectnet, affectnet_lists, disfa, disfa_labels, folder, listing, video
from store.hashing import fingerprint

_PARTS = "Manually_Annotated*.rar"


def recognise(top: Path) -> list[tuple[str, Path]]:
    """The data sets in `top`, or else in the folders directly in it, as (key of READERS, folder).

    Where a data set is found, folders of pictures beside it count too. Raises RawDataError if there is none.
    """
    if not top.is_dir():
        raise RawDataError(f"no folder {top}")
    if here := _data_sets(top):
        return here
    below = sorted(path for path in top.iterdir() if path.is_dir() and not path.name.startswith("."))
    found = {place: _data_sets(place) for place in below}
    if any(found.values()):
        return [
            each
            for place in below
            for each in found[place] or ([("folder", place)] if _has_pictures(place) else [])
        ]
    if _has_pictures(top):
        return [("folder", top)]
    raise RawDataError(
        f"nothing recognised in {top}: expected AffectNet 2017 ({affectnet.PICTURES}/ and "
        f"{affectnet_lists.FOLDERS[0]}/), DISFA ({disfa_labels.FOLDER}/SN001/SN001_au1.txt and "
        "Video_LeftCamera/ or SN001/00000.jpg), or pictures "
        f"({', '.join(sorted(probing.SUFFIXES))}), here or in a folder directly in it"
    )


def _data_sets(place: Path) -> list[tuple[str, Path]]:
    signs = {
        "affectnet": (
            *affectnet_lists.FOLDERS,
            *affectnet_lists.NAMES,
            affectnet.PICTURES,
            _PARTS,
            "train_set",
            "val_set",
        ),
        "disfa": (disfa_labels.FOLDER, "Video_*Camera", "SN*_au*.txt"),
    }
    return [
        (layout, place)
        for layout, patterns in signs.items()
        if any(True for pattern in patterns for _ in place.glob(pattern))
    ]


def _has_pictures(place: Path) -> bool:
    return any(Path(name).suffix.lower() in probing.SUFFIXES for name in listing.files(place))


def _read_affectnet(place, rules, hash_files, memo, note) -> pl.DataFrame:
    return affectnet.read(place, hash_files, memo, min_side=rules.min_side, landmarks=False, say=note)


def _read_folder(place, rules, hash_files, memo, note) -> pl.DataFrame:
    return folder.read(place, hash_files, memo)


def _read_disfa(place, rules, hash_files, memo, note) -> pl.DataFrame:
    """DISFA with the frames that the videos' headers promise: the reader finds them in its index."""
    with TemporaryDirectory() as index:

        def hashes(paths: Sequence[Path | str]) -> list[str | None]:
            if any(Path(path).suffix.lower() not in disfa.VIDEO_SUFFIXES for path in paths):
                return hash_files(paths)
            return [_promised(Path(path), Path(index)) for path in paths]

        return disfa.read(
            place,
            _Undecoded(),
            hashes,
            index,
            cameras=rules.cameras,
            exclude_faulty=rules.exclude_faulty,
            memo=memo,
            first_frame=rules.first_frame,
            first_label=rules.first_label,
            note=note,
        )


def _promised(path: Path, index: Path) -> str:
    """A name for a video in place of its content hash, under which `index` holds what its header says."""
    name, found = fingerprint(video=str(path)), video.Video()
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            found = video.Video(stream.width, stream.height, stream.frames)
            found.names = {number: f"{name[:24]}{number:08x}.png" for number in range(stream.frames)}
    except (av.FFmpegError, IndexError):
        found.problem = "cannot be opened"
    if not found.names:
        found.problem = found.problem or "does not say how many frames it has"
    (index / f"{name}-{video.DECODER_VERSION}.json").write_text(json.dumps(asdict(found)))
    return name


class _Undecoded:
    """Stands for a store in which every frame of every video lies."""

    def put(self, content: bytes, suffix: str) -> str:
        raise NotImplementedError("an inventory decodes no video")

    def lost(self, names: Iterable[str]) -> list[str]:
        return []

    def path(self, name: str) -> Path:
        return Path(name)


def called(layout: str, place: Path, table: pl.DataFrame | None = None) -> str:
    """The name of a layout, with what makes it one of several."""
    if layout == "affectnet":
        if (place / "train_set").is_dir() or (place / "val_set").is_dir():
            return "AffectNet-7/8 or AffectNet+, crops"
        packed = any(place.glob(_PARTS)) and not (place / affectnet.PICTURES).is_dir()
        return f"AffectNet 2017, {'RAR parts' if packed else 'unpacked'}"
    if layout == "disfa":
        origins = pl.Series(dtype=pl.String) if table is None else table.filter("keep")["origin"]
        films, stills = (
            bool(origins.str.contains(sign, literal=True).any()) for sign in ("#", "(files counted from")
        )
        return "DISFA" + ", videos" * films + ", extracted frames" * stills
    return "folder of pictures"


READERS: dict[str, Callable[..., pl.DataFrame]] = {
    "affectnet": _read_affectnet,
    "disfa": _read_disfa,
    "folder": _read_folder,
}
"""What reads a layout: given the folder, an inventory's rules, `hash_files`, `memo` and who is told notes."""
