"""A writer of RAR archives in parts, RAR5 and RAR3, members stored. No test lives here.

Just enough of both formats (RARLAB's technical note) for the tests of `curation`; there is no free packer.
"""

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

STEM = "Manually_Annotated"
NORMAL = 3
"""A compression method; bytes stay as they are, so only a tool that knows can "unpack" them."""


@dataclass(frozen=True)
class Link:
    """A symbolic link to `target`."""

    target: str


@dataclass(frozen=True)
class _Block:
    name: bytes
    size: int
    crc: int
    data: bytes
    before: bool
    after: bool
    link: str | None


def archive(
    folder: Path,
    members: Mapping[str | bytes, bytes | Link],
    part_bytes: int = 1 << 30,
    version: int = 5,
    method: int = 0,
    stem: str = STEM,
) -> list[Path]:
    """Write `members`, at most `part_bytes` of data a part; the parts' paths."""
    parts: list[list[_Block]] = [[]]
    room = part_bytes
    for name, content in members.items():
        raw = name if isinstance(name, bytes) else name.encode()
        if isinstance(content, Link):
            parts[-1].append(_Block(raw, 0, 0, b"", False, False, content.target))
            continue
        rest, before = content, False
        while True:
            if not room:
                parts.append([])
                room = part_bytes
            data, rest = rest[:room], rest[room:]
            room -= len(data)
            crc = zlib.crc32(data if rest else content)  # of a cut member's earlier blocks: the block's own
            parts[-1].append(_Block(raw, len(content), crc, data, before, bool(rest), None))
            before = True
            if not rest:
                break
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{stem}.part{number:02d}.rar" for number in range(1, len(parts) + 1)]
    write = {5: _rar5, 3: _rar3}[version]
    for number, (path, blocks) in enumerate(zip(paths, parts, strict=True)):
        path.write_bytes(write(blocks, number, number == len(parts) - 1, method))
    return paths


def _rar5(blocks: list[_Block], number: int, last: bool, method: int) -> bytes:
    volume = _vint(1) if number == 0 else _vint(3) + _vint(number)
    content = b"Rar!\x1a\x07\x01\x00" + _block5(1, 0, volume)
    for block in blocks:
        extra = b""
        if block.link is not None:
            target = block.link.encode()
            record = _vint(5) + _vint(1) + _vint(0) + _vint(len(target)) + target
            extra = _vint(len(record)) + record
        fields = _vint(4) + _vint(block.size) + _vint(0o100644) + struct.pack("<I", block.crc)
        fields += _vint(method << 7) + _vint(1) + _vint(len(block.name)) + block.name
        flags = 2 | 8 * block.before | 16 * block.after
        content += _block5(2, flags, fields, block.data, extra)
    return content + _block5(5, 0, _vint(int(not last)))


def _block5(kind: int, flags: int, fields: bytes, data: bytes = b"", extra: bytes = b"") -> bytes:
    sizes = (_vint(len(extra)) if extra else b"") + (_vint(len(data)) if flags & 2 else b"")
    header = _vint(kind) + _vint(flags | bool(extra)) + sizes + fields + extra
    header = _vint(len(header)) + header
    return struct.pack("<I", zlib.crc32(header)) + header + data


def _vint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _vint(rest) if rest else bytes([low])


def _rar3(blocks: list[_Block], number: int, last: bool, method: int) -> bytes:
    first = 0x100 if number == 0 else 0
    content = b"Rar!\x1a\x07\x00" + _block3(0x73, 0x11 | first, b"\0" * 6)
    for block in blocks:
        data = block.data if block.link is None else block.link.encode()
        size, crc = (block.size, block.crc) if block.link is None else (len(data), zlib.crc32(data))
        mode = 0o100644 if block.link is None else 0o120777
        fields = struct.pack(
            "<IIBIIBBHI", len(data), size, 3, crc, 0x4A210000, 29, 0x30 + method, len(block.name), mode
        )
        content += _block3(0x74, 0x8000 | block.before | 2 * block.after, fields + block.name) + data
    return content + _block3(0x7B, 0x4000 | int(not last), b"")


def _block3(kind: int, flags: int, fields: bytes) -> bytes:
    header = struct.pack("<BHH", kind, flags, 7 + len(fields)) + fields
    return struct.pack("<H", zlib.crc32(header) & 0xFFFF) + header
