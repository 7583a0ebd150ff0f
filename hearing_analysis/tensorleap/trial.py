"""Try the integration in the mode of the configuration.

``python -m hearing_analysis.tensorleap.trial``: the entry file is run in a process of its own, as
code-loader wants it; the rest here, against code-loader's own loader. Outcomes are printed as JSON;
the exit status is 1 if a check failed. Works in the repository and in an unpacked bundle alike.
"""

import os

os.environ.setdefault("TL_DISABLE_ANALYTICS", "true")  # before anything imports code-loader

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from hearing_analysis.config import ROOT, AnalysisConfig, load_config
from hearing_analysis.tensorleap import checks
from hearing_analysis.tensorleap.offline import ENTRY, Platform
from pipeline.errors import CheckFailed, HearingAnalysisError

ON_PLATFORM = {"IS_TENSORLEAP_PLATFORM": "true"}
TIMEOUT_SECONDS = 600.0
MARK = "outcomes: "  # code-loader prints too, at exit for instance
PLATFORM_CHECKS: dict[str, Callable[[Platform], str]] = {
    "references": checks.check_references,
    "sample ids": checks.check_sample_ids,
    "tensors": checks.check_tensors,
    "predictions": checks.check_predictions,
    "metadata": checks.check_metadata,
    "metrics": checks.check_metrics,
    "directions": checks.check_directions,
    "visualizers": checks.check_visualizers,
    "latent spaces": checks.check_latent_spaces,
    "simulation": checks.check_simulation,
}


@dataclass(frozen=True)
class Outcome:
    """What became of one check."""

    name: str
    passed: bool
    seconds: float
    detail: str


def outcome(name: str, check: Callable[[], str]) -> Outcome:
    """Run one check; whatever goes wrong in it is its outcome."""
    started = time.monotonic()
    try:
        passed, detail = True, check()
    except HearingAnalysisError as error:
        passed, detail = False, str(error)
    except Exception as error:  # whatever it is, it is this check that failed, not the run
        passed, detail = False, f"{type(error).__name__}: {error}"
    return Outcome(name, passed, time.monotonic() - started, detail)


def try_integration(config: AnalysisConfig) -> list[Outcome]:
    """Run the checks in order, as far as what failed leaves anything to check."""
    platform = Platform(config)
    outcomes = [
        outcome("integration test", check_integration_test),
        outcome("check_dataset", partial(check_dataset, platform)),
    ]
    if outcomes[-1].passed:
        outcomes += [
            outcome(name, partial(check, platform)) for name, check in PLATFORM_CHECKS.items()
        ]
    return outcomes


def check_integration_test(
    environment: Mapping[str, str] | None = None, arguments: Sequence[str] = ()
) -> str:
    """Run the entry file: the integration test on samples of every split and profile."""
    output = run_python([ENTRY, *arguments], environment)
    warnings = [line for line in output.splitlines() if "Warning" in line or "⚠" in line]
    if warnings:
        raise CheckFailed(f"code-loader warns: {warnings[0].strip()}")
    return f"{output.count('Successful!')} samples"


def check_dataset(platform: Platform) -> str:
    """Let code-loader check the dataset side."""
    result = platform.loader.check_dataset()
    failed = [f"{p.name}: {p.display}" for p in result.payloads if not p.is_passed]
    if not result.is_valid:
        raise CheckFailed(str(result.general_error or "; ".join(failed)))
    return f"valid; {len(result.setup.metadata)} columns of metadata"


def run_python(
    arguments: Sequence[str],
    environment: Mapping[str, str] | None = None,
    *,
    folder: Path = ROOT,
    python: str = sys.executable,
    timeout: float = TIMEOUT_SECONDS,
) -> str:
    """Run Python in a process of its own and return what it prints.

    Raises
    ------
    CheckFailed
        With its last words, if it fails.
    """
    finished = subprocess.run(
        [python, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), **(environment or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    output = finished.stdout + finished.stderr
    if finished.returncode:
        last = [line for line in output.strip().splitlines() if line.strip()][-1:]
        raise CheckFailed(last[0] if last else f"exit status {finished.returncode}")
    return output


def main() -> None:
    """Try the integration and print its outcomes."""
    outcomes = [outcome("configuration", lambda: load_config().mode)]
    if outcomes[0].passed:
        outcomes += try_integration(load_config())
    print(MARK + json.dumps([asdict(found) for found in outcomes]), flush=True)
    sys.exit(0 if all(found.passed for found in outcomes) else 1)


def run_trial(
    environment: Mapping[str, str], *, folder: Path = ROOT, python: str = sys.executable
) -> list[Outcome]:
    """Run `main` in a process of its own, and read its outcomes."""
    finished = subprocess.run(
        [python, "-m", "hearing_analysis.tensorleap.trial"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in finished.stdout.splitlines() if line.startswith(MARK)]
    if not lines:
        last = (finished.stderr.strip().splitlines() or ["nothing was printed"])[-1]
        return [Outcome("integration test", False, 0.0, last)]
    return [Outcome(**found) for found in json.loads(lines[-1].removeprefix(MARK))]


if __name__ == "__main__":
    main()
