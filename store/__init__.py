"""State: Delta stage tables, memo tables, content-named files, hashes. No Dagster, no torch, no domain."""

from store.errors import (
    ComputeError,
    CorruptFile,
    CorruptTable,
    MissingFile,
    MissingTable,
    StoreError,
    UnstorableColumn,
)
from store.files import Files
from store.hash_cache import HashCache
from store.hashing import (
    fingerprint,
    fingerprints,
    hash_bytes,
    hash_file,
    hash_files,
    hash_folder,
    hash_frame,
)
from store.memo import Memo, MemoResult, Progress
from store.store import Store

__all__ = [
    "ComputeError", "CorruptFile", "CorruptTable", "Files", "HashCache", "Memo", "MemoResult", "MissingFile",
    "MissingTable", "Progress", "Store", "StoreError", "UnstorableColumn", "fingerprint", "fingerprints",
    "hash_bytes", "hash_file", "hash_files", "hash_folder", "hash_frame",
]  # fmt: skip
