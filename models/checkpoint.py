"""A Hugging Face checkpoint folder as files: what family it is, and whether its weights are whole.

Needs neither torch nor tensorflow, and trusts nothing in the folder: JSON and safetensors are read,
pickles (``pytorch_model.bin``) only where the caller says so.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipeline.errors import InputError, MissingPathError

if TYPE_CHECKING:
    import onnxruntime

Family = Literal["wav2vec2", "hubert", "whisper"]
FAMILIES: dict[Family, str] = {
    "wav2vec2": "Wav2Vec2ForCTC",
    "hubert": "HubertForCTC",
    "whisper": "WhisperForConditionalGeneration",
}
ONNX_FILE = "model.onnx"
WEIGHTS, WEIGHTS_INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
LARGEST_HEADER = 100_000_000  # bytes; the limit of the safetensors library
HEADER_START = 8  # bytes of the header's length


@dataclass(frozen=True)
class Checkpoint:
    """A folder whose configuration has been read.

    Attributes
    ----------
    folder : Path
    family : {"wav2vec2", "hubert", "whisper"}
    config : dict
        What ``config.json`` holds.
    """

    folder: Path
    family: Family
    config: Mapping[str, Any]

    @property
    def architecture(self) -> str:
        """Name of the transformers class that the weights belong to."""
        return FAMILIES[self.family]


def open_checkpoint(folder: Path) -> Checkpoint:
    """Read what a checkpoint is.

    Raises
    ------
    MissingPathError
        If there is no such folder.
    InputError
        If ``config.json`` is missing or damaged, or names a model of another family or task.
    """
    folder = Path(folder)
    config = read_object(folder, "config.json")
    family = config.get("model_type")
    if family not in FAMILIES:
        known = ", ".join(repr(name) for name in FAMILIES)
        raise InputError(f"{folder} holds a model of type {family!r}; supported: {known}")
    architectures = config.get("architectures") or [FAMILIES[family]]
    if FAMILIES[family] not in architectures:
        raise InputError(
            f"{folder} holds a {', '.join(map(str, architectures))}, which does not write text; "
            f"supported: {', '.join(FAMILIES.values())}"
        )
    return Checkpoint(folder, family, config)


def check_weights(folder: Path, *, trust_pickle: bool = False) -> None:
    """Make sure that a folder holds weights, all of them, in a format that cannot run code.

    Raises
    ------
    InputError
        If there are none, a safetensors file is cut short or damaged, or there are pickles only and
        ``trust_pickle`` is false.
    """
    if (folder / WEIGHTS_INDEX).is_file():
        for name in sorted(set(_index(folder).values())):
            check_safetensors(folder / name)
    elif (folder / WEIGHTS).is_file():
        check_safetensors(folder / WEIGHTS)
    else:
        _check_pickle(folder, trust_pickle)


def weight_files(folder: Path) -> dict[Path, dict[str, Any]]:
    """Every safetensors file of a folder, with its header.

    Raises
    ------
    InputError
        As :func:`check_weights`.
    """
    if (folder / WEIGHTS_INDEX).is_file():
        names = sorted(set(_index(folder).values()))
    elif (folder / WEIGHTS).is_file():
        names = [WEIGHTS]
    else:
        raise InputError(f"{folder} lacks {WEIGHTS}; take it from the model's repository")
    return {folder / name: check_safetensors(folder / name) for name in names}


def check_safetensors(path: Path) -> dict[str, Any]:
    """Read the header of a safetensors file, and make sure that the file holds what it announces.

    Returns
    -------
    dict
        ``dtype``, ``shape`` and ``data_offsets`` (bytes from the end of the header) per tensor.

    Raises
    ------
    InputError
        If the file is missing, cut short, or no safetensors file.
    """
    if not path.is_file():
        raise InputError(f"{path} is missing, though the index names it; download it again")
    n_bytes = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(HEADER_START), "little")
        if n_bytes < HEADER_START or length > LARGEST_HEADER:
            raise InputError(f"{path} is no safetensors file; download it again")
        header = file.read(length)
    try:
        tensors = {name: entry for name, entry in json.loads(header).items() if name[:2] != "__"}
        announced = max((int(entry["data_offsets"][1]) for entry in tensors.values()), default=0)
    except (
        *(ValueError, TypeError, AttributeError, KeyError, IndexError),
        RecursionError,
    ) as error:
        raise InputError(
            f"the header of {path} is damaged ({type(error).__name__}); download it again"
        ) from error
    missing = HEADER_START + length + announced - n_bytes
    if missing > 0:
        raise InputError(
            f"{path} is cut short: {missing:,} of {n_bytes + missing:,} bytes are missing; "
            "download it again"
        )
    return tensors


def open_session(
    folder_or_onnx: Path, *, num_threads: int | None = None
) -> "onnxruntime.InferenceSession":
    """Open a model for inference on the CPU.

    Parameters
    ----------
    folder_or_onnx : Path
        A checkpoint folder that holds ``model.onnx``, or an ONNX file.
    num_threads : int, optional
        Threads per operator; all cores unless given.

    Raises
    ------
    MissingPathError, InputError
        If the file does not exist, or is not an ONNX model.
    """
    import onnxruntime

    path = Path(folder_or_onnx)
    path = path / ONNX_FILE if path.is_dir() else path
    if not path.is_file():
        raise MissingPathError(f"{path} does not exist; make it with: models export {path.parent}")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if num_threads is not None:
        options.intra_op_num_threads = num_threads
    try:
        return onnxruntime.InferenceSession(
            str(path), sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's own exceptions share no base class
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path} is not a model that ONNX Runtime opens ({reason}); export it again"
        ) from error


def read_object(folder: Path, name: str) -> dict[str, Any]:
    """Read a JSON file of a folder that must hold an object.

    Raises
    ------
    MissingPathError, InputError
        If there is no such folder, or no such file in it, or it holds something else.
    """
    if not folder.is_dir():
        raise MissingPathError(f"{folder} is not a folder; name a Hugging Face checkpoint folder")
    try:
        value = json.loads((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{folder} lacks {name}; take it from the model's repository") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{folder}/{name} cannot be read as JSON ({error})") from error
    if not isinstance(value, dict):
        raise InputError(f"{folder}/{name} holds {type(value).__name__}, not a JSON object")
    return value


def _index(folder: Path) -> dict[str, str]:
    """Which file holds which tensor; names of files in the folder only."""
    files = read_object(folder, WEIGHTS_INDEX).get("weight_map")
    if not isinstance(files, dict) or not all(
        isinstance(name, str) and Path(name).name == name for name in files.values()
    ):
        raise InputError(
            f"{folder}/{WEIGHTS_INDEX} names no files of this folder; download it again"
        )
    return files


def _check_pickle(folder: Path, trust_pickle: bool) -> None:
    pickles = [name for name in PICKLES if (folder / name).is_file()]
    if not pickles:
        raise InputError(f"{folder} holds no weights: it lacks {WEIGHTS}")
    if not trust_pickle:
        raise InputError(
            f"{folder} has its weights in {pickles[0]}, a pickle that can run code when it is "
            "read; give --trust-pickle if you trust its source"
        )
