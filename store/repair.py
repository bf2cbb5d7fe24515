"""What of a damaged home can be mended: what can be made again is set aside, so that the next run makes it.

Nothing is deleted but files whose bytes do not match their name; nothing outside of the home is touched.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from store.errors import StoreError
from store.file_system import make_folder
from store.files import Files, is_name
from store.store import Store
from store.trained import intact

DAMAGED = "damaged"


def repair(store: Store) -> list[str]:
    """Mend `store`; a sentence for each thing that was done. Run again afterwards: it makes what is missing.

    A memo's rows in lost files are forgotten. Tables, memos and trained models that cannot be read go to
    `damaged/` in the home, with all their versions. Stored files that no longer match their name are removed.
    """
    aside = store.home / DAMAGED / f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
    done: list[str] = []

    def attempt(folder: Path, mend: Callable[[], list[str]]) -> None:
        try:
            done.extend(mend())
        except (StoreError, ValueError, OSError) as error:
            target = aside / folder.relative_to(store.home)
            make_folder(target.parent)
            folder.rename(target)
            done.append(f"{folder.relative_to(store.home)} was set aside in {target}: {error}")

    for folder in _folders(store.home / "memo", "_delta_log") + _folders(store.home / "cache", "_delta_log"):
        name = folder.name
        memo = store.memo(name) if folder.parent.name == "memo" else store.cache(name)

        def forget(memo=memo) -> list[str]:
            names = memo.repair()
            memo.read()
            return [f"memo {memo.name}: the rows of {name} were forgotten" for name in names]

        attempt(folder, forget)
    for stage in store.stages():

        def check(stage=stage) -> list[str]:
            store.read(stage)
            return []

        attempt(store.home / "tables" / stage, check)
    for kind in sorted((store.home / "files").glob("*")):
        done += _unsound(store.files(kind.name), kind)
    for folder in _folders(store.home / "files" / "adapters", "output"):

        def whole(folder=folder) -> list[str]:
            intact(folder)
            return []

        attempt(folder, whole)
    return done


def _folders(above: Path, mark: str) -> list[Path]:
    """The folders directly in `above` that hold `mark`; no links."""
    found = sorted(above.iterdir()) if above.is_dir() else []
    return [folder for folder in found if not folder.is_symlink() and (folder / mark).is_dir()]


def _unsound(files: Files, folder: Path) -> list[str]:
    names = [path.name for path in folder.glob("??/*") if is_name(path.name) and not path.is_symlink()]
    lost = files.lost(names)
    for name in lost:
        files.remove(name)
    return [f"{files.kind}: {name} did not match its name and was removed" for name in lost]
