"""``analyze check``: everything that ``leap push`` would set in motion, here.

The code is bundled as the client does it and unpacked in an empty folder; ``requirements.txt``
alone is installed in a fresh environment; and there, without torch and TensorFlow, the checks run.
"""

import importlib.metadata
import subprocess
import tempfile
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from hearing_analysis.config import CONFIG_VARIABLE, AnalysisConfig
from hearing_analysis.tensorleap.bundle import REQUIREMENTS, place_config, unpacked_bundle
from hearing_analysis.tensorleap.modes import pushed_file
from hearing_analysis.tensorleap.trial import (
    ON_PLATFORM,
    Outcome,
    outcome,
    run_python,
    run_trial,
)
from pipeline.errors import CheckFailed

PROVIDED = "code-loader"  # by the platform
UNWANTED = ("torch", "tensorflow")
UNWANTED_CODE = """
import importlib.util, sys
found = [name for name in sys.argv[1:] if importlib.util.find_spec(name)]
sys.exit(f"{', '.join(found)} can be imported" if found else 0)
"""


def rehearse(config: AnalysisConfig, python: str | None = None) -> list[Outcome]:
    """Bundle, unpack, install and check.

    Parameters
    ----------
    config : AnalysisConfig
    python : str, optional
        An interpreter that has what is needed; a fresh environment is made unless given.

    Returns
    -------
    list of Outcome
        As far as what failed leaves anything to check.
    """
    with unpacked_bundle() as (bundle, n_files), _environment(bundle, python) as (found, used):
        model = outcome("model", partial(_model, config))
        outcomes = [Outcome("bundle", True, 0.0, f"{n_files} files"), model, *found]
        if not all(step.passed for step in outcomes):
            return outcomes
        place_config(config, bundle)
        environment = {**ON_PLATFORM, CONFIG_VARIABLE: "", "PYTHONNOUSERSITE": "1"}
        return [*outcomes, *run_trial(environment, folder=bundle, python=used)]


def _model(config: AnalysisConfig) -> str:
    path = pushed_file(config)
    return f"{path.name}, {path.stat().st_size / 1e6:.1f} MB"


@contextmanager
def _environment(bundle: Path, python: str | None) -> Iterator[tuple[list[Outcome], str]]:
    """Give an interpreter, and what became of making it."""
    if python is not None:
        yield [], python
        return
    with tempfile.TemporaryDirectory() as temporary:
        used = f"{temporary}/venv/bin/python"
        installed = outcome("install", partial(_install, Path(temporary) / "venv", bundle))
        lean = outcome("environment", partial(_check_lean, used))
        yield [installed, lean] if installed.passed else [installed], used


def _install(folder: Path, bundle: Path) -> str:
    """Install what the platform would, and what it brings itself."""
    venv.create(folder, with_pip=True)
    provided = f"{PROVIDED}=={importlib.metadata.version(PROVIDED)}"
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    finished = subprocess.run(
        [*command, "--requirement", str(bundle / REQUIREMENTS), provided],
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode:
        errors = [line for line in finished.stderr.splitlines() if line.startswith("ERROR")]
        raise CheckFailed(errors[0] if errors else finished.stderr.strip()[-300:])
    n_lines = len((bundle / REQUIREMENTS).read_text(encoding="utf-8").splitlines()) - 1
    return f"{n_lines} packages of {REQUIREMENTS}, and {provided}"


def _check_lean(python: str) -> str:
    run_python(["-c", UNWANTED_CODE, *UNWANTED], python=python)
    return f"without {' and '.join(UNWANTED)}"
