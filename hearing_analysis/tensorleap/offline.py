"""The part of the platform that can be had offline: code-loader's own loader, and ONNX.

It keeps what the platform keeps of a sample and calls what the platform calls, batch by batch; a
model that writes on its own is driven step by step.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from hearing_analysis.config import ROOT, AnalysisConfig
from hearing_analysis.samples import SampleSet
from models.checkpoint import open_session
from models.platform_graph import platform_graph

ENTRY = "leap_binder.py"
CLIPS_PER_SPLIT = 2  # whose tensors and metadata are compared, each under every profile
SIMULATION = "hearing_loss"


@dataclass(frozen=True)
class Chain:
    """What a model wrote on its own: the last step's inputs and outputs, and the state."""

    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]
    state: Any


@dataclass(frozen=True)
class Batch:
    """Some samples of one state: what the platform keeps of them.

    Attributes
    ----------
    state : DataStateEnum
    ids : tuple of str
    tensors : Mapping[str, np.ndarray]
        Inputs, ground truths and predictions by name, the batch axis first.
    chains : tuple of Chain
        One per sample where the model writes on its own, else none.
    """

    state: Any
    ids: tuple[str, ...]
    tensors: Mapping[str, np.ndarray]
    chains: tuple[Chain, ...] = ()

    def part(self, rows: slice) -> "Batch":
        """Take some of the samples."""
        tensors = {name: tensor[rows] for name, tensor in self.tensors.items()}
        return Batch(self.state, self.ids[rows], tensors, self.chains[rows])

    def arguments(self, names: list[str], rows: slice | int = slice(None)) -> dict[str, np.ndarray]:
        """Tensors by the names of a function's arguments."""
        return {name: self.tensors[name][rows] for name in names if name in self.tensors}

    def as_stored(self) -> "Batch":
        """As the platform keeps tensors: in float16, wherever that holds them."""
        from code_loader.utils import simulate_engine_float16_downcast

        stored = {name: simulate_engine_float16_downcast(t) for name, t in self.tensors.items()}
        return replace(self, tensors=stored)


