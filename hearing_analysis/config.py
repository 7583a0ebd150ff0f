"""What is analysed: one frozen object, read from ``conf/analysis.yaml``.

The file travels inside the Tensorleap bundle, because environment variables do not.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from models.checkpoint import read_object
from pipeline.audio import SAMPLING_RATE
from pipeline.errors import InputError, MissingPathError
from pipeline.yaml_files import parse_yaml, read_yaml

ROOT = Path(__file__).resolve().parents[1]
BUNDLED_CONFIG = ROOT / "conf" / "analysis.yaml"
CONFIG_VARIABLE = "HEARING_ANALYSIS_CONFIG"  # names another file, for tests and experiments

MODES = ("ctc", "seq2seq", "autoregressive")
STATES = ("training", "validation", "test", "unlabeled")
# The platform stores tensors as float16, which counts in ones no further than this.
LARGEST_EXACT_INTEGER = 2048
LONGEST_CHAIN = 448  # Whisper's max_target_positions; the platform stops at 1000 steps
REFERENCE_PROFILE = "normal"  # what the others are compared with
DERIVED_SUFFIX = "_logmel"  # variants of variants, which are not sound

_T = TypeVar("_T")


@dataclass(frozen=True)
class SplitNames:
    """Which split of the corpus each state of the platform shows.

    Attributes
    ----------
    training, validation : str
    test, unlabeled : str or None
        None if the corpus has no such split. Unlabeled is a split without sentences.
    """

    training: str = "train"
    validation: str = "validation"
    test: str | None = "test"
    unlabeled: str | None = None

    def __post_init__(self) -> None:
        """Refuse what is not the name of a split."""
        for state, split in self.by_state().items():
            _check_type(f"splits.{state}", split, str)
        if None in (self.training, self.validation):
            raise InputError("splits needs training and validation; the platform asks for both")
        splits = list(self.by_state().values())
        if len(set(splits)) < len(splits):
            raise InputError(f"splits must name every split once, got {', '.join(splits)}")

    def by_state(self) -> dict[str, str]:
        """State -> split, in the platform's order, without those that are absent."""
        return {state: getattr(self, state) for state in STATES if getattr(self, state) is not None}

    def labelled(self) -> tuple[str, ...]:
        """Splits whose sentences are known."""
        return tuple(split for state, split in self.by_state().items() if state != "unlabeled")


@dataclass(frozen=True)
class AnalysisConfig:
    """Everything the analysis can be told.

    Attributes
    ----------
    mode : {'ctc', 'seq2seq', 'autoregressive'}
        How the model is driven: wav2vec2; Whisper, told the sentence so far; Whisper on its own.
    data_root : str
        The variants are ``<data_root>_<profile>/dataset``.
    profiles : tuple of str
        Hearing profiles, in the order in which a clip's samples appear; the others are compared
        with the first.
    model : str
        Hugging Face folder with ``model.onnx`` inside.
    window_seconds : float
        Length of the model's input; longer clips are cut, shorter ones padded. Null in the file
        takes that of a Whisper's features.
    max_label_length : int
        Characters of the longest normalised sentence.
    positions : int or None
        Tokens that Whisper's graph takes; None for as many as its decoder can. Unused in the mode
        ``ctc``, as is the next.
    max_new_tokens : int
        Whisper writes no more tokens of a clip than this.
    splits : SplitNames
    samples_per_split : int or None
        Clips taken of each split, each of them under every profile; None for all.
    seed : int
        Decides which clips, when there are more.
    clip_tables : tuple of str
        Tables of other stages, or folders of them; see `hearing_analysis.clip_tables`.

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
    positions: int | None = None
    max_new_tokens: int = 64
    splits: SplitNames = field(default_factory=SplitNames)
    samples_per_split: int | None = None
    seed: int = 0
    clip_tables: tuple[str, ...] = ()

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
        _check_range("max_new_tokens", self.max_new_tokens, 1, LONGEST_CHAIN)
        if self.positions is not None:
            _check_range("positions", self.positions, 2, LONGEST_CHAIN)
        if self.samples_per_split is not None:
            _check_range("samples_per_split", self.samples_per_split, 1)
        _check_range("seed", self.seed, 0)
        _check_type("clip_tables", self.clip_tables, tuple)
        for table in self.clip_tables:
            _check_type("clip_tables", table, str)

    @property
    def n_samples(self) -> int:
        """Audio samples in the window, at 16 kHz."""
        return round(self.window_seconds * SAMPLING_RATE)

    @property
    def model_folder(self) -> Path:
        """Where the model is."""
        return ROOT / self.model

    @property
    def table_paths(self) -> tuple[Path, ...]:
        """Where the clip tables are."""
        return tuple(ROOT / table for table in self.clip_tables)

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
    path = path or config_path()
    content = read_yaml(path, f"name another file in {CONFIG_VARIABLE}, or unset it")
    return _named(content, path)


def parse_config(text: str, path: Path) -> AnalysisConfig:
    """Read the text of a configuration file.

    Raises
    ------
    MissingPathError, InputError
        If what it says cannot be used; the message names the path.
    """
    return _named(parse_yaml(text, path), path)


def _named(content: Any, path: Path) -> AnalysisConfig:
    try:
        return _parse(content)
    except MissingPathError as error:
        raise MissingPathError(f"{path}: {error}") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def config_path() -> Path:
    """Where the configuration is, unless a command line names another one."""
    return Path(os.environ.get(CONFIG_VARIABLE) or BUNDLED_CONFIG)


def _parse(content: Any) -> AnalysisConfig:
    values = dict(_mapping("the file", content))
    for key in ("profiles", "clip_tables"):
        if isinstance(values.get(key), list):
            values[key] = tuple(values[key])
    if "splits" in values:
        values["splits"] = _build(SplitNames, _mapping("splits", values["splits"]))
    if "window_seconds" in values and values["window_seconds"] is None:
        values["window_seconds"] = _window_of_model(values)
    if "profiles" in values and values["profiles"] is None:
        values["profiles"] = found_profiles(values.get("data_root", AnalysisConfig.data_root))
    return _build(AnalysisConfig, values)


def _window_of_model(values: Mapping[str, Any]) -> Any:
    """Seconds that a Whisper's features cover; other models leave the choice to their export."""
    if values.get("mode", AnalysisConfig.mode) == "ctc":
        raise InputError("window_seconds may be null for a Whisper only; give a number of seconds")
    folder = ROOT / str(values.get("model", AnalysisConfig.model))
    return float(read_object(folder, "preprocessor_config.json").get("chunk_length", 30))


def found_profiles(data_root: str) -> tuple[str, ...]:
    """Profiles of all variants there are of a corpus: ``normal`` first, then by name.

    Raises
    ------
    MissingPathError
        If there is none.
    """
    root = ROOT / str(data_root)
    prefix = f"{root.name}_"
    folders = root.parent.iterdir() if root.parent.is_dir() else iter(())
    names = {
        folder.name.removeprefix(prefix)
        for folder in folders
        if folder.name.startswith(prefix)
        and not folder.name.endswith(DERIVED_SUFFIX)
        and (folder / "dataset" / "dataset_dict.json").is_file()
    }
    if not names:
        raise MissingPathError(
            f"{root}_<profile> does not exist for any profile; make the variants with "
            "`pipeline mask`, or change data_root in conf/analysis.yaml"
        )
    return tuple(sorted(names, key=lambda name: (name != REFERENCE_PROFILE, name)))


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
