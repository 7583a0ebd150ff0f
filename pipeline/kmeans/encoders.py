"""Frames from the inside of a speech encoder: HuBERT, wav2vec2, WavLM, Whisper.

Layers count as in fairseq's dump_hubert_feature.py: ``layer`` 1 is the output of the first
transformer block, without the normalisation that some models put behind the last. Checkpoints are
Hugging Face folders on this machine; nothing is fetched, and no code of theirs is run.
"""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.audio import SAMPLING_RATE
from pipeline.corpus import files_digest, read_json
from pipeline.errors import ClipError, InputError, MissingPathError

if TYPE_CHECKING:
    import torch

WAVEFORM_MODELS = ("hubert", "wav2vec2", "wavlm", "unispeech", "unispeech-sat", "data2vec-audio")
MAX_CHUNK = 1_600_000  # samples, 100 s
LAYER_NORM_EPSILON = 1e-5  # of torch's layer_norm, which fairseq normalises clips with
WHISPER_SAMPLES_PER_FRAME = 320
CHECKPOINT_FILES = (
    *("config.json", "preprocessor_config.json", "model.safetensors"),
    *("model.safetensors.index.json", "pytorch_model.bin"),
)


@dataclass(frozen=True)
class WaveformEncoder:
    """A transformer block of HuBERT, wav2vec2 or WavLM: 50 frames a second.

    Attributes
    ----------
    checkpoint : Path
    layer : int
        From 1.
    max_chunk : int
        Samples that go through the model at once; what is longer is cut, as fairseq cuts it.
    device : str
        As torch names it.
    """

    checkpoint: Path
    layer: int
    max_chunk: int = MAX_CHUNK
    device: str = "cpu"
    sampling_rate: int = SAMPLING_RATE

    def __post_init__(self) -> None:
        """Refuse a checkpoint of another kind, or a layer it has not."""
        config = read_config(self.checkpoint)
        _check_kind(self.checkpoint, config, WAVEFORM_MODELS, "hubert")
        _check_layer(self.checkpoint, self.layer, config.get("num_hidden_layers"))
        if self.max_chunk < self.shortest:
            raise InputError(
                f"--max-chunk {self.max_chunk} is less than the {self.shortest} samples that one "
                "frame takes; give more"
            )

    @property
    def n_dims(self) -> int:
        """Width of the transformer."""
        return int(read_config(self.checkpoint)["hidden_size"])

    @property
    def shortest(self) -> int:
        """Samples that the convolutions need for one frame."""
        config = read_config(self.checkpoint)
        length = 1
        for kernel, stride in reversed(
            list(zip(config["conv_kernel"], config["conv_stride"], strict=True))
        ):
            length = (length - 1) * stride + kernel
        return length

    @functools.cached_property
    def normalizes(self) -> bool:
        """Whether clips are brought to zero mean and unit variance."""
        config = read_config(self.checkpoint)
        described = read_json(self.checkpoint / "preprocessor_config.json")
        return bool(described.get("do_normalize", config.get("feat_extract_norm") == "layer"))

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the values."""
        return {
            "kind": "hubert",
            "checkpoint_digest": files_digest(self.checkpoint, CHECKPOINT_FILES),
            "layer": self.layer,
            "max_chunk": self.max_chunk,
            "frames_per_second": 50,
        }

    def features(self, waveform: np.ndarray) -> np.ndarray:
        """Frames of a clip.

        Raises
        ------
        ClipError
            If it is shorter than one frame.
        """
        import torch

        if len(waveform) < self.shortest:
            raise ClipError(f"{len(waveform)} samples are fewer than one frame's {self.shortest}")
        model, block = _waveform_model(self.checkpoint, self.layer, self.device)
        samples = normalize(waveform) if self.normalizes else waveform
        with torch.inference_mode():
            chunks = [
                _output_of(block, model, torch.from_numpy(chunk[None]).to(self.device))
                for chunk in cut(samples, self.max_chunk, self.shortest)
            ]
        return np.concatenate(chunks)


@dataclass(frozen=True)
class WhisperEncoder:
    """A transformer block of Whisper's encoder: 50 frames a second, in windows of 30 s.

    Attributes
    ----------
    checkpoint, layer, device
        As of :class:`WaveformEncoder`.
    """

    checkpoint: Path
    layer: int
    device: str = "cpu"
    sampling_rate: int = SAMPLING_RATE

    def __post_init__(self) -> None:
        """Refuse a checkpoint of another kind, or a layer it has not."""
        config = read_config(self.checkpoint)
        _check_kind(self.checkpoint, config, ("whisper",), "whisper")
        _check_layer(self.checkpoint, self.layer, config.get("encoder_layers"))

    @property
    def n_dims(self) -> int:
        """Width of the encoder."""
        return int(read_config(self.checkpoint)["d_model"])

    @property
    def window(self) -> int:
        """Samples the encoder sees at once."""
        positions = read_config(self.checkpoint).get("max_source_positions", 1500)
        return int(positions) * WHISPER_SAMPLES_PER_FRAME

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the values."""
        return {
            "kind": "whisper",
            "checkpoint_digest": files_digest(self.checkpoint, CHECKPOINT_FILES),
            "layer": self.layer,
            "frames_per_second": 50,
        }

    def features(self, waveform: np.ndarray) -> np.ndarray:
        """Frames of a clip; those that see nothing but padding are left out.

        Raises
        ------
        ClipError
            If it is shorter than one frame.
        """
        import torch

        if len(waveform) < WHISPER_SAMPLES_PER_FRAME:
            raise ClipError(
                f"{len(waveform)} samples are fewer than one frame's {WHISPER_SAMPLES_PER_FRAME}"
            )
        model, block, extractor = _whisper_model(self.checkpoint, self.layer, self.device)
        frames = []
        with torch.inference_mode():
            for chunk in cut(waveform, self.window, 1):
                mel = extractor(chunk, sampling_rate=self.sampling_rate, return_tensors="pt")
                output = _output_of(block, model, mel["input_features"].to(self.device))
                frames.append(output[: -(-len(chunk) // WHISPER_SAMPLES_PER_FRAME)])
        return np.concatenate(frames)


def normalize(waveform: np.ndarray) -> np.ndarray:
    """Bring a clip to zero mean and unit variance, as ``layer_norm`` over all of it does."""
    centred = waveform - waveform.mean(dtype=np.float64)
    scale = np.sqrt(np.mean(centred**2) + LAYER_NORM_EPSILON)
    return np.asarray(centred / scale, np.float32)


def cut(waveform: np.ndarray, longest: int, shortest: int) -> list[np.ndarray]:
    """Cut a clip into chunks; a rest too short for one frame goes with the chunk before it."""
    starts = list(range(0, len(waveform), longest))
    if len(starts) > 1 and len(waveform) - starts[-1] < shortest:
        starts.pop()
    return np.split(waveform, starts[1:])


@functools.cache
def read_config(checkpoint: Path) -> dict[str, Any]:
    """What a checkpoint says of itself.

    Raises
    ------
    MissingPathError, InputError
        If it is not there, or not a checkpoint.
    """
    path = checkpoint / "config.json"
    if not path.is_file():
        raise MissingPathError(
            f"{checkpoint} is no Hugging Face checkpoint folder ({path} is missing); "
            "give one such as models/mini-wav2vec2"
        )
    return read_json(path)


def choose_device(device: str) -> str:
    """Take the device that was asked for, or for ``auto`` the best there is.

    Raises
    ------
    InputError
        If torch has no such device here.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {device!r} is not usable here; give cpu, or auto") from error
    return device


def _check_kind(
    checkpoint: Path, config: dict[str, Any], kinds: tuple[str, ...], command: str
) -> None:
    if config.get("model_type") not in kinds:
        raise InputError(
            f"{checkpoint} holds a model of type {config.get('model_type')!r}; "
            f"`pipeline kmeans {command}` takes: {', '.join(kinds)}"
        )


def _check_layer(checkpoint: Path, layer: int, n_layers: Any) -> None:
    if not isinstance(n_layers, int) or not 1 <= layer <= n_layers:
        raise InputError(f"{checkpoint} has no layer {layer}; it has 1 to {n_layers}")


@functools.cache
def _waveform_model(checkpoint: Path, layer: int, device: str) -> "tuple[Any, Any]":
    from transformers import AutoModel

    model = _load(AutoModel, checkpoint, device)
    # Blocks above the wanted one would be computed for nothing.
    model.encoder.layers = model.encoder.layers[:layer]
    return model, model.encoder.layers[layer - 1]


@functools.cache
def _whisper_model(checkpoint: Path, layer: int, device: str) -> "tuple[Any, Any, Any]":
    from transformers import WhisperFeatureExtractor, WhisperModel

    encoder = _load(WhisperModel, checkpoint, device).encoder
    encoder.layers = encoder.layers[:layer]
    config = read_config(checkpoint)
    seconds = config.get("max_source_positions", 1500) * WHISPER_SAMPLES_PER_FRAME // SAMPLING_RATE
    extractor = WhisperFeatureExtractor(config.get("num_mel_bins", 80), chunk_length=seconds)
    return encoder, encoder.layers[layer - 1], extractor


def _load(kind: Any, checkpoint: Path, device: str) -> Any:
    import torch
    import transformers

    transformers.logging.set_verbosity_error()  # of weights that a headless model does not use
    transformers.logging.disable_progress_bar()
    if device == "cpu":
        torch.set_num_threads(1)  # ranks run side by side, and sums round alike however many do
    try:
        # Weights that are a pickle are read by torch with weights_only, which runs no code.
        model = kind.from_pretrained(checkpoint, local_files_only=True)
    except Exception as error:  # of torch, of safetensors, of transformers: each has its own
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"{checkpoint} cannot be loaded ({reason}); give a folder with config.json and weights"
        ) from error
    return model.eval().to(device)


def _output_of(block: Any, model: Any, inputs: "torch.Tensor") -> np.ndarray:
    """What a block gives out when the model is run: float32 [shape=(n_frames, n_dims)]."""
    caught: list[Any] = []
    hook = block.register_forward_hook(lambda module, arguments, output: caught.append(output))
    try:
        model(inputs)
    finally:
        hook.remove()
    output = caught[0][0] if isinstance(caught[0], tuple) else caught[0]
    frames = output.reshape(-1, output.shape[-1]).float().cpu().numpy()
    return np.asarray(frames, np.float32)
