"""Which layout a source has: each says what it is known by, and the first that fits is taken."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.commonvoice.layout import CommonVoice
from pipeline.commonvoice.release import find_locales, is_archive
from pipeline.errors import InputError, MissingPathError
from pipeline.imports.clips import Layout
from pipeline.imports.dataset import HuggingFace, dataset_folder
from pipeline.imports.librispeech import LibriSpeech, find_transcripts
from pipeline.imports.ljspeech import LJSpeech, is_ljspeech
from pipeline.imports.manifest import ManifestFolder, find_manifests

UNPACKED = "source"  # folder of the output where an archive is unpacked


@dataclass(frozen=True)
class Kind:
    """A layout: what people call it, what it is known by, and whether a path has it."""

    title: str
    known_by: str
    fits: Callable[[Path], bool]


KINDS: dict[str, Kind] = {
    "huggingface": Kind(
        "Hugging Face dataset",
        "dataset_dict.json or state.json",
        lambda path: dataset_folder(path) is not None,
    ),
    "commonvoice": Kind(
        "Common Voice release",
        "an archive (.tar.gz), or a folder with clips/ and tables such as train.tsv",
        lambda path: is_archive(path) or bool(find_locales(path)),
    ),
    "ljspeech": Kind("LJ Speech", "metadata.csv and wavs/", is_ljspeech),
    "librispeech": Kind(
        "LibriSpeech",
        "<speaker>/<chapter>/ with .trans.txt",
        lambda path: path.is_dir() and bool(find_transcripts(path)),
    ),
    "manifest": Kind(
        "manifest",
        "a .tsv, .csv or .jsonl that names sound files and sentences, or a folder with some",
        lambda path: bool(find_manifests(path)),
    ),
}


def detect(source: Path) -> str:
    """Name the layout of a source.

    Raises
    ------
    MissingPathError, InputError
        If there is nothing, or nothing that is known.
    """
    if not source.exists():
        raise MissingPathError(f"{source} does not exist; name a release folder or its .tar.gz")
    for name, kind in KINDS.items():
        if kind.fits(source):
            return name
    known = "; ".join(f"{name}: {kind.known_by}" for name, kind in KINDS.items())
    raise InputError(f"{source} has no layout that is known; the known ones are: {known}")


def open_layout(
    source: Path,
    output: Path,
    name: str,
    audio_root: Path | None = None,
) -> Layout:
    """Open a source in the layout of a name.

    Parameters
    ----------
    source, output : Path
    name : str
        One of :data:`KINDS`.
    audio_root : Path, optional
        Of a manifest.
    """
    if not source.exists():
        raise MissingPathError(f"{source} does not exist; name a release folder or its .tar.gz")
    if audio_root is not None and name != "manifest":
        raise InputError(f"--audio-root says where a manifest's paths start; the layout is {name}")
    match name:
        case "commonvoice":
            return CommonVoice(source, output / UNPACKED)
        case "huggingface":
            return HuggingFace(source)
        case "ljspeech":
            return LJSpeech(source)
        case "librispeech":
            return LibriSpeech(source)
    return ManifestFolder(source, audio_root)
