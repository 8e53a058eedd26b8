"""Count the instructions of one request on each path, and compare them with the committed figures.

python -m benchmarks.instructions                       all rows, about a minute on two cores
python -m benchmarks.instructions --only digest 'cold*'  some rows: a few seconds each
python -m benchmarks.instructions --list                the names of the rows
python -m benchmarks.instructions --check               a few rows; a rise of 5 % fails, as in `make check`
python -m benchmarks.instructions --write               write the committed figures again (with --only: those rows)

valgrind's tool callgrind counts. The counts repeat within 0.5 %, whatever else the machine does, so a change that time
cannot show is seen here. Figures compare only if interpreter, OpenSSL, valgrind, C library, processor and pins are the
same; else the output says "not compared". A count is no time: compare the ratios of `make bench` too.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path

from cryptography.hazmat.backends.openssl import backend

from benchmarks.callgrind import MACHINE, OPTIONS
from benchmarks.instruction_counts import TOTAL, VERIFY
from benchmarks.machine import describe
from benchmarks.material import make_material
from benchmarks.paths import ALGORITHMS, PATHS
from benchmarks.plots import Bar, bars

ROOT = Path(__file__).parents[1]
FIGURES = Path(__file__).with_name("instructions.json")
PINS = ROOT / "scripts" / "constraints.txt"
PLOT = "benchmark-instructions.svg"
HASH_SEED = "0"
#: A rise over the committed figure that fails ``--check``.
LIMIT = 0.05
#: The rows of ``--check``: one of each kind, because `make check` should not take long.
CHECKED = (
    *("public", "nothing-folded", "cold-rs256", "warm-rs256", "expired-folded"),
    *("basic-htpasswd-after-wrong", "digest", "fastapi-principal"),
)
#: Rows that import these modules in a fresh process, once.
IMPORTS = {
    "import-starlette-jwt": ("starlette", "jwt"),
    # What an app with tokens names: authguard imports a module when something of it is named.
    "import-authguard": ("authguard.middleware", "authguard.schemes.bearer.scheme", "authguard.keys.static"),
}
#: Of each cost that grows with a size, the smallest and the largest.
GROWTH = ("rules-10", "rules-10000", "keys-1", "keys-1000", "roles-1", "roles-1000", "any-role-1", "any-role-100")
VERIFICATIONS = {f"{VERIFY}{name.lower()}": f"bare verify of {name}" for name in ALGORITHMS}
BURSTS = {
    "burst-peer": "a login of 1,000 in one turn, AuthenticationMiddleware",
    "burst": "a login of 1,000 in one turn, each of another address",
    "burst-one-address": "a login of 1,000 in one turn, all of one address",
}
_PROCESSOR_FEATURES = {"adx", "aes", "avx", "avx2", "bmi1", "bmi2", "fma", "pclmulqdq", "rdrand", "rdseed", "sha_ni"}


def rows() -> dict[str, str]:
    """What each row is, by name, in the order of the output."""
    floor, *others = (path for path in PATHS.values() if not path.grows or path.name in GROWTH)
    imports = {"import-starlette-jwt": "import starlette, jwt", "import-authguard": "import authguard, with tokens"}
    return {floor.name: floor.text, **VERIFICATIONS, **{path.name: path.text for path in others}, **BURSTS, **imports}


def base_of(name: str) -> tuple[str, ...]:
    """The rows whose sum is what this row cannot do without: a bare route, and the bare verify of its signature."""
    for first, *others in (IMPORTS, BURSTS):
        if name in others:
            return (first,)
    path = PATHS.get(name)
    if path is None or path.name == path.floor:
        return ()
    return (path.floor,) if path.verifies is None else (path.floor, f"{VERIFY}{path.verifies.lower()}")


def environment() -> dict[str, str]:
    """What the counts depend on, apart from this code."""
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        cpuinfo = ""
    flags = re.search(r"^flags\s*:(.*)$", cpuinfo, re.MULTILINE)
    valgrind = subprocess.run(["valgrind", "--version"], capture_output=True, text=True, check=True)  # noqa: S607
    return {
        "python": sys.version,
        "openssl": f"{ssl.OPENSSL_VERSION}; cryptography's: {backend.openssl_version_text()}",
        "valgrind": valgrind.stdout.strip(),
        "libc": " ".join(platform.libc_ver()),
        "processor": " ".join(sorted(_PROCESSOR_FEATURES & set(flags[1].split()))) if flags else "",
        "pins": hashlib.sha256(PINS.read_bytes()).hexdigest(),
        "hash_seed": HASH_SEED,
    }


def count(names: Sequence[str], progress: Callable[[str], None], processes: int) -> dict[str, int]:
    """The instructions of these rows, by name. ``progress`` is called with the name of a row that is done."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        make_material(TOTAL).save(home / "material")
        requests = [name for name in names if name not in IMPORTS]
        jobs = [("requests", {name: name for name in requests[start::processes]}) for start in range(processes)]
        jobs += [("import", {name: "+".join(IMPORTS[name])}) for name in names if name in IMPORTS]
        with ThreadPoolExecutor(processes) as pool:
            running = [pool.submit(_count, home, kind, named, progress) for kind, named in jobs if named]
            return {name: figure for job in running for name, figure in job.result().items()}


