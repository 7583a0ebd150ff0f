"""Indexes of faiss: most of the nearest neighbours, in a fraction of the time of exact search."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import InputError
from pipeline.neighbours import HELD, Neighbours, Rows

TIE = 1e-6  # by which cosines differ from one way of computing them to another
# Inverted files, perhaps behind a rotation; nothing behind them that numbers rows by itself.
MERGEABLE = re.compile(r"(\w+,)*IVF[^,]+,(Flat|SQ\w+|PQ\w+)")


class Index:
    """An index of faiss.

    It ranks by inner product, as the exact search here does. Train it on a sample, add rows in
    blocks, search; several indexes with the same training can be merged.

    Parameters
    ----------
    kind : str
        As faiss's ``index_factory`` reads it: ``IVF1024,Flat``, ``HNSW32``, ``IVF4096,SQfp16``,
        ``OPQ64,IVF1024,PQ64`` …
    n_dims : int

    Raises
    ------
    InputError
        If faiss does not know the type, or it does not go with so many dimensions.
    """

    def __init__(self, kind: str, n_dims: int) -> None:
        import faiss

        self.kind = kind
        try:
            self._index = faiss.index_factory(n_dims, kind, faiss.METRIC_INNER_PRODUCT)
        except RuntimeError as error:
            raise InputError(
                f"faiss makes no index {kind!r} of {n_dims} dimensions; "
                "give a type such as Flat, IVF1024,Flat or HNSW32"
            ) from error

    @property
    def n_cells(self) -> int:
        """Cells of an inverted file; 0 if it is none."""
        cells = self._inverted_file()
        return int(cells.nlist) if cells is not None else 0

    @property
    def keeps_whole(self) -> bool:
        """Whether it holds rows as they are, so that its similarities are exact."""
        return self.kind.endswith("Flat") or re.fullmatch(r"HNSW\d*", self.kind) is not None

    def train(self, sample: np.ndarray) -> None:
        """Learn cells and codes from rows [shape=(n, n_dims)].

        Raises
        ------
        InputError
            If they are fewer than the cells.
        """
        if len(sample) < self.n_cells:
            raise InputError(
                f"{self.kind} has {self.n_cells} cells and there are {len(sample)} rows to learn "
                "them from; give a smaller index_type, or Flat"
            )
        if self.n_cells:
            import faiss

            # Centroids drawn blindly leave clusters without one, and scatter their rows.

            self._inverted_file().cp.init_method = faiss.ClusteringInitMethod_AFK_MC2
        try:
            self._index.train(np.ascontiguousarray(sample, np.float32))
        except RuntimeError as error:
            raise InputError(
                f"{self.kind} cannot learn from {len(sample)} rows; give a smaller index_type, "
                "or Flat"
            ) from error

    def add(self, rows: Rows) -> None:
        """Put rows behind those that are there."""
        for block in _slices(len(rows)):
            self._index.add(np.ascontiguousarray(rows[block], np.float32))

    def __len__(self) -> int:
        """Count the rows."""
        return int(self._index.ntotal)

    def search(self, queries: Rows, k: int, effort: int | None = None) -> Neighbours:
        """Find ``min(k, len(self))`` neighbours of every query, most of them the nearest.

        Parameters
        ----------
        queries : np.ndarray [shape=(n_queries, n_dims)]
        k : int
        effort : int, optional
            Cells that are looked into, or candidates that a graph keeps.
        """
        import faiss

        k = min(k, len(self))
        if effort is not None and self.n_cells:
            self._inverted_file().nprobe = min(effort, self.n_cells)
        elif effort is not None and isinstance(self._index, faiss.IndexHNSW):
            self._index.hnsw.efSearch = max(effort, k)
        found = [
            self._index.search(np.ascontiguousarray(queries[block], np.float32), k)
            for block in _slices(len(queries))
        ]
        if not found:
            return Neighbours(np.empty((0, k), np.float32), np.empty((0, k), np.int64))
        similarities, indices = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return Neighbours(np.where(indices >= 0, similarities, -np.inf), indices)

    def merge(self, other: "Index") -> None:
        """Take the rows of another index with the same training behind one's own."""
        import faiss

        faiss.merge_into(self._index, other._index, shift_ids=True)

    def save(self, path: Path) -> None:
        """Write the index as faiss does."""
        import faiss

        faiss.write_index(self._index, str(path))

    @classmethod
    def load(cls, path: Path, kind: str, *, mapped: bool = False) -> "Index":
        """Read what :meth:`save` has written.

        Parameters
        ----------
        path : Path
        kind : str
            That it was made with.
        mapped : bool
            For searching alone: rows stay in the file, and processes that search share them.

        Raises
        ------
        InputError
            If it is no index, or not whole.
        """
        import faiss

        index = cls.__new__(cls)
        index.kind = kind
        flags = 0
        if mapped:
            flags = faiss.IO_FLAG_MMAP if MERGEABLE.fullmatch(kind) else faiss.IO_FLAG_MMAP_IFC
        try:
            index._index = faiss.read_index(str(path), flags)
        except RuntimeError as error:
            raise InputError(f"{path} is damaged; remove it and run again") from error
        return index

    def _inverted_file(self) -> Any:
        import faiss

        return faiss.try_extract_index_ivf(self._index)


def is_mergeable(kind: str) -> bool:
    """Whether indexes of a type, with the same training, can be merged; a graph cannot."""
    return MERGEABLE.fullmatch(kind) is not None


def recall(found: Neighbours, exact: Neighbours, *, keeps_whole: bool = False) -> float:
    """Share of the exact neighbours that were found.

    Parameters
    ----------
    found, exact : Neighbours
        Of the same queries.
    keeps_whole : bool
        Whether the similarities found are exact, see :attr:`Index.keeps_whole`; then a row that is
        as near as the last exact neighbour counts in its place.
    """
    if not exact.indices.size:
        return 1.0
    hits = (found.indices[:, :, None] == exact.indices[:, None, :]).any(2)
    if keeps_whole:
        hits |= found.similarities >= exact.similarities[:, -1:] - TIE
    return float(hits.sum() / exact.indices.size)


def _slices(n_rows: int) -> Iterator[slice]:
    for first in range(0, n_rows, HELD):
        yield slice(first, min(first + HELD, n_rows))
