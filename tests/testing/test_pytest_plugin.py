"""The fixtures do what the functions do, and last until the test ends. pytest loads the plugin by itself."""

from __future__ import annotations

import subprocess
import sys

import pytest

from authguard import AuthGuardMiddleware, Basic, MemoryUsers
from authguard.testing import acting, assert_denied, matrix

pytest_plugins = ["pytester"]

QUIET = ("-p", "no:cacheprovider")
# pytester forgets the modules that a run was first to import, so these are imported here: a Guard of a second import is
# no Guard to the first.
IMPORTED = (AuthGuardMiddleware, Basic, MemoryUsers, acting, assert_denied, matrix)
MATRIX = 'def test_one(assert_matrix):\n    assert_matrix(app, guard, "routes.txt")\n'
SITE = """
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from authguard import AuthGuardMiddleware, Basic, Guard, MemoryUsers, Principal, role
from authguard.testing import assert_denied

guard = Guard(Basic(MemoryUsers([]), realm="site"), default=role("admin"))

async def home(request):
    return PlainTextResponse(request.user.subject)

app = Starlette(routes=[Route("/", home)])
app.add_middleware(AuthGuardMiddleware, guard=guard)
client = TestClient(app)
"""


@pytest.fixture(name="site")
def _site(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project with an app; its tests begin with ``from site_ import *``."""
    pytester.makeconftest("")  # puts the folder on sys.path, for test files in folders below
    pytester.makepyfile(site_=SITE)
    return pytester


def run(site: pytest.Pytester, body: str) -> pytest.RunResult:
    """Run one test file of that project."""
    site.makepyfile(test_it=f"from site_ import *\n\n{body}")
    return site.runpytest_inprocess(*QUIET)


def test_acting_lasts_until_the_test_ends(site: pytest.Pytester) -> None:
    """It begins with the call, and does not reach the next test. A ``with`` ends it earlier."""
    done = run(
        site,
        """
def test_one(acting_as):
    acting_as(guard, Principal("alice", roles={"admin"}))
    assert client.get("/").text == "alice"
    acting_as(guard, Principal("bob"))
    assert_denied(client.get("/"), 403, reason="role.missing")

def test_two():
    assert client.get("/").status_code == 401
    assert "test_override" not in vars(guard)

def test_three(acting_as):
    with acting_as(guard, Principal("alice", roles={"admin"})) as alice:
        assert client.get("/").text == alice.subject
    assert client.get("/").status_code == 401

def test_four(acting_as):
    acting_as(guard, Principal("alice", roles={"admin"}))
    assert False, "it ends after a failure too"

def test_five():
    assert client.get("/").status_code == 401
""",
    )

    done.assert_outcomes(passed=4, failed=1)


def test_acting_works_in_asynchronous_tests(site: pytest.Pytester) -> None:
    """The test or a fixture may call it, on every event loop."""
    done = run(
        site,
        """
import httpx2

pytestmark = pytest.mark.anyio

async def get():
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://site") as client:
        return await client.get("/")

@pytest.fixture
def admin(acting_as):
    acting_as(guard, Principal("alice", roles={"admin"}))

async def test_one(acting_as):
    acting_as(guard, Principal("bob"))
    assert_denied(await get(), 403, reason="role.missing")

async def test_two(admin):
    assert (await get()).text == "alice"

async def test_three():
    assert (await get()).status_code == 401
""",
    )

    done.assert_outcomes(passed=6)


def test_a_recording_lasts_until_the_test_ends(site: pytest.Pytester) -> None:
    """The list grows while the test runs. Then the guard has its own hooks again."""
    done = run(
        site,
        """
def test_one(recording):
    records = recording(guard)
    assert_denied(client.get("/"), 401, reason="credentials.missing")
    assert [record.reason for record in records] == ["credentials.missing"]

def test_two():
    assert guard._recorder.hooks == ()
""",
    )

    done.assert_outcomes(passed=2)


def test_a_failure_shows_the_line_of_the_test(site: pytest.Pytester) -> None:
    """It shows why the request was denied, but no code of authguard."""
    done = run(
        site,
        """
def test_one(acting_as):
    acting_as(guard, Principal("bob"))
    assert_denied(client.get("/"), 403, reason="scope.missing")
""",
    )

    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(
        [
            ">*assert_denied(client.get(?/?), 403, reason=?scope.missing?)",
            "E*AssertionError: GET / was answered with 403:",
            "E*expected scope.missing",
            "E*recorded: denied role.missing: GET / 403 basic bob requirement=role(admin) missing=?admin? offered=*",
            "test_it.py:*: AssertionError",
        ]
    )
    done.stdout.no_fnmatch_line("*denied.py*")


def test_the_clock_is_new_for_each_test(site: pytest.Pytester) -> None:
    """A test starts at the same time as every other."""
    done = run(
        site,
        """
@pytest.mark.parametrize("again", [1, 2])
def test_one(manual_clock, again):
    assert manual_clock() == 1_800_000_000
    manual_clock.move(again)
    assert manual_clock() == 1_800_000_000 + again
""",
    )

    done.assert_outcomes(passed=2)


def test_a_matrix_is_written_only_with_the_option(site: pytest.Pytester) -> None:
    """A missing file fails the test. ``--authguard-update`` writes it beside the test, and then it is compared."""
    file = site.mkdir("inner") / "routes.txt"
    file.with_name("test_in.py").write_text(f"from site_ import *\n\n{MATRIX}")

    missing, update, same = (site.runpytest_inprocess(*QUIET, *more) for more in ([], ["--authguard-update"], []))
    written = file.read_text().splitlines()[1:]
    file.write_text("GET /: PUBLIC\n")
    changed = site.runpytest_inprocess(*QUIET)

    missing.assert_outcomes(failed=1)
    missing.stdout.fnmatch_lines(["E*routes.txt does not exist*--authguard-update*"])
    missing.stdout.no_fnmatch_line("*matrix.py*")
    update.assert_outcomes(passed=1)
    same.assert_outcomes(passed=1)
    assert written == ["GET /: role(admin) (no rule) by basic"]
    changed.assert_outcomes(failed=1)
    changed.stdout.fnmatch_lines(["E*-GET /: PUBLIC", "E*+GET /: role(admin) (no rule) by basic"])


def test_the_fixtures_are_documented(site: pytest.Pytester) -> None:
    """``pytest --fixtures`` and ``--help`` show a sentence for each."""
    site.makepyfile("")

    fixtures = site.runpytest_inprocess("--fixtures", *QUIET)
    helped = site.runpytest_inprocess("--help", *QUIET)

    for name in ("acting_as", "assert_matrix", "manual_clock", "recording"):
        fixtures.stdout.fnmatch_lines([f"{name} -- *authguard/testing/pytest_plugin.py:*", "    *"])
    helped.stdout.fnmatch_lines(["authguard:", "*--authguard-update*"])


def test_a_project_that_uses_no_fixture_pays_nothing(pytester: pytest.Pytester) -> None:
    """The plugin is loaded, and has imported no module of authguard that imports a library."""
    pytester.makepyfile(
        """
import sys

def test_it(pytestconfig):
    assert pytestconfig.pluginmanager.has_plugin("authguard.testing.pytest_plugin")
    assert {name for name in sys.modules if name.startswith("authguard")} == {
        "authguard", "authguard.lazy_exports", "authguard.testing", "authguard.testing.pytest_plugin"
    }
"""
    )

    pytester.runpytest_subprocess(*QUIET).assert_outcomes(passed=1)


def test_a_project_that_names_the_plugin_too_has_it_once(pytester: pytest.Pytester) -> None:
    """``pytest_plugins`` in a conftest.py is not needed, and does no harm."""
    pytester.makeconftest('pytest_plugins = ["authguard.testing.pytest_plugin"]')
    pytester.makepyfile("def test_it(manual_clock): pass")

    pytester.runpytest_subprocess(*QUIET).assert_outcomes(passed=1)


def test_the_helpers_need_no_pytest() -> None:
    """``authguard.testing`` works with unittest as well."""
    code = "import sys; from authguard.testing import acting_as; print('pytest' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)

    assert done.stdout == "False\n"
