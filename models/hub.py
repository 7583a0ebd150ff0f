"""Where a checkpoint is: a folder, or a name on the Hugging Face hub."""

import re
from pathlib import Path

from models.checkpoint import PICKLES, WEIGHTS, WEIGHTS_INDEX
from pipeline.errors import InputError, MissingPathError

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
TEXTS = ("*.json", "merges.txt")
SAFETENSORS = (WEIGHTS, "model-*-of-*.safetensors")
PICKLED = ("pytorch_model.bin", "pytorch_model-*-of-*.bin")


def is_hub_name(name: str) -> bool:
    """Whether a checkpoint has to come from the hub: there is no such folder, but it reads so."""
    return not Path(name).exists() and HUB_NAME.fullmatch(name) is not None


def find_checkpoint(name: str, *, trust_pickle: bool = False) -> Path:
    """Find the folder of a checkpoint, fetching it from the hub if there is no such folder.

    From the hub come configuration, tokenizer and safetensors; pickles only where there is nothing
    else and ``trust_pickle`` is true. Repeated, it costs one question to the hub.

    Parameters
    ----------
    name : str
        A folder, or a name such as ``facebook/wav2vec2-base-960h``.
    trust_pickle : bool

    Raises
    ------
    MissingPathError
        If it is neither.
    InputError
        If the hub cannot be reached, does not have it, or has it as a pickle only.
    """
    folder = Path(name)
    if folder.exists():
        return folder
    if not is_hub_name(name):
        raise MissingPathError(
            f"{name} is not a folder; name a Hugging Face checkpoint folder, or a model of the hub "
            "such as facebook/wav2vec2-base-960h"
        )
    from huggingface_hub import HfApi, snapshot_download

    try:
        files = set(HfApi().list_repo_files(name))
        weights = _weights(name, files, trust_pickle)
        return Path(snapshot_download(name, allow_patterns=[*TEXTS, *weights]))
    except InputError:
        raise
    except Exception as error:  # of the network, of the hub, of its cache: they share no base class
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(
            f"{name} is no folder here, and the Hugging Face hub does not give it ({reason}); "
            "download it where there is a network, and name the folder"
        ) from error


def _weights(name: str, files: set[str], trust_pickle: bool) -> tuple[str, ...]:
    if files & {WEIGHTS, WEIGHTS_INDEX}:
        return SAFETENSORS
    if not files & set(PICKLES):
        raise InputError(f"{name} on the Hugging Face hub has no weights for torch")
    if not trust_pickle:
        raise InputError(
            f"{name} has its weights in pytorch_model.bin, a pickle that can run code when it is "
            "read; give --trust-pickle if you trust its source"
        )
    return PICKLED
