"""Whether two networks compute the same: on noise, and on speech."""

from dataclasses import dataclass

import numpy as np

from pipeline.errors import CheckFailed

ONNX_TOLERANCE = 1e-4  # largest difference between ONNX Runtime and torch, both in float32
KERAS_TOLERANCE = 1e-3  # TensorFlow sums in another order


@dataclass(frozen=True)
class Parity:
    """How far a network is from torch.

    Attributes
    ----------
    noise : float
        Largest absolute difference of any output on noise.
    speech : float, optional
        The same on clips of speech; None where there are none to try.
    n_clips : int
    same_choices : bool, optional
        Whether the most probable token is the same at every place of those clips.
    """

    noise: float
    speech: float | None = None
    n_clips: int = 0
    same_choices: bool | None = None

    @property
    def difference(self) -> float:
        """Largest of all."""
        return self.noise if self.speech is None else max(self.noise, self.speech)

    def __str__(self) -> str:
        text = f"largest difference from torch {self.noise:.1e} on noise"
        if self.speech is None:
            return text
        choices = "every" if self.same_choices else "not every"
        return (
            f"{text}, {self.speech:.1e} on {self.n_clips} clips of speech, {choices} most probable "
            "token the same"
        )


def largest_difference(found: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """Largest absolute difference of two lists of outputs; NaN if there is one in any.

    Raises
    ------
    CheckFailed
        If their shapes differ.
    """
    differences = []
    for ours, theirs in zip(found, expected, strict=True):
        if ours.shape != theirs.shape:
            raise CheckFailed(f"shape {ours.shape} where torch has {theirs.shape}")
        differences.append(float(np.abs(ours - theirs).max(initial=0.0)))
    return float(np.max(differences))  # unlike `max`, it does not overlook a NaN


def same_choices(found: np.ndarray, expected: np.ndarray, counted: np.ndarray) -> bool:
    """Whether the most probable token is the same wherever it counts.

    Parameters
    ----------
    found, expected : np.ndarray [shape=(clips, n, vocabulary)]
        Logits.
    counted : np.ndarray [shape=(clips, n), dtype=bool]
    """
    same = found.argmax(axis=2) == expected.argmax(axis=2)
    return bool(same[counted].all())


def require(parity: Parity, tolerance: float, what: str) -> None:
    """Refuse a network that computes something else.

    Raises
    ------
    CheckFailed
        If it differs by more than ``tolerance``, or chooses another token anywhere.
    """
    if not parity.difference <= tolerance:
        raise CheckFailed(
            f"{what} and torch differ by {parity.difference:.2e}, more than {tolerance:.0e}"
        )
    if parity.same_choices is False:
        raise CheckFailed(f"{what} and torch do not agree on the most probable token in speech")
