"""Exported models behind one face: ONNX files in ONNX Runtime, .h5 and .keras files in Keras."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from models.checkpoint import ONNX_FILE, open_session
from models.verify.report import Tensor
from pipeline.errors import InputError, MissingPathError

if TYPE_CHECKING:
    import onnx

NEWEST_OPSET, NEWEST_IR = 17, 9  # of what the platform's converter reads
# ONNX operators that the converter (onnx2kerastl 0.0.198) has no layer for.
LACKING = frozenset(
    "Loop Scan LogSoftmax STFT HannWindow HammingWindow BlackmanWindow ReduceL1 CastLike "
    "DynamicQuantizeLinear QuantizeLinear DequantizeLinear Attention".split()
)
KERAS_SUFFIXES = (".h5", ".keras")


class ExportedModel(Protocol):
    """A model that can be looked at and run."""

    path: Path
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    operators: Mapping[str, int]
    unconvertible: tuple[str, ...]
    opset: int | None
    ir_version: int | None
    n_bytes: int

    def run(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Compute all outputs."""
        ...


class OnnxModel:
    """An ONNX file in ONNX Runtime, on the CPU."""

    def __init__(self, path: Path, num_threads: int | None = None) -> None:
        import onnx

        self.path = path
        self.session = open_session(path, num_threads=num_threads)
        graph = onnx.load(path, load_external_data=False)
        self.inputs = _tensors(graph.graph.input)
        self.outputs = _tensors(graph.graph.output)
        kinds = Counter(node.op_type for node in graph.graph.node)
        self.operators: Mapping[str, int] = dict(sorted(kinds.items()))
        self.opset: int | None = next(
            (entry.version for entry in graph.opset_import if entry.domain in ("", "ai.onnx")), 0
        )
        self.ir_version: int | None = graph.ir_version
        self.unconvertible = tuple(self._objections(graph))
        beside = path.with_name(path.name + ".data")
        self.n_bytes = sum(p.stat().st_size for p in (path, beside) if p.is_file())

    def run(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Compute all outputs."""
        outputs: list[np.ndarray] = self.session.run(None, dict(inputs))
        return outputs

    def _objections(self, graph: "onnx.ModelProto") -> list[str]:
        domains = {node.domain for node in graph.graph.node} - {"", "ai.onnx"}
        found = [f"it lacks {kind}" for kind in sorted(LACKING & set(self.operators))]
        found += [f"operators of {domain}" for domain in sorted(domains)]
        if (self.opset or 0) > NEWEST_OPSET:
            found.append(f"opset {self.opset} is newer than {NEWEST_OPSET}")
        if graph.ir_version > NEWEST_IR:
            found.append(f"IR version {graph.ir_version} is newer than {NEWEST_IR}")
        if self.inputs and isinstance(self.inputs[0].shape[0], int):
            found.append(f"the batch is fixed at {self.inputs[0].shape[0]}")
        return found


class KerasModel:
    """An .h5 or .keras file in Keras on TensorFlow."""

    opset: int | None = None
    ir_version: int | None = None

    def __init__(self, path: Path) -> None:
        from models.wav2vec2_keras import load_model

        self.path = path
        self._model = load_model(path)
        self.inputs, self.outputs = (
            tuple(
                Tensor(n, str(t.dtype), ("batch", *t.shape[1:]))
                for n, t in zip(*named, strict=True)
            )
            for named in (
                ([tensor.name for tensor in self._model.inputs], self._model.inputs),
                (self._model.output_names, self._model.outputs),
            )
        )
        kinds = Counter(type(layer).__name__ for layer in self._model.layers)
        self.operators: Mapping[str, int] = dict(sorted(kinds.items()))
        # A .keras is for Keras; the platform takes .h5.
        self.unconvertible: tuple[str, ...] = ()
        self.n_bytes = path.stat().st_size

    def run(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Compute all outputs."""
        values = [inputs[tensor.name] for tensor in self.inputs]
        outputs: Any = self._model(values[0] if len(values) == 1 else values, training=False)
        return [output.numpy() for output in outputs]


def open_model(path: Path, num_threads: int | None = None) -> ExportedModel:
    """Open a file, or the ``model.onnx`` of a folder.

    Raises
    ------
    MissingPathError, InputError
        If there is none, or it is no model.
    """
    path = Path(path)
    if path.is_dir():
        path = path / ONNX_FILE
    if not path.is_file():
        raise MissingPathError(f"{path} does not exist; make it with: models export {path.parent}")
    if path.suffix in KERAS_SUFFIXES:
        return KerasModel(path)
    if path.suffix != ".onnx":
        raise InputError(f"{path} is none of .onnx, {', '.join(KERAS_SUFFIXES)}")
    return OnnxModel(path, num_threads)


def _tensors(values: Any) -> tuple[Tensor, ...]:
    import onnx

    tensors = []
    for value in values:
        kind = value.type.tensor_type
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)).name
        shape = tuple(d.dim_value or d.dim_param or "?" for d in kind.shape.dim)
        tensors.append(Tensor(value.name, dtype, shape))
    return tuple(tensors)
