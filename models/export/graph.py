"""Trace a network to an ONNX file, describe it, and check it.

The recipe is what converters of ONNX to Keras read: the TorchScript exporter, opset 17, plain
attention, a free batch axis over a fixed window, raw logits, float32, one file. Only what is too
large for one file (2 GB, the limit of its format) keeps its weights beside it.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path

import onnx
import torch

from models.export.networks import Graph
from pipeline.errors import CheckFailed

IR_VERSION = 8  # newer ones are refused by older readers, and opset 17 needs no newer
LARGEST_FILE = 2**31 - 2**20  # bytes of a protobuf message, less room for what is not weights


def write_graph(graph: Graph, path: Path, opset: int, metadata: Mapping[str, str]) -> None:
    """Write a network as ONNX, with weights beside it where they are too large for one file.

    Raises
    ------
    CheckFailed
        If the ONNX checker finds fault with it.
    """
    _trace(graph, path, opset)
    model = onnx.load(path)  # large weights come in files of their own, one each
    for leftover in path.parent.iterdir():
        if leftover != path and leftover.name in _external_names(path):
            leftover.unlink()
    model.ir_version = min(model.ir_version, IR_VERSION)
    onnx.helper.set_model_props(model, dict(metadata))
    if model.ByteSize() > LARGEST_FILE:
        data = path.name + ".data"
        (path.parent / data).unlink(missing_ok=True)  # onnx would append
        onnx.save(model, path, save_as_external_data=True, location=data)
    else:
        onnx.save(model, path)
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise CheckFailed(f"{path.name} is no valid ONNX model ({error})") from error


def _trace(graph: Graph, path: Path, opset: int) -> None:
    axes = {
        name: {axis: free for axis, free in enumerate(frees) if free}
        for name, frees in (*graph.inputs.items(), *graph.outputs.items())
    }
    with warnings.catch_warnings():
        # The exporter warns that it is the older one, and of shape checks it makes constant.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph.network,
            graph.examples(2, 1),
            str(path),
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_axes=axes,
            opset_version=opset,
            do_constant_folding=True,
            dynamo=False,
        )


def _external_names(path: Path) -> set[str]:
    """Files beside a graph that hold its weights."""
    model = onnx.load(path, load_external_data=False)
    return {
        entry.value
        for tensor in model.graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }
