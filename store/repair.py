"""What of a damaged home can be mended: what can be made again is set aside, so that the next run makes it.

Nothing is deleted but files whose bytes do not match their name; nothing outside of the home is touched.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from store import file_system
from store.delta import DataFile
from store.errors import StoreError
from store.files import Files, is_name
from store.store import Store
from store.trained import intact

DAMAGED = "damaged"
DATA_FILES = "data_files"
"""Where in it the data files of tables lie that themselves stayed."""


def repair(store: Store) -> list[str]:
    """Mend `store`; a sentence for each thing that was done. Run again afterwards: it makes what is missing.

    Rows that were appended (answers in memos, what people wrote) lie in many data files: the damaged ones go
    to `damaged/` in the home, the rows of the others stay. Tables that were written whole, trained models and
    what cannot be read at all go there whole, with all versions. Stored files that no longer match their name
    are removed.
    """
    aside = store.home / DAMAGED / f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
    done: list[str] = []

    def attempt(folder: Path, mend: Callable[[], list[str]]) -> None:
        try:
            done.extend(mend())
        except (StoreError, ValueError, OSError) as error:
            target = aside / folder.relative_to(store.home)
            file_system.move(folder, target)
            done.append(f"{folder.relative_to(store.home)} was set aside in {target}: {error}")

    for folder in _folders(store.home / "memo", "_delta_log") + _folders(store.home / "cache", "_delta_log"):
        name = folder.name
        memo = store.memo(name) if folder.parent.name == "memo" else store.cache(name)

        def forget(memo=memo, folder=folder) -> list[str]:
            place = aside / DATA_FILES / folder.relative_to(store.home)
            lost = memo.repair(place)
            memo.read()
            return [f"memo {memo.name}: {_rows(file)} forgotten{_where(file, place)}" for file in lost]

        attempt(folder, forget)
    for stage in store.stages():

        def check(stage=stage) -> list[str]:
            place = aside / DATA_FILES / "tables" / stage
            lost = store.repair(stage, place)
            store.read(stage)
            return [
                f"table {stage}: {_rows(file)} LOST, nothing makes them again{_where(file, place)}"
                for file in lost
            ]

        attempt(store.home / "tables" / stage, check)
    for kind in file_system.find(store.home / "files", "*"):
        done += _unsound(store.files(kind.name), kind)
    for folder in _folders(store.home / "files" / "adapters", "output"):

        def whole(folder=folder) -> list[str]:
            intact(folder)
            return []

        attempt(folder, whole)
    return done


def _rows(file: DataFile) -> str:
    return f"{'the' if file.rows is None else file.rows} rows of {file.path.name} were"


def _where(file: DataFile, place: Path) -> str:
    found = place / file.path.name
    return f"; what is left of the file is {found}" if file_system.size(found) is not None else ""


def _folders(above: Path, mark: str) -> list[Path]:
    """The folders directly in `above` that hold `mark`; no links."""
    return [folder for folder in file_system.find(above, "*") if file_system.find(folder, mark)]


def _unsound(files: Files, folder: Path) -> list[str]:
    names = [path.name for path in file_system.find(folder, "??/*") if is_name(path.name)]
    lost = files.lost(names)
    for name in lost:
        files.remove(name)
    return [f"{files.kind}: {name} did not match its name and was removed" for name in lost]
