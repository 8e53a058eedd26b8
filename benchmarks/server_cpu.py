"""The processor time that a server needs for a request, from the socket to the response. wrk sends the requests.

Nothing is left out here: uvicorn, HTTP parsing, the event loop and the app. The server has one process; wrk runs beside
it and is not counted.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.machine import describe
from benchmarks.material import MORE_THAN_A_CACHE, Material, make_material
from benchmarks.paths import PATH, basic_credentials
from benchmarks.peers import PEERS, PLAIN
from benchmarks.plots import Bar, bars
from benchmarks.processes import server_process
from benchmarks.results import Goal, PartResult, Progress

CONNECTIONS = 32
#: Seconds of load before the measurement.
WARM_UP = 1
# With one thread, wrk calls `request` before each request, and this is one counter for all connections.
_SCRIPT = """
local lines = {}
for line in io.lines("CREDENTIALS") do lines[#lines + 1] = line end
local number = 0
request = function()
  if #lines == 0 then return wrk.format("GET") end
  number = number % #lines + 1
  return wrk.format("GET", nil, {["FIELD"] = lines[number]})
end
done = function(summary)
  local errors = summary.errors
  local broken = errors.connect + errors.read + errors.write + errors.timeout
  io.write("RESULT ", summary.requests, " ", errors.status, " ", broken, "\\n")
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """One row: the app, what is presented and in which field, and whether the app accepts it."""

    text: str
    app: str
    credentials: Sequence[str] = ()
    accepted: bool = True
    field: str = "Authorization"


BARE, WARM = "bare Starlette route", "authguard, RS256, warm"


def loads(material: Material) -> list[Load]:
    """All rows."""
    tokens = [f"Bearer {token.decode()}" for token in material.tokens["RS256"]]
    starlette = "AuthenticationMiddleware and PyJWT"
    return [
        Load(BARE, "floor", tokens[:1]),
        Load("authguard, PUBLIC", "public", tokens[:1]),
        Load(WARM, "cold-rs256", tokens[:1]),
        Load("authguard, RS256, cold", "cold-rs256", tokens),
        Load("authguard, Basic, remembered", "basic", [basic_credentials().decode()]),
        Load("authguard, nothing presented", "nothing-folded", accepted=False),
        Load(f"{PLAIN}, RS256", PLAIN, tokens),
        Load(f"{starlette}, RS256", starlette, tokens),
    ]


def processor_seconds(pid: int) -> float:
    """The processor time of a process so far, in its own code and in the kernel."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def microseconds(load: Load, saved: Path, seconds: int) -> float:
    """The processor time of the server for one request of this row."""
    with server_process("benchmarks.server_apps", load.app, str(saved)) as server:
        send_load(load, server.port, WARM_UP)
        before = processor_seconds(server.pid)
        requests = send_load(load, server.port, seconds)
        return (processor_seconds(server.pid) - before) / requests * 1e6


def send_load(load: Load, port: int, seconds: int) -> int:
    """Send the requests of a row to this port for so many seconds, and return how many there were.

    Raises ``SystemExit`` if one had another answer than the row says.
    """
    with tempfile.TemporaryDirectory() as folder:
        credentials, script = Path(folder, "credentials"), Path(folder, "script.lua")
        credentials.write_text("".join(f"{line}\n" for line in load.credentials), "ascii")
        script.write_text(_SCRIPT.replace("CREDENTIALS", str(credentials)).replace("FIELD", load.field), "ascii")
        url = f"http://127.0.0.1:{port}{PATH}"
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(script), url]
        output = subprocess.check_output(command, text=True)  # noqa: S603 - a program that is installed
    result = next(line for line in output.splitlines() if line.startswith("RESULT "))
    requests, refused, broken = (int(part) for part in result.split()[1:])
    if broken or refused != (0 if load.accepted else requests):
        raise SystemExit(f"{load.text}: of {requests} requests, {refused} were refused and {broken} broken")
    return requests


def server_cpu(*, rounds: int = 3, seconds: int = 3, tokens: int = MORE_THAN_A_CACHE) -> PartResult:
    """Measure each row in this many rounds, for this long each, and return the table."""
    if not shutil.which("wrk"):
        return PartResult("The processor time of a server was not measured: wrk is not installed.")
    if not Path("/proc/self/stat").exists():
        return PartResult("The processor time of a server was not measured: there is no /proc here.")
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder, "material")
        material = make_material(tokens)
        material.save(saved)
        rows = [load for load in loads(material) if load.app not in PEERS or not PEERS[load.app].missing()]
        progress = Progress("server", rounds * len(rows))
        results: dict[str, list[float]] = {load.text: [] for load in rows}
        for _ in range(rounds):
            for load in rows:
                results[load.text].append(microseconds(load, saved, seconds))
                progress.step()
    medians = {name: median(figures) for name, figures in results.items()}
    width = max(map(len, medians))
    lines = [f"{'server, microseconds of processor time':{width}}  median  bare / this"]
    lines += [f"{name:{width}}  {figure:6.1f}  {medians[BARE] / figure:11.2f}" for name, figure in medians.items()]
    goal = Goal("server CPU per request: bare / warm RS256", medians[BARE] / medians[WARM], 0.8, at_least=True)
    bar_of = {
        name: Bar(figure, min(medians[BARE], figure), ours="authguard" in name) for name, figure in medians.items()
    }
    title = "Microseconds of the server's processor for one request, end to end"
    plot = bars(title, bar_of, base="the bare route", note=describe())
    return PartResult("\n".join(lines), [goal], {"benchmark-server.svg": plot})
