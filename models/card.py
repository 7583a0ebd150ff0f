"""The model card of a checkpoint, written from what its training recorded."""

import json
from pathlib import Path
from typing import Any

from pipeline.errors import InputError

CARD_FILE = "README.md"
SUMMARY_FILE = "training.json"


def write_model_card(
    folder: Path, *, description: str, data: str, command: str, limits: str
) -> Path:
    """Write ``README.md`` with the figures that ``training.json`` holds.

    Parameters
    ----------
    folder : Path
        A checkpoint folder that ``models train`` wrote.
    description, data, limits : str
        What the model is, what it learned from (with licence), what it must not be used for.
    command : str
        The command that trains it again.

    Returns
    -------
    Path
        The card.

    Raises
    ------
    InputError
        If the folder holds no ``training.json``.
    """
    summary = _read_summary(folder)
    card = folder / CARD_FILE
    card.write_text(
        f"""---
language: en
library_name: transformers
pipeline_tag: automatic-speech-recognition
tags: [wav2vec2, ctc, speech-recognition]
---

# {folder.resolve().name}

{description}

## Data

{data} {summary["clips"]:,} clips, {summary["hours"]:.2f} h in the train split.

## Training

```
{command}
```

{_table(summary["recipe"], "setting")}

## Figures

{_table(_figures(summary), "figure")}

Error rates are those of the validation split, edits over reference length summed over all clips.

## Limits

{limits}
""",
        encoding="utf-8",
    )
    return card


def _read_summary(folder: Path) -> dict[str, Any]:
    path = folder / SUMMARY_FILE
    if not path.is_file():
        raise InputError(f"{folder} lacks {SUMMARY_FILE}; train the model with: models train")
    return json.loads(path.read_text(encoding="utf-8"))


def _figures(summary: dict[str, Any]) -> dict[str, str]:
    return {
        "parameters": f"{summary['parameters']:,}",
        "steps": f"{summary['steps']:,}",
        "train loss": f"{summary['train_loss']:.3f}",
        "word error rate": f"{summary['validation_wer']:.2%}",
        "character error rate": f"{summary['validation_cer']:.2%}",
        "trained with": ", ".join(f"{name} {v}" for name, v in summary["versions"].items()),
    }


def _table(rows: dict[str, Any], heading: str) -> str:
    lines = [f"| {heading} | value |", "|---|---|"]
    return "\n".join(lines + [f"| {name.replace('_', ' ')} | {v} |" for name, v in rows.items()])
