"""Text files of raw data: regular, with a limit, decoded as their first bytes say, their lines counted."""

import codecs
from pathlib import Path

import picture_files

MAX_LIST_BYTES = 1 << 30
MAX_CAPTION_BYTES = 1 << 14
"""Of a caption beside a picture: models take some 77 tokens."""

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class NotText(ValueError):
    """A file whose content is no text of the size that is expected; says why, without the file's name."""


def encoding(content: bytes) -> str:
    """The encoding that the first bytes name; UTF-8 where they name none."""
    return next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8-sig")


def caption(path: Path) -> str:
    """The text beside a picture, whitespace made single blanks; odd bytes become U+FFFD.

    Raises NotText for what is too long or holds NUL characters, OSError for what is no readable file.
    """
    content = picture_files.read(path, MAX_LIST_BYTES)
    if len(content) > MAX_CAPTION_BYTES:
        raise NotText(f"{len(content):,} bytes, more than the {MAX_CAPTION_BYTES:,} of a caption")
    text = content.decode(encoding(content), errors="replace")
    if "\0" in text:
        raise NotText("NUL characters, no text")
    return " ".join(text.split())


def count_lines(content: bytes) -> int:
    """Of a block that begins and ends with whole lines; the last may lack its newline."""
    return content.count(b"\n") + (not content.endswith(b"\n"))
