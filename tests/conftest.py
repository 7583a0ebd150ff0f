"""What all tests share; lying here, it also lets them import `fixtures`, which lies beside it."""

import os
from pathlib import Path

import pytest

# Before numpy is imported: the engine works on one thread, and what tests compute beside it has to
# agree to the bit.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Before anything imports code-loader, which would otherwise look for the network.
os.environ.setdefault("TL_DISABLE_ANALYTICS", "true")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name files by their length: some hold the time they were made at, and names have to stay."""
    return f"{argname}-{len(val)}-bytes" if isinstance(val, bytes) and len(val) > 16 else None


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
