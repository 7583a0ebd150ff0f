"""A cluster and a small corpus, made once for all tests of launching."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from outputs import digests
from slurm_cluster import Cluster, why_not

from hearing_analysis.config import ROOT
from pipeline.imports.detect import open_layout
from pipeline.imports.stage import ImportStage
from pipeline.stage import RunOptions, run_stage

RELEASE = ROOT / "examples" / "mini-corpus" / "cv-corpus-1.0-2026-11-21"
CLIPS_PER_SPLIT = 36  # three shards of each of three splits
# As conf/slurm.yaml, for tasks that have next to nothing to do.
RESOURCES = 'array_size: 4\ncpus_per_task: 1\nmemory: 1G\ntime: "20"\nretries: 1\n'


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Three nodes."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # not pytest's: others have to look into it
    with Cluster(folder) as started:
        yield started
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of nine shards."""
    root = tmp_path_factory.mktemp("launch") / "speech"
    layout = open_layout(RELEASE, root, "commonvoice", None)
    run_stage(ImportStage(layout, root, limit=CLIPS_PER_SPLIT), RunOptions(num_workers=0))
    return root


@pytest.fixture
def workplace(tmp_path: Path, speech: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with the corpus and settings of its own."""
    shutil.copytree(speech, tmp_path / "speech")
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "slurm.yaml").write_text(RESOURCES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def on_cluster(cluster: Cluster, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """The cluster, whole and idle, for commands that run in the workplace."""
    monkeypatch.setenv("SLURM_CONF", str(cluster.config))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert cluster.jobs() == []
    return cluster


@pytest.fixture
def products() -> Callable[[Path], dict[str, str]]:
    """What a stage has made, without what says how it was launched."""

    def read(root: Path) -> dict[str, str]:
        return {name: d for name, d in digests(root).items() if not name.startswith("launch/")}

    return read
