"""A release of human speech in the present layout, where a copy lies beside the repository."""

import tarfile
from pathlib import Path

import datasets
import pytest

from hearing_analysis.config import ROOT

SPEECH = ROOT.parent / "shared" / "speech"
TABLES = {"train": "train", "dev": "validation", "test": "test"}

pytestmark = pytest.mark.skipif(not SPEECH.is_dir(), reason="no ../shared/speech to try it on")


@pytest.fixture(scope="module")
def archive() -> Path:
    return next(SPEECH.glob("cv-corpus-*.tar.gz"))


@pytest.fixture(scope="module")
def tables(archive) -> dict[str, list[dict[str, str]]]:
    """Rows of the tables, split at tabs and nothing else."""
    found = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            table = Path(member.name).stem
            if table in TABLES and member.name.endswith(".tsv"):
                header, *lines = tar.extractfile(member).read().decode().split("\n")[:-1]
                names = header.split("\t")
                rows = [dict(zip(names, line.split("\t"), strict=True)) for line in lines]
                found[TABLES[table]] = rows
    return found


@pytest.mark.parametrize("streaming", [(), ("--streaming",)])
def test_every_clip_comes_through_with_its_split_and_sentence(
    command, archive, tables, tmp_path, streaming
):
    outcome = command("import", archive, tmp_path / "out", "--json", *streaming)
    assert (outcome.status, outcome.err) == (0, "")
    opened = datasets.load_from_disk(str(tmp_path / "out" / "dataset"))
    assert opened.keys() == tables.keys()
    for split, rows in tables.items():
        for column in ("path", "sentence", "client_id", "gender", "locale"):
            assert opened[split][column][:] == [row[column] for row in rows]
    sentences = [row["sentence"] for rows in tables.values() for row in rows]
    assert len(sentences) == 63
    assert sum('"' in sentence for sentence in sentences) == 9
