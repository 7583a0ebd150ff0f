"""Test the Tensorleap integration as the platform would use it: ``poetry run test``.

Both checks of code-loader, the integration test in a process of its own; then what neither of them
looks at: the network, the bundle, and `hearing_analysis.tensorleap.checks`. Every mode is tested,
each in a process of its own; with ``HEARING_ANALYSIS_CONFIG`` only the configuration that it names.
Offline, with nothing but the main dependencies, in under a minute.
"""

import os

os.environ.setdefault("TL_DISABLE_ANALYTICS", "true")  # before anything imports code-loader

import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hearing_analysis.config import (
    BUNDLED_CONFIG,
    CONFIG_VARIABLE,
    MODES,
    ROOT,
    AnalysisConfig,
    load_config,
)
from hearing_analysis.tensorleap.bundle import place_config, unpacked_bundle
from hearing_analysis.tensorleap.modes import mode_values, pushed_file, set_values
from hearing_analysis.tensorleap.trial import (
    ON_PLATFORM,
    Outcome,
    outcome,
    run_python,
    run_trial,
)
from models.checkpoint import ONNX_FILE
from models.platform_graph import can_make_graphs
from pipeline.corpus import DATASET_FOLDER
from pipeline.errors import CheckFailed, HearingAnalysisError

DEMO_COMMAND = ("-m", "pipeline.cli", "run", "conf/demo.yaml", "--until", "mask")
AT_ONCE = 2  # modes tested side by side
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # so that they do not compete

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
import leap_binder
sys.argv[1:] = ["--brief"]
leap_binder.main()
packages = ("hearing_analysis", "models", "pipeline")
ours = [module for name, module in sys.modules.items() if name.split(".")[0] in packages]
strangers = [m.__name__ for m in ours if root not in Path(m.__file__).parents]
problems = failed + [f"{name} is not in the bundle" for name in strangers]
if not result.is_valid: problems.append(str(result.general_error))
sys.exit("; ".join(problems) if problems else 0)
"""


@dataclass(frozen=True)
class Mode:
    """A configuration to test: its file, and why it cannot be tested, if so."""

    name: str
    path: Path
    skipped: str = ""


def main() -> NoReturn:
    """Run all checks, print a table of them, and exit 0 if all passed, else 1."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        results = run_checks(Path(folder))
    failed = [(mode, found) for mode, found in results if not found.passed]
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(_table(results))
    for mode, found in failed:  # once more in full: a table breaks paths
        console.print(f"[red]{mode} {found.name}[/]: {escape(found.detail)}", soft_wrap=True)
    seconds = time.monotonic() - started
    console.print(
        f"{len(results) - len(failed)} of {len(results)} checks passed in {seconds:.0f} s"
    )
    sys.exit(1 if failed else 0)


def run_checks(folder: Path) -> list[tuple[str, Outcome]]:
    """Check the data, then every mode; a failure that leaves nothing to check ends it."""
    try:
        modes = find_modes(folder)
        config = load_config(modes[0].path)
    except HearingAnalysisError as error:
        return [("", Outcome("configuration", False, 0.0, str(error)))]
    data = outcome("data", partial(check_demo_data, config))
    if not data.passed:
        return [("", data)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        of_modes = list(pool.map(check_mode, modes))
    named = [
        (mode.name, found)
        for mode, results in zip(modes, of_modes, strict=True)
        for found in results
    ]
    return [("", data), *named]


def find_modes(folder: Path) -> list[Mode]:
    """List the configurations to test: the one of the environment, or one for every mode.

    Those of the modes that are not switched on are written to a folder.
    """
    if os.environ.get(CONFIG_VARIABLE):
        path = Path(os.environ[CONFIG_VARIABLE])
        return [Mode(load_config(path).mode, path)]
    active = load_config(BUNDLED_CONFIG).mode
    others = [mode for mode in MODES if mode != active]
    return [Mode(active, BUNDLED_CONFIG), *(_other_mode(mode, folder) for mode in others)]


def _other_mode(mode: str, folder: Path) -> Mode:
    values = mode_values(mode)
    if not (ROOT / values["model"] / ONNX_FILE).is_file():
        return Mode(mode, BUNDLED_CONFIG, f"{values['model']} has no {ONNX_FILE}")
    graph = ROOT / values["model"] / f"{mode}.onnx"
    if mode != "ctc" and not (graph.is_file() or can_make_graphs()):
        reason = "has to be made first, with `analyze mode`, where the package onnx is installed"
        return Mode(mode, BUNDLED_CONFIG, f"{graph.relative_to(ROOT)} {reason}")
    path = folder / f"{mode}.yaml"
    path.write_text(set_values(BUNDLED_CONFIG.read_text(encoding="utf-8"), values))
    return Mode(mode, path)


def check_mode(mode: Mode) -> list[Outcome]:
    """Run all checks of one mode, in processes of their own."""
    if mode.skipped:
        return [Outcome("skipped", passed=True, seconds=0.0, detail=mode.skipped)]
    environment = {CONFIG_VARIABLE: str(mode.path)}
    model = outcome("model", partial(check_model, mode))
    imported = outcome("import", partial(check_import, environment))
    if not (model.passed and imported.passed):
        return [model, imported]
    bundle = outcome("bundle, on the platform", partial(check_bundle, mode))
    return [model, imported, bundle, *run_trial({**ONE_THREAD, **environment})]


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


def check_model(mode: Mode) -> str:
    """The file that is pushed is there, or can be made."""
    path = pushed_file(load_config(mode.path))
    return f"{path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}"


def check_import(environment: dict[str, str]) -> str:
    """Import the entry file with the network cut; only what the platform has may come along."""
    started = time.monotonic()
    run_python(["-c", IMPORT_CODE], environment)
    return f"{time.monotonic() - started:.1f} s, without network, torch and tensorflow"


def check_bundle(mode: Mode) -> str:
    """Unpack what leap.yaml includes, and check the dataset from there, as the platform does."""
    with unpacked_bundle() as (bundle, n_files):
        path = place_config(load_config(mode.path), bundle)
        environment = {CONFIG_VARIABLE: str(path), **ONE_THREAD, **ON_PLATFORM}
        output = run_python(["-c", BUNDLE_CODE, str(bundle)], environment, folder=bundle)
    return f"{n_files} files are enough; {output.count('Successful!')} samples"


def _table(results: list[tuple[str, Outcome]]) -> Table:
    table = Table("mode", "check", "", "seconds", "detail", title="Tensorleap integration")
    shown = ""
    for mode, found in results:
        mark = "[green]passed" if found.passed else "[red]failed"
        mark = "[yellow]skipped" if found.name == "skipped" else mark
        if mode != shown:
            table.add_section()
        table.add_row(
            mode if mode != shown else "",
            "" if found.name == "skipped" else found.name,
            mark,
            f"{found.seconds:.1f}",
            escape(found.detail),
        )
        shown = mode
    return table


if __name__ == "__main__":
    main()
