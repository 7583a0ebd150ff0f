"""A checkpoint as ONNX: which graphs, with which metadata, and how near to torch they are."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from models.checkpoint import Checkpoint, open_session
from models.export.graph import write_graph
from models.export.networks import Graph, ctc_graph, load_network
from models.export.whisper_graphs import step_graphs, whole_graph
from models.parity import ONNX_TOLERANCE, Parity, largest_difference, require, same_choices
from models.speech import Preprocessor, network_inputs, spoken_clips
from models.wav2vec2 import Wav2Vec2Preprocessor
from models.whisper import WhisperPreprocessor
from pipeline.errors import CheckFailed, InputError

if TYPE_CHECKING:
    from models.export.command import ExportSettings

CHECKED_BATCHES = (1, 3)


def write_onnx(
    source: Checkpoint, folder: Path, name: str, settings: "ExportSettings"
) -> tuple[Parity, list[str]]:
    """Write a checkpoint's graphs into a folder, the one called ``name`` first, and check them.

    Raises
    ------
    InputError
        If the checkpoint is damaged, or the settings do not suit it.
    CheckFailed
        If ONNX finds fault with a graph, or ONNX Runtime and torch disagree.
    """
    if source.family == "whisper":
        writer = WhisperPreprocessor.from_folder(source.folder)
        preprocessor: Preprocessor = writer
        graphs, metadata, length = _whisper_graphs(source, writer, name, settings)
    else:
        reader = Wav2Vec2Preprocessor.from_folder(source.folder)
        preprocessor = reader
        graphs, metadata, length = _ctc_graphs(source, reader, name, settings)
    try:
        for graph in graphs:
            path = folder / graph.name
            write_graph(graph, path, settings.opset, metadata)
            parity = _noise_parity(graph, path)
            if graph.name == name:
                first = parity = _with_speech(parity, graph, path, preprocessor, length)
            require(parity, ONNX_TOLERANCE, f"ONNX Runtime on {graph.name}")
    except CheckFailed as error:
        raise CheckFailed(f"{error}; nothing was written; try another --opset") from error
    return first, [graph.name for graph in graphs]


def reference_network(
    source: Checkpoint, *, trust_pickle: bool = False
) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """Load a checkpoint in torch, as a function of arrays by name."""
    model = load_network(source, trust_pickle=trust_pickle)
    if source.family == "whisper":
        graph = whole_graph(model, "", model.config.max_target_positions)
    else:
        graph = ctc_graph(model, "", 0)

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        values = tuple(torch.from_numpy(inputs[name]) for name in graph.inputs)
        return dict(zip(graph.outputs, _run_torch(graph, values), strict=True))

    return run


def _ctc_graphs(
    source: Checkpoint, preprocessor: Wav2Vec2Preprocessor, name: str, settings: "ExportSettings"
) -> tuple[list[Graph], dict[str, str], int]:
    n_samples = preprocessor.window_samples(settings.window_seconds)
    model = load_network(source, trust_pickle=settings.trust_pickle)
    metadata = {
        "family": source.family,
        "n_samples": str(n_samples),
        "sampling_rate": str(preprocessor.sampling_rate),
        "window_seconds": str(n_samples / preprocessor.sampling_rate),
        "vocabulary": json.dumps(preprocessor.vocabulary),
    }
    graph = ctc_graph(model, name, n_samples, dynamic_length=settings.dynamic_length)
    return [graph], metadata, n_samples


def _whisper_graphs(
    source: Checkpoint, preprocessor: WhisperPreprocessor, name: str, settings: "ExportSettings"
) -> tuple[list[Graph], dict[str, str], int]:
    n_positions = settings.positions or preprocessor.max_positions
    least = len(preprocessor.prompt_ids) + 1
    if not least <= n_positions <= preprocessor.max_positions:
        raise InputError(
            f"{n_positions} positions are outside {least} to {preprocessor.max_positions}: the "
            "prompt and a token at least, and what the decoder was made for at most"
        )
    model = load_network(source, trust_pickle=settings.trust_pickle)
    metadata = {
        "family": source.family,
        "n_samples": str(preprocessor.n_samples),
        "sampling_rate": str(preprocessor.sampling_rate),
        "window_seconds": str(preprocessor.mel.chunk_length),
        "positions": str(n_positions),
        "max_positions": str(preprocessor.max_positions),
        "prompt_ids": json.dumps(preprocessor.prompt_ids),
        "end_id": str(preprocessor.end_id),
    }
    graphs = [
        whole_graph(model, name, n_positions),
        *(step_graphs(model) if settings.steps else ()),
    ]
    return graphs, metadata, n_positions


def _noise_parity(graph: Graph, path: Path) -> Parity:
    """Compare with torch on noise, for several batch sizes."""
    session = open_session(path)
    differences = []
    for seed, batch in enumerate(CHECKED_BATCHES):
        values = graph.examples(batch, seed)
        fed = {name: value.numpy() for name, value in zip(graph.inputs, values, strict=True)}
        found = session.run(list(graph.outputs), fed)
        differences.append(largest_difference(found, _run_torch(graph, values)))
    return Parity(float(np.max(differences)))


def _with_speech(
    parity: Parity, graph: Graph, path: Path, preprocessor: Preprocessor, length: int
) -> Parity:
    """Compare with torch on real speech too, if there is any."""
    clips = spoken_clips(preprocessor.sampling_rate)
    if not clips:
        return parity
    inputs = network_inputs(preprocessor, clips, length)
    found = open_session(path).run(list(graph.outputs), inputs.arrays)
    expected = _run_torch(graph, tuple(torch.from_numpy(v) for v in inputs.arrays.values()))
    return Parity(
        parity.noise,
        largest_difference(found, expected),
        len(clips),
        same_choices(found[0], expected[0], inputs.counted),
    )


def _run_torch(graph: Graph, values: tuple[torch.Tensor, ...]) -> list[np.ndarray]:
    with torch.no_grad():
        return [output.numpy() for output in graph.network(*values)]
