"""The page of several processes in a browser, with a real Redis between them."""

from __future__ import annotations

import json
from contextlib import ExitStack

import pytest
from redis.asyncio import Redis

from authguard.inspector import event_stream
from authguard.inspector.decision_log import Worker
from authguard.state.redis import RedisBackend
from tests.inspector.test_browser import AXE, PAYLOADS, Stage, complaints, text_of, wait
from tests.records.test_patterns import denied
from tests.state.redis.servers import command, running_server, server_program
from tests.support.inspected import InspectedApp, served
from tests.support.servers.browser import PROGRAM, Browser

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(PROGRAM is None, reason="chromium is not here"),
    pytest.mark.skipif(server_program("redis") is None, reason="redis-server is not here"),
]


def test_a_page_shows_all_processes_and_goes_on_without_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    """The decisions of both, also after one is gone; one of them alone; texts from Redis as texts; and this process
    alone when Redis is away."""
    monkeypatch.setattr(event_stream, "TICKS", 8)
    program = server_program("redis")
    assert program is not None
    with ExitStack() as stack:
        server = ExitStack()
        stack.enter_context(server)
        port = server.enter_context(running_server(program))

        def app(pid: int) -> InspectedApp:
            backend = RedisBackend(lambda: Redis.from_url(f"redis://127.0.0.1:{port}"))
            made = InspectedApp(redis=backend)
            made.log.worker = Worker(pid, "web", 1000.0)
            made.feed_first()
            return made

        one, two = app(1), app(2)
        other = stack.enter_context(ExitStack())
        url, other_url = stack.enter_context(served(one.app)), other.enter_context(served(two.app))
        here = Stage(one, url, stack.enter_context(Browser()), [])
        stack.callback(here.close)
        page = here.open()
        there = Stage(two, other_url, here.browser, [])
        there.open()
        two.log(denied(subject="of the other"))
        wait(page, "document.getElementById('rows').innerText.includes('of the other')")
        wait(page, "document.getElementById('processes').innerText.includes('2 processes')")

        page.evaluate("window.hits = 0, window.pwned = () => window.hits++")
        for payload in PAYLOADS:
            record = json.dumps({"event": "denied", "method": payload, "path": payload, "reason": payload})
            fields = ["process", payload, "number", "7", "at", "1796006840", "record", record]
            command(port, "XADD", "authguard:i:decisions", "*", *fields)
        wait(page, "document.getElementById('rows').innerText.includes('<script>pwned()')")
        assert page.evaluate("window.hits") == 0
        assert page.evaluate("document.querySelectorAll('img, iframe, #rows svg').length") == 0

        page.evaluate(
            "(() => { const f = document.getElementById('filters'); f.elements.process.value = '2-1000-web';"
            "f.dispatchEvent(new Event('input', {bubbles: true})); })()"
        )
        wait(
            page,
            "(rows => rows.length > 1 && rows.every(row => row.innerText.includes('2@web')))"
            "([...document.querySelectorAll('#rows tr')])",
        )
        page.evaluate("document.getElementById('clear').click()")
        there.close()
        other.close()
        monkeypatch.setattr("authguard.inspector.shared_decisions.GONE_AFTER", 2.0)
        wait(page, "document.getElementById('processes').innerText.includes('1 of them gone')")
        assert "of the other" in text_of(page, "#rows")
        if AXE.exists():
            page.evaluate(f"{AXE.read_text('utf-8')}; 0")
            assert (
                page.evaluate("axe.run(document, {resultTypes: ['violations']}).then(r => r.violations.map(v => v.id))")
                == []
            )

        server.close()
        one.log(denied(subject="without redis"))
        wait(page, "document.getElementById('rows').innerText.includes('without redis')")
        wait(page, "document.getElementById('processes').innerText.includes('Redis does not answer')")
        assert complaints(page) == []
