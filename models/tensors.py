"""Weights of a checkpoint, read tensor by tensor from safetensors, with numpy alone."""

from pathlib import Path

import numpy as np

from models.checkpoint import HEADER_START, weight_files
from pipeline.errors import InputError

DTYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16}
BFLOAT16 = "BF16"  # the upper half of a float32


class StoredTensors:
    """The tensors of a checkpoint folder by name, each read when it is asked for.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    InputError
        If there are no safetensors, or they are damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._places = {
            name: (path, entry)
            for path, tensors in weight_files(folder).items()
            for name, entry in tensors.items()
        }

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def __getitem__(self, name: str) -> np.ndarray:
        """One tensor: float32.

        Raises
        ------
        InputError
            If there is none of that name, or it holds no floating-point numbers.
        """
        if name not in self._places:
            raise InputError(
                f"the weights in {self._folder} lack {name}; take the checkpoint that was "
                "fine-tuned to write text"
            )
        path, entry = self._places[name]
        start, stop = entry["data_offsets"]
        with path.open("rb") as file:
            header = int.from_bytes(file.read(HEADER_START), "little")
            file.seek(HEADER_START + header + start)
            content = file.read(stop - start)
        try:
            return _floats(content, entry["dtype"]).reshape(entry["shape"])
        except (KeyError, ValueError) as error:
            raise InputError(
                f"{path} holds {name} as {entry['dtype']} of shape {entry['shape']} in "
                f"{len(content)} bytes, which cannot be read; download it again"
            ) from error


def _floats(content: bytes, dtype: str) -> np.ndarray:
    if dtype == BFLOAT16:
        upper = np.frombuffer(content, dtype="<u2").astype(np.uint32)
        return (upper << 16).view(np.float32)
    return np.frombuffer(content, dtype=DTYPES[dtype]).astype(np.float32)
