"""``authguard probe``: its exit status, its output and its errors."""

from __future__ import annotations

import json

import pytest

from tests.cli.programs import run
from tests.probe.servers import answering, response

GOOD = 'WWW-Authenticate: Basic realm="orders", charset="UTF-8"', "Cache-Control: no-store"


def test_a_good_refusal_is_no_fault(capsys: pytest.CaptureFixture[str]) -> None:
    """The status is 0, and the notes are printed."""
    with answering(lambda _: response(401, *GOOD)) as url:
        assert run("probe", url, "--timeout", "60") == 0

    out, err = capsys.readouterr()
    assert out.splitlines()[0] == url
    assert out.splitlines()[-1] == "0 faults, 0 warnings, 1 note"
    assert err == ""


def test_a_fault_is_the_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    """With --json, programs read the findings."""
    with answering(lambda _: response(401)) as url:
        assert run("probe", url, "--json", "--method", "POST", "--origin", "https://app.example") == 1

    document = json.loads(capsys.readouterr().out)
    assert [one["code"] for one in document["findings"] if one["level"] == "fault"] == [
        "challenge.missing",
        "cors.preflight",
    ]
    assert document["requests"][1]["request"] == "OPTIONS as the preflight of https://app.example"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["api.example"], 'URL: this is not an absolute https URL; write "https://api.example/orders"\n'),
        (["https://bob:s3cret@x/"], "URL: the URL must not contain a user name or a password\n"),
        (["http://127.0.0.1:1/"], "URL: there is no connection to 127.0.0.1:1: Connection refused\n"),
        (["http://x/", "--origin", "app.example"], "--origin: write a scheme and a host: https://app.example\n"),
        (["http://x/", "--origin", "https://a\r\nX: y"], "--origin: write a scheme and a host: https://app.example\n"),
        (["http://x/", "--timeout", "0"], "--timeout: write a number of seconds above 0, at most 60; see authguard "),
        (["http://x/", "--timeout", "nan"], "--timeout: write a number of seconds above 0, at most 60; see authguard "),
        (["http://x/", "--timeout", "x"], "--timeout: write a number of seconds above 0, at most 60; see authguard "),
        (["http://x/", "--method", "get"], "--method: invalid choice: 'get'"),
    ],
)
def test_what_cannot_be_probed_is_the_status_2(
    arguments: list[str], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line says what to write."""
    assert run("probe", *arguments) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(error)
    assert "s3cret" not in err