class Platform:
    """Everything that is registered, and what comes out of it.

    Parameters
    ----------
    config : AnalysisConfig
        The one the entry file reads.
    """

    def __init__(self, config: AnalysisConfig) -> None:
        from code_loader.leaploader import LeapLoader

        self.config = config
        self.loader = LeapLoader(code_path=str(ROOT), code_entry_name=ENTRY)

    @property
    def setup(self) -> Any:
        """The registry of code-loader."""
        from code_loader import leap_binder

        self.loader.exec_script()
        return leap_binder.setup_container

    @property
    def writes_on_its_own(self) -> bool:
        """Whether the model is driven step by step."""
        return self.setup.autoregressive_step is not None

    @cached_property
    def responses(self) -> dict[Any, Any]:
        """State -> what preprocessing returned for it."""
        self.loader.exec_script()
        return self.loader._preprocess_result()

    @property
    def samples(self) -> dict[Any, SampleSet]:
        """State -> all its samples, for the states whose sentences are known."""
        return {
            state: response.data
            for state, response in self.responses.items()
            if state.name != "unlabeled" and isinstance(response.data, SampleSet)
        }

    @cached_property
    def batches(self) -> tuple[Batch, ...]:
        """The first clips of every state, each under every profile."""
        n_samples = CLIPS_PER_SPLIT * len(self.config.profiles)
        return tuple(
            self.batch(state, samples.ids[:n_samples]) for state, samples in self.samples.items()
        )

    def walk(self, state: Any, batch_size: int) -> Iterator[Batch]:
        """Go through all samples of a state."""
        ids = self.samples[state].ids
        for start in range(0, len(ids), batch_size):
            yield self.batch(state, ids[start : start + batch_size])

    @property
    def metric_names(self) -> list[str]:
        """Our metrics; code-loader has eight of its own."""
        return [handler.metric_handler_data.name for handler in self._metrics]

    @property
    def metadata_handlers(self) -> list[Any]:
        """Our handlers of metadata; code-loader adds one of its own to chains."""
        return [handler for handler in self.setup.metadata if handler.metadata_type is not None]

    @property
    def visualizer_names(self) -> list[str]:
        """Our visualizers; code-loader has some of its own."""
        handlers = (*self.setup.visualizers, *self.setup.autoregressive_visualizers)
        return [h.visualizer_handler_data.name for h in handlers if _is_ours(h)]

    @property
    def latent_space_names(self) -> tuple[str, ...]:
        """Latent spaces that are computed from what a model puts out."""
        spaces = self.setup.custom_latent_spaces
        return tuple(name for name, space in spaces.items() if space.computed_at.value != "dataset")

    def directions(self, name: str) -> Any:
        """Directions of one metric, as a loader that has run no metric yet has them."""
        handlers = {h.metric_handler_data.name: h for h in self._metrics}
        return handlers[name].metric_handler_data.direction

    def run_metrics(self, batch: Batch) -> dict[str, np.ndarray]:
        """Column -> value per sample, over all our metrics and losses."""
        columns = {f"loss {name}": values for name, values in self._run_losses(batch).items()}
        for name in self.metric_names:
            for key, values in self.run_metric(name, batch).items():
                columns[name if key == name else f"{name}_{key}"] = values
        return columns

    def run_metric(self, name: str, batch: Batch) -> dict[str, np.ndarray]:
        """Key -> value per sample; a metric of a single value has its own name as key."""
        if self.writes_on_its_own:
            return self._run_chain_metric(name, batch)
        arguments = batch.arguments(self.loader.metric_by_name()[name].arg_names)
        result = self.loader.run_metric(name, np.array(batch.ids), batch.state, arguments)
        return result if isinstance(result, dict) else {name: result}

    def run_visualizer(self, name: str, batch: Batch, at: int | slice) -> Any:
        """Draw one sample, with a batch axis if ``at`` is a slice."""
        if name in self.loader.autoregressive_visualizer_by_name():
            row = at.start if isinstance(at, slice) else at
            chain = batch.chains[row]
            return self.loader.run_autoregressive_visualizer(
                name, chain.inputs, chain.outputs, chain.state, _rows(batch, row)
            )
        arguments = batch.arguments(self.loader.visualizer_by_name()[name].arg_names, at)
        return self.loader.run_visualizer(name, np.array(batch.ids[:1]), batch.state, arguments)

    def run_heatmap(self, name: str, batch: Batch, at: int) -> np.ndarray | None:
        """Lay a heatmap over a sample's picture; None where the visualizer takes none."""
        handler = next(
            (h for h in self.setup.visualizers if h.visualizer_handler_data.name == name), None
        )
        if handler is None or handler.heatmap_function is None:
            return None
        from code_loader.contract.datasetclasses import RawInputsForHeatmap

        names = self.loader.visualizer_by_name()[name].arg_names
        raw_name = self.loader.get_heatmap_visualizer_raw_vis_input_arg_name(name)
        shown = {n: np.abs(tensor) for n, tensor in batch.arguments(names, at).items()}
        raw = RawInputsForHeatmap(batch.arguments(names, at))
        arguments: dict[str, Any] = shown | ({raw_name: raw} if raw_name else {})
        return self.loader.run_heatmap_visualizer(
            name, np.array(batch.ids[:1]), batch.state, arguments
        )

    def run_latent_space(self, name: str, batch: Batch) -> np.ndarray:
        """Coordinates [shape=(batch, dimensions)] of a batch in a latent space."""
        arguments = batch.arguments(self.setup.custom_latent_spaces[name].arg_names)
        return self.loader.run_model_latent_space(name, np.array(batch.ids), batch.state, arguments)

    def simulate(self, parameters: Mapping[str, Any], ids: tuple[str, ...], seed: int) -> Batch:
        """Simulate a hearing loss, and keep of its samples what the platform keeps."""
        from code_loader.contract.enums import DataStateEnum

        self.loader.run_simulation(SIMULATION, dict(parameters), len(ids), seed, list(ids))
        return self.batch(DataStateEnum.additional, ids)

    def batch(self, state: Any, ids: tuple[str, ...]) -> Batch:
        """Encode samples, and let the model hear them."""
        encoded = [self.loader.get_sample(state, sample_id) for sample_id in ids]
        inputs = {name: np.stack([s.inputs[name] for s in encoded]) for name in encoded[0].inputs}
        truths = {name: np.stack([s.gt[name] for s in encoded]) for name in encoded[0].gt}
        if self.writes_on_its_own:
            chains = tuple(self.chain(state, sample_id) for sample_id in ids)
            return Batch(state, ids, inputs | truths, chains)
        predictions = self._session.run(None, inputs)
        return Batch(state, ids, inputs | truths | dict(zip(self._names, predictions, strict=True)))

    def chain(self, state: Any, sample_id: str, *, as_float16: bool = False) -> Chain:
        """Drive one chain to its end.

        Parameters
        ----------
        state : DataStateEnum
        sample_id : str
        as_float16 : bool
            Round every tensor on its way to what float16 holds.
        """
        step = self.loader.run_autoregressive_step
        kept = np.float16 if as_float16 else np.float32
        inputs, memory = step(sample_id, None, None, None, state)
        while True:
            fed = {name: tensor.astype(kept) for name, tensor in inputs.items()}
            batched = {name: tensor[None].astype(np.float32) for name, tensor in fed.items()}
            results = self._session.run(None, batched)
            outputs = {n: r[0].astype(kept) for n, r in zip(self._names, results, strict=True)}
            following, memory = step(sample_id, fed, outputs, memory, state)
            if following is None:
                return Chain(fed, outputs, memory)
            inputs = following

    @property
    def _metrics(self) -> list[Any]:
        handlers = (*self.setup.metrics, *self.setup.autoregressive_metrics)
        return [handler for handler in handlers if _is_ours(handler)]

    @property
    def _names(self) -> list[str]:
        return [prediction.name for prediction in self.setup.prediction_types]

    def _run_losses(self, batch: Batch) -> dict[str, np.ndarray]:
        setup = self.setup
        if self.writes_on_its_own:
            names = [h.custom_loss_handler_data.name for h in setup.autoregressive_losses]
            run = self.loader.run_autoregressive_loss
            return {name: np.array(_over_chains(run, name, batch)) for name in names}
        losses = [h.custom_loss_handler_data for h in setup.custom_loss_handlers if _is_ours(h)]
        ids = np.array(batch.ids)
        return {
            loss.name: self.loader.run_custom_loss(
                loss.name, ids, batch.state, batch.arguments(loss.arg_names)
            )
            for loss in losses
        }

    def _run_chain_metric(self, name: str, batch: Batch) -> dict[str, np.ndarray]:
        rows = _over_chains(self.loader.run_autoregressive_metric, name, batch)
        return {key: np.array([row[key] for row in rows], dtype=np.float32) for key in rows[0]}

    @cached_property
    def _session(self) -> Any:
        folder, mode = self.config.model_folder, self.config.mode
        if mode == "ctc":
            return open_session(folder)
        made = folder / f"{mode}.onnx"
        return open_session(made if made.is_file() else platform_graph(folder, mode))  # type: ignore[arg-type]


def _over_chains(run: Any, name: str, batch: Batch) -> list[Any]:
    return [
        run(name, chain.inputs, chain.outputs, chain.state, _rows(batch, row))
        for row, chain in enumerate(batch.chains)
    ]


def _rows(batch: Batch, row: int) -> dict[str, np.ndarray]:
    return {name: tensor[row] for name, tensor in batch.tensors.items()}


def _is_ours(handler: Any) -> bool:
    return handler.function.__module__.split(".")[0] == "hearing_analysis"
