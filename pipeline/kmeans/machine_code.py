"""Machine code that compares frames with centroids, written for a number of dimensions.

Frames are taken in blocks that stay in the cache; for each, panels of centroids go by; and of both,
tiles are small enough that all their sums are in registers.
"""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

TILE_ROWS = 6  # frames whose sums are in registers at once
CACHE_BYTES = 384 * 1024  # of the frames of a block
ALIGNMENT = 64
FLOAT_BYTES = 4

Values = list[Any]


@dataclass(frozen=True)
class Shape:
    """What the machine code is made for.

    Attributes
    ----------
    n_dims, n_clusters : int
    lanes : int
        Numbers in a register.
    panel : int
        Registers of centroids whose sums are in registers at once.
    """

    n_dims: int
    n_clusters: int
    lanes: int
    panel: int

    @property
    def panels(self) -> list[int]:
        """Registers of centroids of every panel; the last may be smaller."""
        full, rest = divmod(-(-self.n_clusters // self.lanes), self.panel)
        return [self.panel] * full + [rest] * (rest > 0)

    @property
    def n_places(self) -> int:
        """Centroids, with those that fill up the last register."""
        return sum(self.panels) * self.lanes

    @property
    def block_rows(self) -> int:
        """Frames that stay in the cache while all panels go by: a multiple of ``TILE_ROWS``."""
        row_bytes = FLOAT_BYTES * (self.n_dims + 3 * self.lanes)
        return max(1, CACHE_BYTES // row_bytes // TILE_ROWS) * TILE_ROWS


@dataclass(frozen=True)
class Code:
    """A function, and the engine that owns its memory.

    It takes the number of frames, the bytes from one to the next, and the addresses of frames,
    table, norms, room for the lowest two of every lane, and of its results: labels, lowest and
    second lowest scores, and squares.
    """

    call: Callable[..., None]
    engine: Any


@lru_cache(maxsize=32)
def compiled(shape: Shape) -> Code:
    """Build the code."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = llvm.parse_assembly(str(_Builder(shape).module))
    module.verify()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3
    )
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    signature = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 2, *[ctypes.c_void_p] * 8)
    return Code(signature(engine.get_function_address("nearest")), engine)


class _Builder:
    """Writes the code of a shape in LLVM's intermediate language."""

    def __init__(self, shape: Shape) -> None:
        from llvmlite import ir

        self._ir, self._shape = ir, shape
        self._int, self._number = ir.IntType(64), ir.FloatType()
        self._numbers = ir.VectorType(self._number, shape.lanes)
        self._labels = ir.VectorType(ir.IntType(32), shape.lanes)
        self.module = ir.Module("nearest")
        self._write()

    def _write(self) -> None:
        """``for block of frames: for panel of centroids: for tile of frames``."""
        arguments = [self._int] * 2 + [self._ir.PointerType()] * 8
        kind = self._ir.FunctionType(self._ir.VoidType(), arguments)
        function = self._ir.Function(self.module, kind, "nearest")
        self._b = self._ir.IRBuilder(function.append_basic_block())
        n_frames, self._stride, self._frames, *pointers = function.args
        self._table, self._norms, self._state, *results = pointers
        size = self._shape.block_rows

        def block(index: Any, values: Values) -> Values:
            first = self._b.mul(index, self._whole(size))
            n_rows = self._least(self._b.sub(n_frames, first), self._whole(size))
            self._repeat(n_rows, [], lambda row, _: self._begin(row))
            self._all_panels(first, n_rows)
            self._repeat(n_rows, [], lambda row, _: self._end(first, row, results))
            return values

        self._repeat(self._ceiling(n_frames, size), [], block)
        self._b.ret_void()

    def _begin(self, row: Any) -> Values:
        self._store_state(row, [self._infinite(), self._infinite(), self._labels(None)])
        return []

    def _all_panels(self, first: Any, n_rows: Any) -> None:
        panels, width = self._shape.panels, self._shape.panel
        n_full = panels.count(width)
        if n_full:

            def full(panel: Any, values: Values) -> Values:
                self._panel(self._b.mul(panel, self._whole(width)), width, first, n_rows)
                return values

            self._repeat(self._whole(n_full), [], full)
        if panels[-1] != width:
            self._panel(self._whole(n_full * width), panels[-1], first, n_rows)

    def _panel(self, place: Any, width: int, first: Any, n_rows: Any) -> None:
        """Compare the frames of a block with the centroids of a panel, a tile at a time."""
        lanes, n_dims = self._shape.lanes, self._shape.n_dims
        start = self._b.mul(place, self._whole(lanes))
        table = self._at(self._table, self._b.mul(start, self._whole(n_dims)))
        norms = [self._load(self._norms, start, lanes * v) for v in range(width)]
        narrow = self._b.trunc(start, self._ir.IntType(32))
        first_label = self._splat(narrow, self._labels)
        places = [[*range(lanes * v, lanes * (v + 1))] for v in range(width)]
        numbers = [self._b.add(first_label, self._labels(some)) for some in places]

        def tile(index: Any, values: Values) -> Values:
            top = self._b.mul(index, self._whole(TILE_ROWS))
            rows = [self._b.add(top, self._whole(r)) for r in range(TILE_ROWS)]
            # The last tile may be short: it does its last frame again.
            last = self._b.sub(n_rows, self._whole(1))
            frames = [self._frame(self._b.add(first, self._least(row, last))) for row in rows]
            sums = self._sums(frames, table, norms)
            for r, row in enumerate(rows):
                state = self._load_state(row)
                mine = sums[r * width : (r + 1) * width]
                for scores, labels in zip(mine, numbers, strict=True):
                    state = self._compare(state, scores, labels)
                self._store_state(row, state)
            return values

        self._repeat(self._ceiling(n_rows, TILE_ROWS), [], tile)

    def _sums(self, frames: Values, table: Any, norms: Values) -> Values:
        """Scores of the frames of a tile, one after the other: a register per part of a panel."""
        lanes, width = self._shape.lanes, len(norms)

        def dimension(index: Any, sums: Values) -> Values:
            place = self._b.mul(index, self._whole(width * lanes))
            centroids = [self._load(table, place, lanes * v) for v in range(width)]
            found = []
            for r, frame in enumerate(frames):
                value = self._splat(self._load_number(frame, index), self._numbers)
                mine = sums[r * width : (r + 1) * width]
                found += [self._fma(value, c, s) for c, s in zip(centroids, mine, strict=True)]
            return found

        return self._repeat(self._whole(self._shape.n_dims), norms * len(frames), dimension)

    def _compare(self, state: Values, scores: Any, labels: Any) -> Values:
        """Take scores into the lowest two of every lane."""
        lowest, second, label = state
        wins = self._b.fcmp_ordered("<", scores, lowest)
        loser = self._b.select(wins, lowest, scores)
        is_second = self._b.fcmp_ordered("<", loser, second)
        return [
            self._b.select(wins, scores, lowest),
            self._b.select(is_second, loser, second),
            self._b.select(wins, labels, label),
        ]

    def _end(self, first: Any, row: Any, results: Values) -> Values:
        """Find the lowest two of all lanes, and the square of the frame."""
        lowest, second, label = self._load_state(row)
        least = self._reduce("fmin", lowest)
        is_least = self._b.fcmp_ordered("==", lowest, self._splat(least, self._numbers))
        none = self._labels([2**31 - 1] * self._shape.lanes)
        label = self._b.select(is_least, label, none)
        winner = self._reduce("umin", label)
        is_winner = self._b.icmp_signed("==", label, self._splat(winner, self._labels))
        others = self._b.select(is_winner, second, lowest)
        place = self._b.add(first, row)
        found = [winner, least, self._reduce("fmin", others), self._square(place)]
        for pointer, value in zip(results, found, strict=True):
            self._b.store(value, self._at(pointer, place), align=FLOAT_BYTES)
        return []

    def _square(self, place: Any) -> Any:
        lanes, n_dims = self._shape.lanes, self._shape.n_dims
        frame, total = self._frame(place), self._number(0.0)
        for index in range(n_dims // lanes * lanes, n_dims):
            value = self._load_number(frame, self._whole(index))
            total = self._fma(value, value, total)
        if n_dims < lanes:
            return total

        def add(index: Any, sums: Values) -> Values:
            part = self._load(frame, self._b.mul(index, self._whole(lanes)), 0, FLOAT_BYTES)
            return [self._fma(part, part, sums[0])]

        zeros = [self._numbers([0.0] * lanes)]
        (sums,) = self._repeat(self._whole(n_dims // lanes), zeros, add)
        while lanes > 1:
            lanes //= 2
            sums = self._b.fadd(*(self._part(sums, start, lanes) for start in (0, lanes)))
        return self._b.fadd(total, self._b.extract_element(sums, self._whole(0)))

    def _part(self, vector: Any, start: int, count: int) -> Any:
        places = self._ir.VectorType(self._labels.element, count)([*range(start, start + count)])
        return self._b.shuffle_vector(vector, vector, places)

    def _repeat(self, count: Any, start: Values, body: Callable[[Any, Values], Values]) -> Values:
        """``for index in range(count): values = body(index, values)``; count is at least 1."""
        before = self._b.block
        loop, after = (self._b.append_basic_block() for _ in range(2))
        self._b.branch(loop)
        self._b.position_at_end(loop)
        index = self._b.phi(self._int)
        values = [self._b.phi(value.type) for value in start]
        found = body(index, values)
        following = self._b.add(index, self._whole(1))
        index.add_incoming(self._whole(0), before)
        index.add_incoming(following, self._b.block)
        for value, initial, final in zip(values, start, found, strict=True):
            value.add_incoming(initial, before)
            value.add_incoming(final, self._b.block)
        self._b.cbranch(self._b.icmp_unsigned("<", following, count), loop, after)
        self._b.position_at_end(after)
        return found

    def _whole(self, value: int) -> Any:
        return self._int(value)

    def _least(self, a: Any, b: Any) -> Any:
        return self._b.select(self._b.icmp_unsigned("<", a, b), a, b)

    def _ceiling(self, count: Any, size: int) -> Any:
        return self._b.udiv(self._b.add(count, self._whole(size - 1)), self._whole(size))

    def _infinite(self) -> Any:
        return self._numbers([float("inf")] * self._shape.lanes)

    def _splat(self, value: Any, kind: Any) -> Any:
        one = self._b.insert_element(kind(self._ir.Undefined), value, self._whole(0))
        return self._b.shuffle_vector(one, kind(self._ir.Undefined), self._labels(None))

    def _fma(self, a: Any, b: Any, c: Any) -> Any:
        """``a * b + c``, rounded once."""
        return self._call("fma", a.type, [a, b, c])

    def _reduce(self, name: str, value: Any) -> Any:
        return self._call(f"vector.reduce.{name}", value.type.element, [value])

    def _call(self, name: str, kind: Any, values: Values) -> Any:
        of = values[0].type
        number = "i32" if of in (self._labels, self._labels.element) else "f32"
        lanes = f"v{of.count}" if isinstance(of, self._ir.VectorType) else ""
        full = f"llvm.{name}.{lanes}{number}"
        function = self.module.globals.get(full)
        if function is None:
            shape = self._ir.FunctionType(kind, [value.type for value in values])
            function = self._ir.Function(self.module, shape, full)
        # No score is NaN where it is compared.
        return self._b.call(function, values, fastmath=("nnan",) if "reduce.f" in name else ())

    def _frame(self, index: Any) -> Any:
        # The stride is in bytes.
        return self._b.gep(
            self._frames, [self._b.mul(index, self._stride)], source_etype=self._ir.IntType(8)
        )

    def _at(self, pointer: Any, index: Any) -> Any:
        return self._b.gep(pointer, [index], source_etype=self._number)

    def _load_number(self, pointer: Any, index: Any) -> Any:
        return self._b.load(self._at(pointer, index), align=FLOAT_BYTES, typ=self._number)

    def _load(self, pointer: Any, index: Any, offset: int, align: int | None = None) -> Any:
        place = self._at(pointer, self._b.add(index, self._whole(offset)))
        return self._b.load(
            place, align=align or FLOAT_BYTES * self._shape.lanes, typ=self._numbers
        )

    def _state_places(self, row: Any) -> Values:
        lanes = self._shape.lanes
        start = self._b.mul(row, self._whole(3 * lanes))
        return [self._at(self._state, self._b.add(start, self._whole(lanes * i))) for i in range(3)]

    def _load_state(self, row: Any) -> Values:
        kinds = (self._numbers, self._numbers, self._labels)
        align = FLOAT_BYTES * self._shape.lanes
        places = self._state_places(row)
        return [
            self._b.load(place, align=align, typ=kind)
            for place, kind in zip(places, kinds, strict=True)
        ]

    def _store_state(self, row: Any, state: Values) -> None:
        for place, value in zip(self._state_places(row), state, strict=True):
            self._b.store(value, place, align=FLOAT_BYTES * self._shape.lanes)
