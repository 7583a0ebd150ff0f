"""Write the files of an export where they belong: all of them, checked, or none."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from models.checkpoint import open_checkpoint
from models.hub import find_checkpoint, is_hub_name
from models.parity import Parity
from pipeline.corpus import explain_full_disk
from pipeline.errors import InputError

Format = Literal["onnx", "h5", "keras"]
FORMATS: tuple[Format, ...] = ("onnx", "h5", "keras")
OPSET = 17
# What a preprocessor or a tokenizer reads.
COMPANIONS = (
    *("config.json", "preprocessor_config.json", "generation_config.json", "normalizer.json"),
    *("tokenizer_config.json", "tokenizer.json", "vocab.json", "merges.txt"),
    *("special_tokens_map.json", "added_tokens.json"),
)


@dataclass(frozen=True)
class ExportSettings:
    """What decides the files.

    Attributes
    ----------
    window_seconds : float
        Length of the input of wav2vec2 and HuBERT; a Whisper's is its ``chunk_length``.
    positions : int, optional
        Tokens that a Whisper's graph takes; all that its decoder can unless given.
    steps : bool
        Write a Whisper's ``encoder.onnx`` and ``decoder.onnx`` too.
    opset : int
        ONNX operator set.
    dynamic_length : bool
        Leave the time axis of wav2vec2 and HuBERT free too; converters to Keras may refuse such a
        file.
    trust_pickle : bool
        Load weights from ``pytorch_model.bin`` where there are no safetensors.
    """

    window_seconds: float = 8.0
    positions: int | None = None
    steps: bool = True
    opset: int = OPSET
    dynamic_length: bool = False
    trust_pickle: bool = False


@dataclass(frozen=True)
class ExportReport:
    """What was written.

    Attributes
    ----------
    path : Path
        The model that the platform takes.
    files : tuple of Path
        All files, that one first.
    n_bytes : int
        Of the model, and of weights beside it if it was too large for one file.
    opset : int, optional
        ONNX operator set.
    parity : Parity
        How far it is from torch.
    """

    path: Path
    files: tuple[Path, ...]
    n_bytes: int
    opset: int | None
    parity: Parity

    def __str__(self) -> str:
        opset = f", opset {self.opset}" if self.opset else ""
        beside = [path.name for path in self.files[1:]]
        lines = [f"{self.path}: {self.n_bytes:,} bytes{opset}", str(self.parity)]
        return "\n".join(lines + [f"beside it: {', '.join(beside)}"] * bool(beside))

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON has it."""
        return {
            "path": str(self.path),
            "files": [str(path) for path in self.files],
            "bytes": self.n_bytes,
            "opset": self.opset,
            "parity": asdict(self.parity),
        }


def export_checkpoint(
    checkpoint: str,
    output: Path | None = None,
    *,
    format_: Format | None = None,
    settings: ExportSettings | None = None,
) -> ExportReport:
    """Write a checkpoint as the platform takes it.

    wav2vec2 and HuBERT: input_values -> logits, hidden_states. Whisper: input_features,
    decoder_input_ids -> logits, encoder_hidden_states; and beside it two graphs that keep what they
    know between steps.

    Parameters
    ----------
    checkpoint : str
        A Hugging Face folder, or a name on the hub.
    output : Path, optional
        A file, or a folder that also gets what a preprocessor reads. The checkpoint's folder unless
        given.
    format_ : {"onnx", "h5", "keras"}, optional
        As ``output`` ends, or ONNX, unless given.
    settings : ExportSettings, optional

    Raises
    ------
    MissingPathError, InputError
        If the checkpoint is missing, damaged or of another family, or the settings do not suit it.
    CheckFailed
        If what was written and torch disagree; nothing is kept then.
    """
    settings = settings or ExportSettings()
    target_format = _format(output, format_)
    if output is None and is_hub_name(checkpoint):
        raise InputError(f"say where to write the export of {checkpoint}: a folder, or a file")
    folder = find_checkpoint(checkpoint, trust_pickle=settings.trust_pickle)
    source = open_checkpoint(folder)
    target = _target(folder, output, target_format)
    with _draft_beside(target) as draft:
        # Only one of torch and TensorFlow can be in a process.
        if target_format == "onnx":
            from models.export.onnx_format import write_onnx

            opset: int | None = settings.opset
            parity, names = write_onnx(source, draft, target.name, settings)
        else:
            from models.export.keras_format import write_keras

            opset = None
            parity, names = write_keras(source, draft, target.name, settings)
        files = _move(draft, target.parent, names)
    if output is not None and target != output:
        with explain_full_disk(target.parent):
            _copy_companions(folder, target.parent)
    n_bytes = sum(path.stat().st_size for path in files if path.name.startswith(target.name))
    return ExportReport(target, files, n_bytes, opset, parity)


def export_onnx(
    checkpoint: Path,
    output: Path | None = None,
    *,
    window_seconds: float = 8.0,
    positions: int | None = None,
    steps: bool = True,
    opset: int = OPSET,
    dynamic_length: bool = False,
    trust_pickle: bool = False,
) -> ExportReport:
    """Write a checkpoint as ONNX: :func:`export_checkpoint` with its settings spelt out."""
    settings = ExportSettings(window_seconds, positions, steps, opset, dynamic_length, trust_pickle)
    return export_checkpoint(str(checkpoint), output, format_="onnx", settings=settings)


def _format(output: Path | None, given: Format | None) -> Format:
    ending = output.suffix.removeprefix(".") if output else ""
    for known in FORMATS:
        if known == ending and given not in (None, known):
            raise InputError(f"{output} ends as a file of --format {known}, and not of {given}")
        if known == ending:
            return known
    return given or "onnx"


def _target(folder: Path, output: Path | None, format_: Format) -> Path:
    if output is not None and output.suffix == f".{format_}" and not output.is_dir():
        return output
    return (output or folder) / f"model.{format_}"


@contextmanager
def _draft_beside(target: Path) -> Iterator[Path]:
    """Make a folder for drafts, beside the target: within a file system, a file can be renamed."""
    draft = target.parent / f".export-{target.name}.tmp"
    with explain_full_disk(target.parent):
        shutil.rmtree(draft, ignore_errors=True)  # of a run that was killed
        draft.mkdir(parents=True)
        try:
            yield draft
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _move(draft: Path, folder: Path, names: list[str]) -> tuple[Path, ...]:
    """Rename drafts to what they are, weights before the graphs that refer to them."""
    data = sorted(path.name for path in draft.iterdir() if path.name not in names)
    for name in (*data, *names):
        (draft / name).replace(folder / name)
    for name in names:  # weights of an earlier, larger export
        if f"{name}.data" not in data:
            (folder / f"{name}.data").unlink(missing_ok=True)
    return tuple(folder / name for name in (*names, *data))


def _copy_companions(source: Path, folder: Path) -> None:
    for name in COMPANIONS:
        if (source / name).is_file() and source.resolve() != folder.resolve():
            shutil.copyfile(source / name, folder / name)
