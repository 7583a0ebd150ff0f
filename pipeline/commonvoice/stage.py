"""The import of a release, for callers that know it to be one."""

from pathlib import Path

from pipeline.audio import SAMPLING_RATE
from pipeline.commonvoice.layout import CommonVoice
from pipeline.imports import stage

UNPACKED = "source"  # folder of the output where an archive is unpacked


def ImportStage(
    source: Path,
    output: Path,
    sampling_rate: int = SAMPLING_RATE,
    splits: tuple[str, ...] | None = None,
    limit: int | None = None,
) -> stage.ImportStage:
    """Import a release folder or its archive."""
    layout = CommonVoice(source, output / UNPACKED)
    return stage.ImportStage(layout, output, sampling_rate, splits, limit)
