"""What Dagster's own log says of samples: taken out of it where they are to be forgotten."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable
from pathlib import Path

_PICTURE = re.compile(r"data:image/(?:png|jpeg);base64,[A-Za-z0-9+/=]+")
_NOTHING = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA="
"""One transparent pixel, in the place of a contact sheet."""


def forget(home: Path, needles: Iterable[str]) -> list[str]:
    """Replace these texts in all of Dagster's databases and files below `home/dagster`, and take all pictures
    out of what runs have noted: a sample may be on any contact sheet. The files that were changed.

    A log that lies in another database is not reached.
    """
    texts = [text for needle in needles for text in dict.fromkeys((needle, json.dumps(needle)[1:-1]))]
    changed = []
    for path in sorted((home / "dagster").rglob("*")):
        if not path.is_file() or path.is_symlink():
            continue
        if path.suffix == ".db":
            done = _in_database(path, texts)
        else:
            content = path.read_bytes()
            clean = _clean(content.decode(errors="surrogateescape"), texts)
            done = clean.encode(errors="surrogateescape") != content
            if done:
                path.write_bytes(clean.encode(errors="surrogateescape"))
        if done:
            changed.append(path.relative_to(home).as_posix())
    return changed


def _in_database(path: Path, texts: list[str]) -> bool:
    changed = False
    with sqlite3.connect(path, timeout=30) as database:
        database.execute("PRAGMA secure_delete = ON")
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            columns = [row[1] for row in database.execute(f'PRAGMA table_info("{table}")')]
            for column in columns:
                rows = database.execute(
                    f'SELECT rowid, "{column}" FROM "{table}" WHERE typeof("{column}") = \'text\''
                ).fetchall()
                clean = [(fresh, row) for row, text in rows if (fresh := _clean(text, texts)) != text]
                if clean:
                    database.executemany(f'UPDATE "{table}" SET "{column}" = ? WHERE rowid = ?', clean)
                    changed = True
    if changed:
        database = sqlite3.connect(path, timeout=30, isolation_level=None)
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.execute("VACUUM")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.close()
    return changed


def _clean(text: str, texts: list[str]) -> str:
    text = _PICTURE.sub(_NOTHING, text) if "data:image/" in text else text
    for one in texts:
        text = text.replace(one, "forgotten")
    return text
