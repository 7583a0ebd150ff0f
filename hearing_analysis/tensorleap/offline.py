"""The part of the platform that can be had offline: code-loader's own loader, and ONNX.

It keeps what the platform keeps of a sample and calls what the platform calls, batch by batch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from hearing_analysis.config import ROOT, AnalysisConfig
from hearing_analysis.samples import SampleSet
from models.wav2vec2 import open_session

ENTRY = "leap_binder.py"
CLIPS_PER_SPLIT = 3  # whose tensors and metadata are compared, each under every profile


@dataclass(frozen=True)
class Batch:
    """Some samples of one state: what the platform keeps of them.

    Attributes
    ----------
    state : DataStateEnum
    ids : tuple of str
    tensors : Mapping[str, np.ndarray]
        Inputs, ground truths and predictions by name, the batch axis first.
    """

    state: Any
    ids: tuple[str, ...]
    tensors: Mapping[str, np.ndarray]

    def part(self, rows: slice) -> "Batch":
        """Take some of the samples."""
        return Batch(self.state, self.ids[rows], {k: v[rows] for k, v in self.tensors.items()})

    def arguments(self, names: list[str], rows: slice | int = slice(None)) -> dict[str, np.ndarray]:
        """Tensors by the names of a function's arguments."""
        return {name: self.tensors[name][rows] for name in names}


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

    @cached_property
    def responses(self) -> dict[Any, Any]:
        """State -> what preprocessing returned for it."""
        self.loader.exec_script()
        return self.loader._preprocess_result()

    @property
    def samples(self) -> dict[Any, SampleSet]:
        """State -> all its samples."""
        return {state: response.data for state, response in self.responses.items()}

    @cached_property
    def batches(self) -> tuple[Batch, ...]:
        """The first clips of every state, each under every profile."""
        n_samples = CLIPS_PER_SPLIT * len(self.config.profiles)
        return tuple(
            self._batch(state, samples.ids[:n_samples]) for state, samples in self.samples.items()
        )

    @property
    def metric_names(self) -> list[str]:
        """Our metrics; code-loader has eight of its own."""
        return [h.metric_handler_data.name for h in self.setup.metrics if _is_ours(h)]

    @property
    def visualizer_names(self) -> list[str]:
        """Our visualizers; code-loader has some of its own."""
        return [h.visualizer_handler_data.name for h in self.setup.visualizers if _is_ours(h)]

    def run_metrics(self, batch: Batch) -> dict[str, np.ndarray]:
        """Column -> value per sample, over all our metrics and losses."""
        columns = {f"loss {name}": values for name, values in self._run_losses(batch).items()}
        for name in self.metric_names:
            for key, values in self.run_metric(name, batch).items():
                columns[name if key == name else f"{name}_{key}"] = values
        return columns

    def run_metric(self, name: str, batch: Batch) -> dict[str, np.ndarray]:
        """Key -> value per sample; a metric of a single value has its own name as key."""
        arguments = batch.arguments(self.loader.metric_by_name()[name].arg_names)
        result = self.loader.run_metric(name, np.array(batch.ids), batch.state, arguments)
        return result if isinstance(result, dict) else {name: result}

    def run_visualizer(self, name: str, batch: Batch, at: int | slice) -> Any:
        """Draw one sample, with a batch axis if ``at`` is a slice."""
        arguments = batch.arguments(self.loader.visualizer_by_name()[name].arg_names, at)
        return self.loader.run_visualizer(name, np.array(batch.ids[:1]), batch.state, arguments)

    def run_latent_space(self, name: str, batch: Batch) -> np.ndarray:
        """Coordinates [shape=(batch, dimensions)] of a batch in a latent space."""
        arguments = batch.arguments(self.setup.custom_latent_spaces[name].arg_names)
        return self.loader.run_model_latent_space(name, np.array(batch.ids), batch.state, arguments)

    def _run_losses(self, batch: Batch) -> dict[str, np.ndarray]:
        losses = [
            handler.custom_loss_handler_data
            for handler in self.setup.custom_loss_handlers
            if _is_ours(handler)
        ]
        ids = np.array(batch.ids)
        return {
            loss.name: self.loader.run_custom_loss(
                loss.name, ids, batch.state, batch.arguments(loss.arg_names)
            )
            for loss in losses
        }

    def _batch(self, state: Any, ids: tuple[str, ...]) -> Batch:
        encoded = [self.loader.get_sample(state, sample_id) for sample_id in ids]
        inputs = {name: np.stack([s.inputs[name] for s in encoded]) for name in encoded[0].inputs}
        truths = {name: np.stack([s.gt[name] for s in encoded]) for name in encoded[0].gt}
        names = [prediction.name for prediction in self.setup.prediction_types]
        predictions = self._session.run(None, inputs)
        return Batch(state, ids, inputs | truths | dict(zip(names, predictions, strict=True)))

    @cached_property
    def _session(self) -> Any:
        return open_session(self.config.model_folder)


def _is_ours(handler: Any) -> bool:
    return handler.function.__module__.split(".")[0] == "hearing_analysis"
