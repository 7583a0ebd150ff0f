"""The mode of the analysis, switched where the platform reads it: in the bundled configuration."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hearing_analysis.config import BUNDLED_CONFIG, MODES, ROOT, AnalysisConfig, parse_config
from hearing_analysis.recognition.recognisers import WHISPER_MODES, check_mode
from models.checkpoint import ONNX_FILE
from models.platform_graph import platform_graph
from pipeline.corpus import write_atomically
from pipeline.errors import InputError, MissingPathError

LEAP_FILE = ROOT / "leap.yaml"


@dataclass(frozen=True)
class Switched:
    """A configuration that has changed its mode.

    Attributes
    ----------
    path : Path
        The file.
    config : AnalysisConfig
        What it says now.
    model_file : Path
        What is pushed in this mode.
    """

    path: Path
    config: AnalysisConfig
    model_file: Path


def switch_mode(mode: str, path: Path = BUNDLED_CONFIG, model: str | None = None) -> Switched:
    """Write a mode, and the model and window that go with it, into a configuration.

    Everything else in the file stays as it is, comments included. For a Whisper, the graph that the
    platform takes is made; and ``leap.yaml`` gets the model's JSON files, if it lacks them.

    Parameters
    ----------
    mode : {"ctc", "seq2seq", "autoregressive"}
    path : Path
    model : str, optional
        Another model than that of ``conf/analysis-<mode>.yaml``.

    Raises
    ------
    InputError, MissingPathError
        If there is no such mode, or the model is not there or of another family; then nothing is
        changed.
    """
    values = mode_values(mode) | ({"model": model} if model else {})
    try:
        text = set_values(path.read_text(encoding="utf-8"), values)
    except FileNotFoundError:
        raise MissingPathError(f"{path} does not exist; name another file") from None
    config = parse_config(text, path)
    check_mode(config)
    model_file = pushed_file(config)
    write_atomically(path, text.encode())
    if path == BUNDLED_CONFIG:
        _include_model(config)
    return Switched(path, config, model_file)


def mode_values(mode: str) -> dict[str, Any]:
    """Keys that a mode sets.

    Raises
    ------
    InputError
        If there is no such mode.
    """
    if mode not in MODES:
        raise InputError(f"unknown mode {mode!r}; the known ones are: {', '.join(MODES)}")
    preset = ROOT / "conf" / f"analysis-{mode}.yaml"
    values: dict[str, Any] = yaml.safe_load(preset.read_text(encoding="utf-8"))
    return values


def set_values(text: str, values: Mapping[str, Any]) -> str:
    """Set keys in a flat YAML text; comments and all other lines stay as they are."""
    for key, value in values.items():
        shown = "null" if value is None else str(value)
        line = re.compile(rf"^{re.escape(key)}:[^\n#]*?(?P<comment>\s+#[^\n]*)?$", re.MULTILINE)
        found = line.search(text)
        if found is None:
            text = f"{text.rstrip()}\n{key}: {shown}\n"
            continue
        changed = f"{key}: {shown}"
        if found["comment"]:
            start = found.start("comment") - found.start()
            column = start + len(found["comment"]) - len(found["comment"].lstrip())
            changed = f"{changed:<{column}}" + found["comment"].lstrip()
            if changed[len(f"{key}: {shown}")] == "#":
                changed = f"{key}: {shown}  {found['comment'].lstrip()}"
        text = text[: found.start()] + changed + text[found.end() :]
    return text


def pushed_file(config: AnalysisConfig) -> Path:
    """Find the file that is uploaded with a mode; a Whisper's is made.

    Raises
    ------
    MissingPathError
        If the model has not been exported.
    """
    folder = config.model_folder
    if config.mode in WHISPER_MODES:
        return platform_graph(folder, config.mode)  # type: ignore[arg-type]
    if not (folder / ONNX_FILE).is_file():
        raise MissingPathError(
            f"{folder / ONNX_FILE} does not exist; make it with: models export {folder}"
        )
    return folder / ONNX_FILE


def _include_model(config: AnalysisConfig) -> None:
    """Let the bundle hold the JSON files of the model."""
    if not config.model_folder.is_relative_to(ROOT):
        return
    pattern = f"{config.model_folder.relative_to(ROOT).as_posix()}/*.json"
    content = yaml.safe_load(LEAP_FILE.read_text(encoding="utf-8"))
    if pattern not in content["include"]:
        content["include"].append(pattern)
        write_atomically(LEAP_FILE, yaml.safe_dump(content, sort_keys=False).encode())
