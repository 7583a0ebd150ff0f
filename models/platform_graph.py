"""A Whisper's graph as a platform wants it that keeps every tensor as float16.

Token ids above 2048 would not survive that, so they come in as two digits to base 1024; and a graph
that writes step by step gives out the scores of the current position alone. Only the ends of the
exported graph are changed; its weights are taken as they are.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np

from models.checkpoint import ONNX_FILE
from pipeline.corpus import file_digest, write_path
from pipeline.errors import InputError, MissingPathError

PlatformMode = Literal["seq2seq", "autoregressive"]
DIGIT_BASE = 1024
IDS, HIGH, LOW, MASK = "decoder_input_ids", "token_ids_high", "token_ids_low", "position_mask"
LOGITS, NEXT_LOGITS = "logits", "next_token_logits"
MADE_FROM = "made_from"


def platform_graph(folder: Path, mode: PlatformMode) -> Path:
    """Write ``<mode>.onnx`` beside ``model.onnx``, unless it was made from it already.

    Parameters
    ----------
    folder : Path
        An exported Whisper: ``input_features, decoder_input_ids -> logits,
        encoder_hidden_states``.
    mode : {"seq2seq", "autoregressive"}
        ``seq2seq``: ``input_features, token_ids_high, token_ids_low -> logits,
        encoder_hidden_states``. ``autoregressive``: with ``position_mask`` besides, 1 at the
        current position and 0 elsewhere, ``-> next_token_logits`` [shape=(batch, vocabulary)].

    Returns
    -------
    Path

    Raises
    ------
    MissingPathError, InputError
        If there is no such model, or the package onnx is not installed.
    """
    source, target = folder / ONNX_FILE, folder / f"{mode}.onnx"
    if not source.is_file():
        raise MissingPathError(f"{source} does not exist; make it with: models export {folder}")
    if target.is_file() and not can_make_graphs():
        return target
    onnx = _onnx(target)
    digest = file_digest(source)
    if target.is_file() and _made_from(onnx, target) == digest:
        return target
    model = onnx.load(str(source), load_external_data=False)
    if IDS not in [value.name for value in model.graph.input]:
        raise InputError(
            f"{source} takes no {IDS}; export a Whisper, with `models export {folder}`"
        )
    nodes = _join_digits(onnx, model.graph)
    if mode == "autoregressive":
        nodes += _select_position(onnx, model.graph)
    for node in reversed(nodes):
        model.graph.node.insert(0, node)
    _sort(model.graph)
    entry = model.metadata_props.add()
    entry.key, entry.value = MADE_FROM, digest
    with write_path(target) as temporary:
        onnx.save(model, str(temporary))
    return target


def can_make_graphs() -> bool:
    """Whether the package onnx is installed, which the platform does not need."""
    return find_spec("onnx") is not None


def _onnx(target: Path) -> Any:
    try:
        import onnx
    except ImportError as error:
        raise InputError(
            f"{target} has to be made first, which needs the package onnx; make it where the whole "
            "of the project is installed, with `analyze mode`"
        ) from error
    return onnx


def _made_from(onnx: Any, path: Path) -> str:
    model = onnx.load(str(path), load_external_data=False)
    return next((entry.value for entry in model.metadata_props if entry.key == MADE_FROM), "")


def _join_digits(onnx: Any, graph: Any) -> list[Any]:
    """Replace the ids by their digits; ids = high * 1024 + low."""
    place = next(i for i, value in enumerate(graph.input) if value.name == IDS)
    shape = [d.dim_param or d.dim_value for d in graph.input[place].type.tensor_type.shape.dim]
    del graph.input[place]
    for name in (HIGH, LOW):
        graph.input.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
    graph.initializer.append(_constant(onnx, "digit_base", np.array([DIGIT_BASE], np.float32)))
    make = onnx.helper.make_node
    return [
        make("Mul", [HIGH, "digit_base"], ["high_part"]),
        make("Add", ["high_part", LOW], ["float_ids"]),
        make("Cast", ["float_ids"], [IDS], to=onnx.TensorProto.INT64),
    ]


def _select_position(onnx: Any, graph: Any) -> list[Any]:
    """Give out the logits of one position: chosen before the large product with the vocabulary."""
    positions = next(value for value in graph.input if value.name == HIGH)
    mask = onnx.ValueInfoProto()
    mask.CopyFrom(positions)
    mask.name = MASK
    graph.input.append(mask)
    project = next(node for node in graph.node if LOGITS in node.output)
    if project.op_type != "MatMul":
        raise InputError(
            f"the logits come from {project.op_type}, not from a product with the vocabulary; "
            "export the model again with `models export`"
        )
    hidden = project.input[0]
    project.input[0], project.output[0] = "current_hidden", "current_logits"
    width = next(v for v in graph.output if v.name == LOGITS).type.tensor_type.shape.dim[2]
    batch = positions.type.tensor_type.shape.dim[0].dim_param or "batch"
    del graph.output[:]
    graph.output.append(
        onnx.helper.make_tensor_value_info(
            NEXT_LOGITS, onnx.TensorProto.FLOAT, [batch, width.dim_value or width.dim_param]
        )
    )
    graph.initializer.append(_constant(onnx, "row_axis", np.array([1], np.int64)))
    make = onnx.helper.make_node
    return [
        make("Unsqueeze", [MASK, "row_axis"], ["mask_row"]),
        make("MatMul", ["mask_row", hidden], ["current_hidden"]),
        make("Squeeze", ["current_logits", "row_axis"], [NEXT_LOGITS]),
    ]


def _constant(onnx: Any, name: str, value: np.ndarray) -> Any:
    """Make a constant of one dimension: the platform's converter chokes on a scalar."""
    return onnx.numpy_helper.from_array(value, name)


def _sort(graph: Any) -> None:
    """Put nodes behind those they depend on; what nothing depends on is left out."""
    maker = {name: node for node in graph.node for name in node.output if name}
    ordered: list[Any] = []
    placed: set[int] = set()
    stack = [(maker[value.name], False) for value in reversed(graph.output)]
    while stack:
        node, ready = stack.pop()
        if id(node) in placed:
            continue
        if ready:
            placed.add(id(node))
            ordered.append(node)
            continue
        stack.append((node, True))
        stack += [(maker[name], False) for name in node.input if name in maker]
    copies = []
    for node in ordered:
        copy = type(node)()
        copy.CopyFrom(node)
        copies.append(copy)
    del graph.node[:]
    graph.node.extend(copies)