def _count(home: Path, kind: str, named: Mapping[str, str], progress: Callable[[str], None]) -> dict[str, int]:
    """Count in one process under valgrind. ``named`` has, for each row, what that process calls it."""
    output = home / f"{kind}-{threading.get_ident()}"
    module = [sys.executable, "-m", "benchmarks.instruction_counts", str(output), str(home / "material"), kind]
    arguments = list(named.values()) if kind == "requests" else next(iter(named.values())).split("+")
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    # The forked processes leave their files behind, so these must be in the folder that is removed.
    variables |= {"PYTHONHASHSEED": HASH_SEED, "TMPDIR": str(home)}
    if kind == "import":
        # So that the bytecode files exist.
        imports = f"import {', '.join(arguments)}"
        subprocess.run([sys.executable, "-c", imports], cwd=ROOT, env=variables, check=True)  # noqa: S603 - our own
    command = ["valgrind", *OPTIONS, "--log-file=/dev/null", f"--callgrind-out-file={output}.%p", *module, *arguments]
    found: dict[str, int] = {}
    row_by_argument = {argument: name for name, argument in named.items()}
    with subprocess.Popen(command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        for line in process.stdout or ():
            argument, counts = json.loads(line)
            name = row_by_argument[argument]
            # What happens once in a while, such as a look at a file, is in some rounds only.
            found[name] = min(counts)
            progress(name)
    if process.returncode or len(found) != len(named):
        raise SystemExit(f"Counting failed: {', '.join(named)}")
    return found


@dataclass(frozen=True, slots=True)
class Committed:
    """The committed figures: counts by row, and what they depend on."""

    date: str
    environment: Mapping[str, str]
    rows: Mapping[str, int]

    @classmethod
    def load(cls) -> Committed:
        """Read them from ``FIGURES``. Without that file there are none."""
        if not FIGURES.exists():
            return cls("never", {}, {})
        content = json.loads(FIGURES.read_text("utf-8"))
        return cls(content["date"], content["environment"], content["rows"])

    def save(self) -> None:
        """Write them to ``FIGURES``, in the order of the rows."""
        ordered = {name: self.rows[name] for name in rows() if name in self.rows}
        content = {"date": self.date, "environment": dict(self.environment), "rows": ordered}
        FIGURES.write_text(json.dumps(content, indent=2) + "\n", "utf-8")

    def differences(self, here: Mapping[str, str]) -> list[str]:
        """Which parts of the environment differ from these."""
        return [name for name, value in here.items() if self.environment.get(name) != value]


def table(measured: Mapping[str, int], committed: Mapping[str, int]) -> str:
    """Thousands of instructions by row: measured, committed, and what is beyond the bare route and the bare verify.

    Where a bare row was not measured now, the committed figure stands for it. ``committed`` is empty where the figures
    do not compare.
    """
    known = {**committed, **measured}
    width, text_width = max(map(len, measured)), max(len(rows()[name]) for name in measured)
    lines = [
        f"{'row':{width}}  {'':{text_width}}  {'now':>9}{'committed':>11}{'change':>9}{'beyond bare':>13}{'/ bare':>8}"
    ]
    for name, figure in measured.items():
        before = committed.get(name)
        change = "" if before is None else f"{(figure / before - 1) * 100:+.1f} %"
        base = [known.get(row) for row in base_of(name)]
        bare = sum(part for part in base if part is not None) if base and None not in base else None
        cells = (
            f"{figure / 1000:9,.1f}",
            f"{'' if before is None else format(before / 1000, ',.1f'):>11}",
            f"{change:>9}",
            f"{'' if bare is None else format((figure - bare) / 1000, ',.1f'):>13}",
            f"{'' if bare is None else format(figure / bare, '.2f'):>8}",
        )
        lines.append(f"{name:{width}}  {rows()[name]:{text_width}}  {''.join(cells)}".rstrip())
    return "\n".join(lines)


def plot(figures: Mapping[str, int], valgrind: str) -> str:
    """A drawing of the paths: what each needs beyond the bare route and the bare verify. ``figures`` has all rows."""
    values = {
        path.text: Bar(figures[name] / 1000, sum(figures[row] for row in base_of(name) or (name,)) / 1000)
        for name, path in PATHS.items()
        if not path.grows
    }
    base = "the bare route, and a bare verification where a signature is verified"
    return bars("Thousand instructions for one request", values, base=base, note=f"{describe()}, {valgrind}")


def risen(measured: Mapping[str, int], committed: Mapping[str, int]) -> list[str]:
    """The rows that need at least 5 % more instructions than the committed figures, with both."""
    return [
        f"{name}: {committed[name]:,} -> {figure:,} ({(figure / committed[name] - 1) * 100:+.1f} %)"
        for name, figure in measured.items()
        if name in committed and figure >= committed[name] * (1 + LIMIT)
    ]


def selected(patterns: Sequence[str]) -> list[str]:
    """The rows with these names; a name may have ``*``. An unknown one raises ``ValueError``."""
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in rows()):
            raise ValueError(f"no row is called {pattern!r}; --list names them all")
    return [name for name in rows() if any(fnmatchcase(name, pattern) for pattern in patterns)]


