"""Test the Tensorleap integration as the platform would use it: ``poetry run test``.

Both checks of code-loader, the integration test in a process of its own; then what neither of them
looks at: the network, the bundle, and `hearing_analysis.tensorleap.checks`. Offline, with nothing
but the main dependencies, in well under a minute.
"""

import os

os.environ.setdefault("TL_DISABLE_ANALYTICS", "true")  # before anything imports code-loader

import dataclasses
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hearing_analysis.config import (
    BUNDLED_CONFIG,
    CONFIG_VARIABLE,
    ROOT,
    AnalysisConfig,
    load_config,
)
from hearing_analysis.tensorleap import checks
from hearing_analysis.tensorleap.offline import ENTRY, Platform
from pipeline.corpus import DATASET_FOLDER
from pipeline.errors import CheckFailed, HearingAnalysisError

ON_PLATFORM = {"IS_TENSORLEAP_PLATFORM": "true"}
DEMO_COMMAND = ("-m", "pipeline.cli", "run", "conf/demo.yaml", "--until", "mask")

IMPORT_CODE = """
import socket, sys
def refuse(*_): raise OSError("the import asked for the network")
socket.socket.connect = socket.getaddrinfo = refuse
import leap_binder
loaded = {"torch", "tensorflow", "keras", "transformers", "datasets"} & set(sys.modules)
sys.exit(f"imported {', '.join(sorted(loaded))}" if loaded else 0)
"""
BUNDLE_CODE = """
import sys
from pathlib import Path
from code_loader.leaploader import LeapLoader
root = Path(sys.argv[1])
result = LeapLoader(code_path=str(root), code_entry_name="leap_binder.py").check_dataset()
failed = [f"{p.name}: {p.display}" for p in result.payloads if not p.is_passed]
packages = ("hearing_analysis", "models", "pipeline")
ours = [module for name, module in sys.modules.items() if name.split(".")[0] in packages]
strangers = [m.__name__ for m in ours if root not in Path(m.__file__).parents]
problems = failed + [f"{name} is not in the bundle" for name in strangers]
if not result.is_valid: problems.append(str(result.general_error))
sys.exit("; ".join(problems) if problems else 0)
"""


PLATFORM_CHECKS: dict[str, Callable[[Platform], str]] = {
    "sample ids": checks.check_sample_ids,
    "tensors": checks.check_tensors,
    "predictions": checks.check_predictions,
    "metadata": checks.check_metadata,
    "metrics": checks.check_metrics,
    "directions": checks.check_directions,
    "visualizers": checks.check_visualizers,
    "latent spaces": checks.check_latent_spaces,
}


@dataclass(frozen=True)
class Outcome:
    """What became of one check."""

    name: str
    passed: bool
    seconds: float
    detail: str


def check_demo_data(config: AnalysisConfig) -> str:
    """Make the variants of the demo corpus, if they are not there.

    Raises
    ------
    CheckFailed
        If variants of another corpus are missing, or making these fails.
    """
    folders = [config.variant_folder(profile) for profile in config.profiles]
    missing = [f for f in folders if not (f / DATASET_FOLDER / "dataset_dict.json").is_file()]
    if not missing:
        return f"{len(folders)} profiles in {config.data_root}_*"
    if config.data_root != AnalysisConfig.data_root:
        raise CheckFailed(f"{missing[0]} holds no finished dataset; make it with `pipeline mask`")
    Console().print(
        f"The demo data are missing; making them: python {' '.join(DEMO_COMMAND)}", soft_wrap=True
    )
    run_python(DEMO_COMMAND, timeout=1800)
    return "made now"


def check_import() -> str:
    """Import the entry file with the network cut; only what the platform has may come along."""
    started = time.monotonic()
    run_python(["-c", IMPORT_CODE])
    return f"{time.monotonic() - started:.1f} s, without network, torch and tensorflow"


def check_integration_test(environment: Mapping[str, str] | None = None) -> str:
    """Run the entry file: the integration test on samples of every split and profile."""
    output = run_python([ENTRY, "--samples", "2"], environment)
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


