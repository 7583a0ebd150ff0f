"""What the platform imports needs no deep-learning framework, no network and no time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from fixtures import write_config

from hearing_analysis.config import CONFIG_VARIABLE, ROOT

HEAVY = ("torch", "tensorflow", "keras", "transformers", "datasets")
# As on a machine that has none of the first two, and no way out.
CODE = f"""
import importlib, socket, sys
for name in ("torch", "tensorflow", "keras"):
    sys.modules[name] = None
def refuse(*_, **__):
    raise OSError("the import asked for the network")
socket.socket.connect = socket.socket.connect_ex = refuse
socket.getaddrinfo = socket.create_connection = refuse
for module in sys.argv[1:]:
    importlib.import_module(module)
loaded = [name for name in {HEAVY} if sys.modules.get(name) is not None]
sys.exit(f"imported {{', '.join(loaded)}}" if loaded else 0)
"""


# Register with code-loader for a Whisper, and refuse any other model; tested with one elsewhere.
OF_WHISPER = {
    f"hearing_analysis.tensorleap.{name}" for name in ("seq2seq", "autoregressive", "whisper_ends")
}


def bundled_modules() -> list[str]:
    """Modules that ``leap.yaml`` includes."""
    patterns = yaml.safe_load((ROOT / "leap.yaml").read_text(encoding="utf-8"))["include"]
    paths = {path for pattern in patterns for path in ROOT.glob(pattern) if path.suffix == ".py"}
    return sorted(module_name(path.relative_to(ROOT)) for path in paths)


def module_name(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def test_the_bundle_holds_what_it_should() -> None:
    expected = {"leap_binder", "hearing_analysis", "hearing_analysis.metrics", "models.wav2vec2"}

    assert expected <= set(bundled_modules())


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Path:
    path = tmp_path_factory.mktemp("conf") / "analysis.yaml"
    return write_config(path, model=str(model_folder))


@pytest.mark.parametrize("module", ["leap_binder", "models.wav2vec2"])
def test_each_entrance_imports_by_itself(module: str, config: Path, tmp_path: Path) -> None:
    assert import_in_isolation(module, config=config, folder=tmp_path) == ""
    assert list(tmp_path.iterdir()) == []  # nor does it write anything


def test_every_bundled_module_imports(config: Path, tmp_path: Path) -> None:
    modules = [name for name in bundled_modules() if name not in OF_WHISPER]
    assert set(bundled_modules()) >= OF_WHISPER
    assert import_in_isolation(*modules, config=config, folder=tmp_path) == ""


def import_in_isolation(*modules: str, config: Path, folder: Path) -> str:
    """Import modules in a fresh process; what went wrong, or an empty text."""
    environment = {CONFIG_VARIABLE: str(config), "PYTHONPATH": str(ROOT)}
    finished = subprocess.run(
        [sys.executable, "-B", "-c", CODE, *modules],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return finished.stderr if finished.returncode else ""
