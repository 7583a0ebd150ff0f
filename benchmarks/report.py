"""Run every benchmark here, and write what they print to report.md and report.json beside them.

Each runs in a process of its own, of which wall time, CPU time and the peak of memory are noted. A
benchmark whose peer is not installed says so and is listed as skipped; one that fails is listed as
failed, and ends the report with status 1. Named benchmarks are run again, the others of the report
stay as they are if they were measured on a machine like this. It is written after every benchmark,
so what was measured before a stop is not lost.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

HERE = Path(__file__).parent
# Modules that the benchmarks share.
SHARED = {"report", "pairs", "corpora"}
# The status by which a benchmark says that its peer is not installed, as automake has it.
SKIPPED = 77
MOST_RATIOS = 6  # in a cell of the table
RATIO = re.compile(
    r"(?P<ratio>\d[\d,.]*) times (?P<kind>as fast|as many(?= \()|less)"
    r"(?: \((?P<low>\d[\d,.]*) to (?P<high>\d[\d,.]*) over (?P<repeats>\d+) repeats\))?"
)


@dataclass(frozen=True)
class Result:
    """What one benchmark said and took."""

    name: str
    title: str
    status: int
    lines: list[str]
    ratios: list[dict[str, str | None]]
    seconds: float
    cpu_seconds: float
    peak_mb: float
    date: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="Only these, such as masking.")
    parser.add_argument("--output", type=Path, default=HERE)
    arguments = parser.parse_args()
    scripts = [path for path in sorted(HERE.glob("*.py")) if path.stem not in SHARED]
    known = {path.stem for path in scripts}
    if unknown := set(arguments.names) - known:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    kept = read_results(arguments.output / "report.json", known) if arguments.names else {}
    for script in scripts:
        if not arguments.names or script.stem in arguments.names:
            print(f"{script.stem} …", file=sys.stderr, flush=True)
            kept[script.stem] = measure(script)
            write_report(arguments.output, [kept[name] for name in sorted(kept)])
    failed = [result.name for result in kept.values() if result.status not in (0, SKIPPED)]
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def read_results(path: Path, known: set[str]) -> dict[str, Result]:
    """Results of an earlier report of such a machine, but for benchmarks that are no more."""
    report = json.loads(path.read_text()) if path.is_file() else {}
    if {key: report.get(key) for key in about()} != about():
        return {}
    results = [
        Result(**{**fields, "ratios": ratios_in(fields["lines"])})
        for fields in report["benchmarks"]
    ]
    return {result.name: result for result in results if result.name in known}


def about() -> dict[str, str]:
    """What the figures were measured on."""
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    return {"machine": machine, "python": platform.python_version()}


def write_report(folder: Path, results: list[Result]) -> None:
    """Write both files."""
    report = {**about(), "benchmarks": [asdict(result) for result in results]}
    (folder / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    (folder / "report.md").write_text(as_markdown(about(), results))


def measure(script: Path) -> Result:
    """Run one script to its end."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        started = time.monotonic()
        run = subprocess.Popen([sys.executable, script.name], cwd=HERE, stdout=out, stderr=err)
        _, raw, used = os.wait4(run.pid, 0)
        seconds = time.monotonic() - started
        run.returncode = os.waitstatus_to_exitcode(raw)
        out.seek(0)
        err.seek(0)
        lines = [line.rstrip() for line in out if line.strip()]
        if run.returncode:
            lines += [line.rstrip() for line in err if line.strip()][-1:]
    return Result(
        script.stem,
        title_of(script),
        run.returncode,
        lines,
        ratios_in(lines),
        round(seconds, 1),
        round(used.ru_utime + used.ru_stime, 1),
        round(used.ru_maxrss / 1024, 0),
        time.strftime("%Y-%m-%d"),
    )


def ratios_in(lines: list[str]) -> list[dict[str, str | None]]:
    """Ratios that the lines tell, with their spread where they tell it."""
    return [match.groupdict() for line in lines for match in RATIO.finditer(line)]


def title_of(script: Path) -> str:
    """First sentence of a script's docstring."""
    text = script.read_text(encoding="utf-8").removeprefix('"""')
    return " ".join(re.split(r'(?<=\.)\s|"""', text, maxsplit=1)[0].split())


def as_markdown(machine: dict[str, str], results: list[Result]) -> str:
    """A section for every benchmark."""
    parts = [
        "# Benchmarks\n",
        "Made by `make bench`; every figure was measured in one run, ours and the peer's way side "
        f"by side. {machine['machine']}, Python {machine['python']}.\n",
        "| benchmark | result | wall | CPU | peak memory | date |\n|---|---|---|---|---|---|",
    ]
    for result in results:
        outcome = {0: "", SKIPPED: "skipped"}.get(result.status, f"failed ({result.status})")
        cells = (
            f"[{result.name}](#{result.name})",
            outcome or describe(result.ratios) or "see below",
            f"{result.seconds:.0f} s",
            f"{result.cpu_seconds:.0f} s",
            f"{result.peak_mb:,.0f} MB",
            result.date,
        )
        parts.append(f"| {' | '.join(cells)} |")
    for result in results:
        lines = "\n".join(result.lines)
        parts.append(f"\n## {result.name}\n\n{result.title}\n\n```text\n{lines}\n```")
    return "\n".join(parts) + "\n"


def describe(ratios: list[dict[str, str | None]]) -> str:
    """Ratios, each with its spread where it was given; of many, the least and the greatest."""
    said = [
        f"{ratio['ratio']}×" + (f" ({ratio['low']}–{ratio['high']})" if ratio["low"] else "")
        for ratio in ratios
    ]
    if len(said) <= MOST_RATIOS:
        return "; ".join(said)
    ends = sorted(
        (float((ratio["ratio"] or "").replace(",", "")), n) for n, ratio in enumerate(ratios)
    )
    return f"{len(said)} ratios from {said[ends[0][1]]} to {said[ends[-1][1]]}"


if __name__ == "__main__":
    main()
