"""Sheets of edits: an editor's of some people, and a person's by every editor; their source pictures."""

import polars as pl

import facs
from evaluation import grids
from inference import images
from store import Store

FILES = "edited"
"""The kind of stored files that edits are."""
PEOPLE, INTENSITY, CELL = 6, 4.0, 72
"""On a sheet: people, the intensity of the AU of each column, pixels of a picture."""
COLUMNS = ["source", "no change", *map(grids.au_label, facs.ACTION_UNITS)]


def sources(table: pl.DataFrame) -> pl.DataFrame:
    """The source pictures of `table`, edited_samples: source_index, file_kind, file, content_hash."""
    source = table.select(
        "source_index", file_kind="source_kind", file="source_file", content_hash="source_hash"
    )
    return source.unique("source_index").sort("source_index")


def of_editor(store: Store, table: pl.DataFrame) -> bytes:
    """Some people × what the editor of the rows of `table`, edited_samples, made of each: a PNG."""
    rows = {f"picture {index}": _row(store, part) for index, part in _people(table)}
    return grids.image_grid([*rows.values()], [*rows], COLUMNS, cell=CELL)


def people(store: Store, table: pl.DataFrame) -> dict[str, bytes]:
    """A sheet a person, by who it is: what each editor of `table`, edited_samples, made of it."""
    found = {}
    for index, part in _people(table):
        rows = {
            str(editor): _row(store, edits)
            for (editor,), edits in part.group_by("editor", maintain_order=True)
        }
        found[f"picture {index}"] = grids.image_grid([*rows.values()], [*rows], COLUMNS, cell=CELL)
    return found


def _people(table: pl.DataFrame) -> list[tuple[int, pl.DataFrame]]:
    """The first PEOPLE source pictures, each with its edits at strength 1."""
    whole = table.filter(strength=1.0)
    chosen = whole["source_index"].unique().sort().head(PEOPLE)
    return [(index, whole.filter(source_index=index)) for index in chosen]


def _row(store: Store, part: pl.DataFrame) -> list[grids.Picture]:
    """Of one person by one editor: the source, no change, and each AU alone at INTENSITY."""
    files = store.files(FILES)
    first = part.row(0, named=True)
    strong = part.filter(pl.max_horizontal(facs.COLUMNS) == INTENSITY, kind="individual")
    alone = dict(strong.select("prompted", "file").iter_rows())
    same = part.filter(kind="unchanged")["file"].item()
    source = images.load(store.locate(first["source_kind"], first["source_file"]), CELL)
    return [source, files.path(same), *(files.path(alone[str(au)]) for au in facs.ACTION_UNITS)]
