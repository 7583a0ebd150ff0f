"""CPU time of every --help, from the start of the interpreter to the last line."""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODULES = {"pipeline": "pipeline.cli", "models": "models.cli", "analyze": "hearing_analysis.cli"}
LIMIT_SECONDS = 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    taken: dict[str, list[float]] = {}
    waiting: list[tuple[str, ...]] = [(program,) for program in MODULES]
    while waiting:
        command = waiting.pop(0)
        runs = [ask(command) for _ in range(arguments.repeats)]
        taken[" ".join(command)] = [seconds for seconds, _ in runs]
        waiting += [(*command, word) for word in commands_in(runs[0][1])]
    medians = {name: statistics.median(seconds) for name, seconds in taken.items()}
    slowest = max(medians, key=lambda name: medians[name])
    if arguments.json:
        print(json.dumps(medians, indent=1))
    else:
        for name, seconds in medians.items():
            print(f"{seconds:.2f} s  {name} --help")
    print(
        f"{len(medians)} commands, {statistics.median(medians.values()):.2f} s in the median; the "
        f"slowest is {slowest}, {medians[slowest]:.2f} s"
    )
    if medians[slowest] > LIMIT_SECONDS:
        raise SystemExit(f"slower than {LIMIT_SECONDS} s")


def ask(command: tuple[str, ...]) -> tuple[float, str]:
    """CPU seconds of a help, and what it says."""
    program, *words = command
    before = os.times()
    said = subprocess.run(
        [sys.executable, "-m", MODULES[program], *words, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    after = os.times()
    used = after.children_user + after.children_system
    return used - before.children_user - before.children_system, said


def commands_in(text: str) -> list[str]:
    """Commands that a help lists."""
    lines = text.partition("\nCommands:\n")[2].splitlines()
    return [line.split()[0] for line in lines if line[:2] == "  " and line[2:3].strip()]


if __name__ == "__main__":
    main()