def unavailable() -> str | None:
    """Why nothing can be counted here; None if it can."""
    if platform.machine() != MACHINE:
        return f"instructions are counted on {MACHINE} only, and this is {platform.machine()}"
    return None if shutil.which("valgrind") else "valgrind is not installed (Debian: apt-get install valgrind)"


def counted(names: Sequence[str], processes: int) -> dict[str, int]:
    """The instructions of these rows, in this order. Each row that is done is printed on standard error."""
    done: list[str] = []

    def progress(name: str) -> None:
        done.append(name)
        print(f"{len(done):3}/{len(names)} {name}", file=sys.stderr, flush=True)

    figures = count(names, progress, processes)
    return {name: figures[name] for name in names}


def check(differences: Sequence[str], committed: Committed) -> int:
    """Compare the rows ``CHECKED``, and return the exit code."""
    if differences:
        print(f"Not compared: the committed figures are of another environment ({', '.join(differences)}).")
        return 0
    # One process, because each takes seconds to start under valgrind, and `make check` uses the other cores.
    if higher := risen(counted(CHECKED, processes=1), committed.rows):
        print("These need more instructions. `make bench-instructions` shows all rows; `--write` accepts them.")
        print("\n".join(higher))
        return 1
    print(f"{len(CHECKED)} rows need less than 5 % more instructions than committed on {committed.date}.")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Count the rows that the command line names, and print them beside the committed figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions", description="Count instructions.")
    parser.add_argument("--only", nargs="+", metavar="NAME", default=["*"], help="rows; a name may have *")
    parser.add_argument("--list", action="store_true", help="print the names of the rows")
    parser.add_argument("--check", action="store_true", help=f"fail if one of {', '.join(CHECKED)} has risen by 5 %%")
    parser.add_argument("--write", action="store_true", help="write the committed figures")
    parser.add_argument("--plots", nargs="?", const=ROOT / "docs", type=Path, help="write a drawing (default: docs)")
    options = parser.parse_args(arguments)
    if options.list:
        print("\n".join(f"{name:28}{text}" for name, text in rows().items()))
        return 0
    try:
        names = selected(options.only)
    except ValueError as error:
        parser.error(str(error))
    if (reason := unavailable()) is not None:
        print(f"Not compared: {reason}.")
        return 0 if options.check else 1
    here, committed = environment(), Committed.load()
    differences = committed.differences(here)
    if options.check:
        return check(differences, committed)
    if options.write and differences and options.only != ["*"]:
        parser.error(f"all rows must be written again, because these differ: {', '.join(differences)}")
    if options.plots is not None and differences and options.only != ["*"]:
        parser.error(f"all rows must be counted for the drawing, because these differ: {', '.join(differences)}")
    measured = counted(names, processes=os.cpu_count() or 1)
    before = {} if differences else committed.rows
    title = f"not compared, because these differ: {', '.join(differences)}"
    if not differences:
        title = f"committed on {committed.date}"
    print(f"Thousand instructions for one request; {title}\n\n{table(measured, before)}")
    if options.plots is not None:
        (options.plots / PLOT).write_text(plot({**before, **measured}, here["valgrind"]), "utf-8")
    if options.write:
        date = datetime.now(UTC).strftime("%Y-%m-%d")
        Committed(date, here, {**before, **measured}).save()
    return 0


if __name__ == "__main__":
    sys.exit(main())