def check_bundle(config: AnalysisConfig) -> str:
    """Copy what leap.yaml includes, and check the dataset from there, as the platform does."""
    with tempfile.TemporaryDirectory() as temporary:
        bundle = Path(temporary).resolve() / "bundle"
        n_files = copy_bundle(bundle)
        path = Path(temporary) / "analysis.yaml"
        path.write_text(yaml.safe_dump(_absolute_data(config)), encoding="utf-8")
        environment = {
            "PYTHONPATH": str(bundle),
            CONFIG_VARIABLE: str(path),
            **ON_PLATFORM,
        }
        run_python(["-c", BUNDLE_CODE, str(bundle)], environment, folder=bundle)
    return f"{n_files} files are enough"


def copy_bundle(target: Path) -> int:
    """Copy the files that ``leap push`` would upload, and count them.

    Raises
    ------
    CheckFailed
        If a pattern in leap.yaml matches nothing.
    """
    content = yaml.safe_load((ROOT / "leap.yaml").read_text(encoding="utf-8"))
    files = set()
    for pattern in content["include"]:
        matched = {path for path in ROOT.glob(pattern) if path.is_file()}
        if not matched:
            raise CheckFailed(f"leap.yaml includes {pattern!r}, which matches no file")
        files |= {path for path in matched if "__pycache__" not in path.parts}
    for path in files:
        copy = target / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    return len(files)


def run_python(
    arguments: Sequence[str],
    environment: Mapping[str, str] | None = None,
    *,
    folder: Path = ROOT,
    timeout: float = 300,
) -> str:
    """Run Python in a process of its own and return what it prints.

    Raises
    ------
    CheckFailed
        With its last words, if it fails.
    """
    finished = subprocess.run(
        [sys.executable, *arguments],
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


def main() -> NoReturn:
    """Run all checks, print a table of them, and exit 0 if all passed, else 1."""
    started = time.monotonic()
    outcomes = run_checks()
    failed = [outcome for outcome in outcomes if not outcome.passed]
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(_table(outcomes))
    for outcome in failed:  # once more in full: a table breaks paths
        console.print(f"[red]{outcome.name}[/]: {escape(outcome.detail)}", soft_wrap=True)
    seconds = time.monotonic() - started
    console.print(
        f"{len(outcomes) - len(failed)} of {len(outcomes)} checks passed in {seconds:.0f} s"
    )
    sys.exit(1 if failed else 0)


def run_checks() -> list[Outcome]:
    """Run the checks in order, as far as what failed leaves anything to check."""
    outcomes: list[Outcome] = []

    def run(name: str, check: Callable[[], str]) -> bool:
        outcomes.append(_outcome(name, check))
        return outcomes[-1].passed

    config_path = os.environ.get(CONFIG_VARIABLE, str(BUNDLED_CONFIG))
    if not run("configuration", lambda: f"{load_config().mode}: {config_path}"):
        return outcomes
    config = load_config()
    if not (run("data", partial(check_demo_data, config)) and run("import", check_import)):
        return outcomes
    run("integration test", check_integration_test)
    run("… on the platform", partial(check_integration_test, ON_PLATFORM))
    run("bundle", partial(check_bundle, config))
    platform = Platform(config)
    if not run("check_dataset", partial(check_dataset, platform)):
        return outcomes
    if not run("references", partial(checks.check_references, platform)):
        return outcomes
    for name, check in PLATFORM_CHECKS.items():
        run(name, partial(check, platform))
    return outcomes


def _outcome(name: str, check: Callable[[], str]) -> Outcome:
    started = time.monotonic()
    try:
        passed, detail = True, check()
    except HearingAnalysisError as error:
        passed, detail = False, str(error)
    except Exception as error:  # whatever it is, it is this check that failed, not the run
        passed, detail = False, f"{type(error).__name__}: {error}"
    return Outcome(name, passed, time.monotonic() - started, detail)


def _table(outcomes: list[Outcome]) -> Table:
    table = Table("check", "", "seconds", "detail", title="Tensorleap integration")
    for outcome in outcomes:
        mark = "[green]passed" if outcome.passed else "[red]failed"
        table.add_row(outcome.name, mark, f"{outcome.seconds:.1f}", escape(outcome.detail))
    return table


def _absolute_data(config: AnalysisConfig) -> dict[str, Any]:
    content = dataclasses.asdict(config)
    return content | {"data_root": str(ROOT / config.data_root), "profiles": list(config.profiles)}


if __name__ == "__main__":
    main()
