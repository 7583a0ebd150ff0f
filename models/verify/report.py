"""What is known about an exported model, for people and as JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from models.parity import ONNX_TOLERANCE, Parity, require
from pipeline.errors import CheckFailed


@dataclass(frozen=True)
class Tensor:
    """An input or output.

    Attributes
    ----------
    name : str
    dtype : str
        As numpy calls it.
    shape : tuple of int or str
        A name or "batch" where the size is free.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} ({', '.join(map(str, self.shape))})"


@dataclass(frozen=True)
class Transcription:
    """How well a model recognises a corpus.

    Attributes
    ----------
    corpus, split : str
    clips : int
        Transcribed; clips without words in their sentence are left out.
    words, errors : int
        Of the references; substitutions, deletions and insertions.
    wer, cer : float
        Ratios of sums.
    wer_by_domain : mapping of str to float
        The same for every ``sentence_domain``, if the corpus has them.
    """

    corpus: str
    split: str
    clips: int
    words: int
    errors: int
    wer: float
    cer: float
    wer_by_domain: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class VerifyReport:
    """An exported model, looked at and tried.

    Attributes
    ----------
    path : Path
    family : str
    n_bytes : int
        With weights beside it.
    opset, ir_version : int, optional
        Of ONNX.
    inputs, outputs : tuple of Tensor
    operators : mapping of str to int
        How often each ONNX operator, or Keras layer, is there.
    unconvertible : tuple of str
        Operators that the platform's converter lacks, and what else stands against it.
    parity : Parity, optional
        With the checkpoint; None if there is none.
    tolerance : float
        What it is judged by.
    real_time_factor : mapping of int to float
        Seconds of computation per second of audio, by batch size.
    transcription : Transcription, optional
        None if there is no corpus.
    """

    path: Path
    family: str
    n_bytes: int
    opset: int | None
    ir_version: int | None
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    operators: Mapping[str, int]
    unconvertible: tuple[str, ...]
    parity: Parity | None
    real_time_factor: Mapping[int, float]
    transcription: Transcription | None
    tolerance: float = ONNX_TOLERANCE

    def require(self) -> None:
        """Refuse a model that is not what it should be.

        Raises
        ------
        CheckFailed
            If it computes something else than its checkpoint, or cannot be converted.
        """
        if self.unconvertible:
            raise CheckFailed(
                f"{self.path} does not suit the platform's converter: "
                f"{'; '.join(self.unconvertible)}; export it again with `models export`"
            )
        if self.parity is not None:
            require(self.parity, self.tolerance, str(self.path))

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON has it."""
        values = asdict(self)
        values["path"] = str(self.path)
        values["bytes"] = values.pop("n_bytes")
        values["real_time_factor"] = {str(n): x for n, x in self.real_time_factor.items()}
        return values

    def __str__(self) -> str:
        version = f", opset {self.opset}, IR {self.ir_version}" if self.opset else ""
        kinds = sorted(self.operators.items(), key=lambda item: (-item[1], item[0]))
        factors = (f"{x:.3f} at batch {n}" for n, x in self.real_time_factor.items())
        lines = [
            f"{self.path}: {self.family}, {self.n_bytes:,} bytes{version}",
            *(f"input      {tensor}" for tensor in self.inputs),
            *(f"output     {tensor}" for tensor in self.outputs),
            f"operators  {', '.join(f'{n} {kind}' for kind, n in kinds)}",
            f"converter  {'; '.join(self.unconvertible) or 'nothing against it'}",
            f"parity     {self.parity or 'no checkpoint to compare with; give --checkpoint'}",
            f"real time  {', '.join(factors)} (seconds per second of audio)",
            f"speech     {self._heard()}",
        ]
        return "\n".join(lines)

    def _heard(self) -> str:
        heard = self.transcription
        if heard is None:
            return (
                "no corpus to transcribe; make data/demo_normal with `make demo`, or give --corpus"
            )
        domains = "".join(f"\n           {wer:.2%} {n}" for n, wer in heard.wer_by_domain.items())
        return (
            f"WER {heard.wer:.2%}, CER {heard.cer:.2%} on {heard.clips} clips of {heard.corpus} "
            f"{heard.split}{domains}"
        )
