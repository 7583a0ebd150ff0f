"""What all tests share; lying here, it also lets them import `fixtures`, which lies beside it."""

import os
from pathlib import Path

import pytest

# Before numpy is imported: the engine works on one thread, and what tests compute beside it has to
# agree to the bit.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Before anything imports code-loader, which would otherwise look for the network.
os.environ.setdefault("TL_DISABLE_ANALYTICS", "true")

# Folders whose tests share what is costly to make: a cluster, a browser. The tests of a file stay
# together anywhere else, but for these, which share nothing.
SHARING_FOLDERS = ("pipeline/launch", "hearing_analysis/dashboard")
INDEPENDENT_FILES = ("faults/test_faults.py",)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tell pytest-xdist which tests belong in one process (``--dist loadgroup``)."""
    for item in items:
        file = item.path.relative_to(Path(__file__).parent).as_posix()
        folder = next((name for name in SHARING_FOLDERS if file.startswith(name)), None)
        if file not in INDEPENDENT_FILES:
            item.add_marker(pytest.mark.xdist_group(folder or file))


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recogniser that the repository ships, or one with random weights where it is missing."""
    from fixtures import make_model

    from hearing_analysis.config import ROOT

    shipped = ROOT / "models" / "mini-wav2vec2"
    if (shipped / "model.onnx").is_file():
        return shipped
    made = tmp_path_factory.mktemp("models") / shipped.name
    make_model(made)
    return made
