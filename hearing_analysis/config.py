"""What is analysed: one frozen object, read from ``conf/analysis.yaml``.

The file travels inside the Tensorleap bundle, because environment variables do not.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import yaml

from pipeline.audio import SAMPLING_RATE
from pipeline.errors import InputError, MissingPathError

ROOT = Path(__file__).resolve().parents[1]
BUNDLED_CONFIG = ROOT / "conf" / "analysis.yaml"
CONFIG_VARIABLE = "HEARING_ANALYSIS_CONFIG"  # names another file, for tests and experiments

MODES = ("ctc",)
STATES = ("training", "validation", "test")
# The platform stores tensors as float16, which counts in ones no further than this.
LARGEST_EXACT_INTEGER = 2048

_T = TypeVar("_T")


@dataclass(frozen=True)
class SplitNames:
    """Which split of the corpus each state of the platform shows.

    Attributes
    ----------
    training, validation : str
    test : str or None
        None if the corpus has no such split.
    """

    training: str = "train"
    validation: str = "validation"
    test: str | None = "test"

    def __post_init__(self) -> None:
        """Refuse what is not the name of a split."""
        for state, split in self.by_state().items():
            _check_type(f"splits.{state}", split, str)
        if None in (self.training, self.validation):
            raise InputError("splits needs training and validation; the platform asks for both")

    def by_state(self) -> dict[str, str]:
        """State -> split, in the platform's order, without those that are absent."""
        return {state: getattr(self, state) for state in STATES if getattr(self, state) is not None}


@dataclass(frozen=True)
class AnalysisConfig:
    """Everything the analysis can be told.

    Attributes
    ----------
    mode : {'ctc'}
        How the model is driven.
    data_root : str
        The variants are ``<data_root>_<profile>/dataset``.
    profiles : tuple of str
        Hearing profiles, in the order in which a clip's samples appear.
    model : str
        Hugging Face folder with ``model.onnx`` inside.
    window_seconds : float
        Length of the model's input; longer clips are cut, shorter ones padded.
    max_label_length : int
        Characters of the longest normalised sentence.
    splits : SplitNames
    samples_per_split : int or None
        Clips taken of each split, each of them under every profile; None for all.
    seed : int
        Decides which clips, when there are more.

    Raises
    ------
    InputError
        If a value cannot be used.
    """

    mode: str = "ctc"
    data_root: str = "data/demo"
    profiles: tuple[str, ...] = ("normal", "lfloss", "hfloss")
    model: str = "models/mini-wav2vec2"
    window_seconds: float = 6.0
    max_label_length: int = 160
    splits: SplitNames = field(default_factory=SplitNames)
    samples_per_split: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be used."""
        for name in ("mode", "data_root", "model"):
            _check_type(name, getattr(self, name), str)
        if self.mode not in MODES:
            raise InputError(f"unknown mode {self.mode!r}; the known ones are: {', '.join(MODES)}")
        self._check_profiles()
        _check_type("window_seconds", self.window_seconds, float, int)
        if not 0 < self.window_seconds < float("inf"):
            raise InputError(f"window_seconds must be above 0, got {self.window_seconds}")
        _check_range("max_label_length", self.max_label_length, 1, LARGEST_EXACT_INTEGER)
        if self.samples_per_split is not None:
            _check_range("samples_per_split", self.samples_per_split, 1)
        _check_range("seed", self.seed, 0)

    @property
    def n_samples(self) -> int:
        """Audio samples in the window, at 16 kHz."""
        return round(self.window_seconds * SAMPLING_RATE)

    @property
    def model_folder(self) -> Path:
        """Where the model is."""
        return ROOT / self.model

    def variant_folder(self, profile: str) -> Path:
        """Where the corpus filtered through one profile is."""
        return ROOT / f"{self.data_root}_{profile}"

    def _check_profiles(self) -> None:
        _check_type("profiles", self.profiles, tuple)
        for profile in self.profiles:
            _check_type("profiles", profile, str)
        if not self.profiles or len(set(self.profiles)) < len(self.profiles):
            raise InputError(f"profiles must be named once each, got {list(self.profiles)}")


def load_config(path: Path | None = None) -> AnalysisConfig:
    """Read a configuration file.

    Parameters
    ----------
    path : Path, optional
        By default the file that ``HEARING_ANALYSIS_CONFIG`` names, or else the bundled
        ``conf/analysis.yaml``.

    Raises
    ------
    MissingPathError, InputError
        If there is no such file, or what it says cannot be used.
    """
    path = path or Path(os.environ.get(CONFIG_VARIABLE) or BUNDLED_CONFIG)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingPathError(
            f"{path} does not exist; name another file in {CONFIG_VARIABLE}, or unset it"
        ) from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid YAML: {error}") from error
    try:
        return _parse(content)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _parse(content: Any) -> AnalysisConfig:
    values = dict(_mapping("the file", content))
    if isinstance(values.get("profiles"), list):
        values["profiles"] = tuple(values["profiles"])
    if "splits" in values:
        values["splits"] = _build(SplitNames, _mapping("splits", values["splits"]))
    return _build(AnalysisConfig, values)


def _mapping(what: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InputError(f"{what} must map keys to values, got {value!r}")
    return value


def _build(kind: type[_T], values: Mapping[str, Any]) -> _T:
    known = [entry.name for entry in fields(kind)]  # type: ignore[arg-type]
    unknown = [str(key) for key in values if key not in known]
    if unknown:
        raise InputError(f"unknown key {unknown[0]!r}; the known ones are: {', '.join(known)}")
    return kind(**values)


def _check_type(name: str, value: Any, *kinds: type) -> None:
    # bool is an int to Python, and never what is meant here.
    if not isinstance(value, kinds) or isinstance(value, bool):
        expected = " or ".join("list" if kind is tuple else kind.__name__ for kind in kinds)
        raise InputError(f"{name} must be of type {expected}, got {value!r}")


def _check_range(name: str, value: Any, lowest: int, highest: int | None = None) -> None:
    _check_type(name, value, int)
    if value < lowest or (highest is not None and value > highest):
        limits = f"at least {lowest}" + (f" and at most {highest}" if highest else "")
        raise InputError(f"{name} must be {limits}, got {value}")
