// The page of the inspector. Every text from the guard becomes a text node: nothing here makes markup of it, and the
// Content-Security-Policy of the page forbids that a script could.
"use strict";

(() => {
  const MOST_ROWS = 1000;
  const PAGE_OF_ROWS = 100;
  const COLOURS = 6;
  const SVG = "http://www.w3.org/2000/svg";
  const byId = (id) => document.getElementById(id);

  // --- elements ------------------------------------------------------------------------------------------------------

  function make(tag, name, ...content) {
    const node = document.createElement(tag);
    if (name) node.className = name;
    for (const one of content) node.append(one);
    return node;
  }

  function draw(tag, attributes, ...content) {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    for (const one of content) node.append(one);
    return node;
  }

  function setText(node, text) {
    if (node.textContent !== text) node.textContent = text;
  }

  function linkButton(text, action) {
    const button = make("button", "link", text);
    button.type = "button";
    button.addEventListener("click", action);
    return button;
  }

  // Update the children of a list in place, so that the focus stays where it is.
  function reconcile(parent, items, keyOf, create, update) {
    const known = new Map([...parent.children].map((node) => [node.dataset.key, node]));
    const hasFocus = parent.contains(document.activeElement);
    items.forEach((item, index) => {
      const key = keyOf(item);
      let node = known.get(key);
      const isNew = node === undefined;
      if (isNew) {
        node = create(item);
        node.dataset.key = key;
      }
      update(node, item);
      if (isNew || (!hasFocus && parent.children[index] !== node)) parent.insertBefore(node, parent.children[index] || null);
      known.delete(key);
    });
    for (const node of known.values()) node.remove();
  }

  // Sentences with code in backquotes, as the advice has them.
  function withCode(parent, text) {
    String(text).replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").split("`").forEach((part, index) => {
      if (part) parent.append(index % 2 ? make("code", "", part) : part);
    });
    return parent;
  }

  // --- words ---------------------------------------------------------------------------------------------------------

  const numbers = new Intl.NumberFormat("en");
  const clockOf = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
  const exactClockOf = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const dayOf = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
  const at = (format, seconds) => format.format(new Date(seconds * 1000));
  let now = Date.now() / 1000; // by the clock of the guard, once it has told
  const sinceText = (seconds) => at(now - seconds > 72000 ? dayOf : clockOf, seconds);

  function plural(number, one, many) {
    return `${numbers.format(number)} ${number === 1 ? one : many || one + "s"}`;
  }

  function duration(seconds) {
    const size = Math.abs(seconds);
    for (const [unit, length] of [["d", 86400], ["h", 3600], ["min", 60]]) {
      if (size >= 2 * length) return `${Math.round(seconds / length)} ${unit}`;
    }
    return `${size >= 10 || Number.isInteger(seconds) ? Math.round(seconds) : seconds.toFixed(1)} s`;
  }

  // --- state ---------------------------------------------------------------------------------------------------------

  let source = null;
  let worker = null;
  let isShared = false; // whether the decisions of several processes are shown
  let leeway = 60;
  let rows = []; // the newest first
  let visible = PAGE_OF_ROWS;
  let selected = null;
  let isPaused = false;
  let isPointedAt = false;
  let skipped = 0;
  let unseen = 0;
  let announced = new Set();
  let colours = new Map();
  let lost = 0;

  // --- the connection ------------------------------------------------------------------------------------------------

  function showConnection(kind, text) {
    byId("connection").className = `connection ${kind}`;
    setText(byId("connection-text"), text);
  }

  function filters() {
    const form = new FormData(byId("filters"));
    const query = new URLSearchParams();
    for (const name of ["reason", "rule", "path", "subject", "client", "process"]) {
      const value = String(form.get(name) || "").trim();
      if (value) query.set(name, value);
    }
    if (form.get("grants")) query.set("grants", "1");
    return query;
  }

  function connect() {
    if (source) source.close();
    clearTimeout(lost);
    if (isPaused) return;
    const events = new EventSource(`events?${filters()}`);
    source = events;
    events.addEventListener("hello", (event) => greet(JSON.parse(event.data)));
    events.addEventListener("state", (event) => showState(JSON.parse(event.data)));
    events.addEventListener("decisions", (event) => receive(JSON.parse(event.data)));
    events.addEventListener("displaced", () => {
      events.close();
      showConnection("lost", "Another page took this one's place. Reload to come back");
    });
    events.addEventListener("error", () => {
      clearTimeout(lost);
      if (events.readyState === EventSource.CLOSED) {
        showConnection("lost", "The server does not answer, or no longer lets this page in");
        lost = setTimeout(connect, 5000);
      } else { // the server ends each response after some seconds, and the browser asks again
        lost = setTimeout(() => showConnection("lost", "The server does not answer"), 3000);
      }
    });
  }

  function greet(hello) {
    clearTimeout(lost);
    now = hello.now;
    showConnection("live", "Live");
    setText(byId("title"), hello.title || "authguard");
    document.title = `${hello.title ? hello.title + " · " : ""}inspector`;
    const is = hello.worker;
    setText(byId("worker"), `process ${is.pid} on ${is.host}, since ${sinceText(is.since)}`);
    leeway = hello.leeway;
    isShared = hello.shared;
    if (worker !== null && worker !== is.id && !isShared) { // another process of the server has answered
      rows = [];
      selected = null;
      closeDetail();
      rebuildRows();
    }
    worker = is.id;
  }

  // --- what stands out -----------------------------------------------------------------------------------------------

  function showBursts(bursts) {
    byId("no-bursts").hidden = bursts.length > 0;
    const keyOf = (one) => `${one.reason} ${one.scheme} ${one.since}`;
    reconcile(byId("bursts"), bursts, keyOf, (one) => {
      const about = make("p", "about", make("span", ""), " ");
      about.append(linkButton(`Show ${one.reason}`, () => setFilter("reason", one.reason)));
      const head = make("p", "head", make("strong", ""), make("span", ""));
      return make("li", "", head, make("p", "meaning"), about);
    }, (node, one) => {
      const [head, meaning, about] = node.children;
      node.className = `${one.over ? "over" : one.steady ? "steady" : ""} ${one.status >= 500 ? "outage" : ""}`.trim();
      setText(head.children[0], numbers.format(one.count));
      const when = one.over ? `from ${sinceText(one.since)} to ${sinceText(one.last)}` : `since ${sinceText(one.since)}`;
      setText(head.children[1], ` ${one.what}, ${when}`);
      setText(meaning, one.meaning ? `${one.meaning}.` : "");
      meaning.hidden = !one.meaning;
      const words = [one.scheme || "no scheme", one.clients ? many(one.clients, "client") : "", one.subjects ? many(one.subjects, "name") : ""];
      if (one.over) words.push("over");
      else if (one.steady) words.push("about as often as before");
      setText(about.children[0], words.filter(Boolean).join(" · ") + " ·");
    });
    const loud = bursts.filter((one) => !one.steady && !one.over);
    const fresh = loud.filter((one) => !announced.has(keyOf(one)));
    if (fresh.length) setText(byId("announcement"), fresh.map((one) => `New: ${one.count} ${one.what}. ${one.meaning}`).join(" "));
    announced = new Set(loud.map(keyOf));
  }

  function many(number, one) {
    return number >= 32 ? `32 or more ${one}s` : plural(number, one);
  }

  // --- refusals over time --------------------------------------------------------------------------------------------

  let plot = null;
  let plotKey = "";
  let plotted = null;

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  function showRefusals(state) {
    const sum = (list) => list.reduce((total, one) => total + one, 0);
    const reasons = Object.keys({ ...state.totals, ...state.series }).map((reason) => {
      const series = state.series[reason] || [];
      return { reason, hour: sum(series), recent: sum(series.slice(-5)), all: state.totals[reason] || 0 };
    }).sort((one, other) => other.hour - one.hour || other.all - one.all || (one.reason < other.reason ? -1 : 1));
    const drawn = reasons.filter((one) => one.hour).slice(0, COLOURS).map((one) => one.reason);
    keepColours(drawn);
    reconcile(byId("reasons"), reasons, (one) => one.reason, (one) => {
      const swatch = make("span", "swatch");
      swatch.setAttribute("aria-hidden", "true");
      const name = make("td", "", swatch, linkButton(one.reason, () => setFilter("reason", one.reason)));
      return make("tr", "", name, make("td", "number"), make("td", "number"), make("td", "number"));
    }, (node, one) => {
      const [name, recent, hour, all] = node.children;
      name.children[0].className = `swatch ${colours.has(one.reason) ? "c" + colours.get(one.reason) : ""}`;
      for (const [cell, number] of [[recent, one.recent], [hour, one.hour], [all, one.all]]) {
        cell.className = `number ${number ? "" : "zero"}`;
        setText(cell, numbers.format(number));
      }
    });
    const reported = state.would_deny ? `, ${numbers.format(state.would_deny)} passed report-only` : "";
    setText(byId("totals"), `${numbers.format(state.granted)} granted, ${numbers.format(state.denied)} refused${reported}`);
    offer("reason", reasons.map((one) => one.reason));
    showPlot(state, drawn, sum);
  }

  // A reason keeps its colour while it is drawn.
  function keepColours(drawn) {
    for (const reason of [...colours.keys()]) if (!drawn.includes(reason)) colours.delete(reason);
    for (const reason of drawn) {
      if (!colours.has(reason)) {
        const used = new Set(colours.values());
        colours.set(reason, [...Array(COLOURS).keys()].find((number) => !used.has(number)));
      }
    }
  }

  function showPlot(state, drawn, sum) {
    const first = (Math.floor(state.now / 60) - state.minutes + 1) * 60;
    const times = Array.from({ length: state.minutes }, (_, index) => first + 60 * index);
    const others = times.map((_, index) => sum(Object.entries(state.series).map(([reason, list]) => (drawn.includes(reason) ? 0 : list[index]))));
    const parts = drawn.map((reason) => [reason, state.series[reason]]);
    if (sum(others)) parts.push(["others", others]);
    // Each series is drawn over the one before, so the first is the height of all.
    const heights = parts.map((_, index) => times.map((_, minute) => sum(parts.slice(index).map(([, list]) => list[minute]))));
    plotted = { times, parts };
    const total = sum(parts.map(([, list]) => sum(list)));
    const label = `Refusals per minute in the last hour: ${plural(total, "refusal")}` + parts.map(([reason, list]) => `, ${sum(list)} ${reason}`).join("");
    byId("chart").setAttribute("aria-label", label);
    const key = parts.map(([reason]) => `${reason} ${colours.get(reason)}`).join();
    if (plot === null || key !== plotKey) {
      if (plot) plot.destroy();
      plotKey = key;
      plot = new uPlot(plotOptions(parts), [times, ...heights], byId("chart"));
    } else {
      plot.setData([times, ...heights]);
    }
  }

  function plotOptions(parts) {
    const axis = { stroke: () => colour("--soft"), grid: { stroke: () => colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const bars = uPlot.paths.bars({ size: [0.8, 40], align: 1 });
    return {
      width: byId("chart").clientWidth,
      height: 210,
      legend: { show: false },
      cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
      scales: { y: { range: (_, low, high) => [0, Math.max(4, high * 1.05)] } },
      axes: [
        { ...axis, grid: { show: false }, values: (_, marks) => marks.map((one) => at(clockOf, one)), space: 70 },
        { ...axis, size: 46, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000] },
      ],
      series: [{}, ...parts.map(([reason]) => ({
        paths: bars,
        points: { show: false },
        width: 0,
        fill: () => colour(`--s${colours.has(reason) ? colours.get(reason) : 6}`),
      }))],
      hooks: { setCursor: [(self) => showReadout(self.cursor.idx)] },
    };
  }

  function showReadout(index) {
    let text = "";
    if (index !== null && index !== undefined && plotted && index < plotted.times.length) {
      const there = plotted.parts.filter(([, list]) => list[index]).map(([reason, list]) => `${list[index]} ${reason}`);
      text = `${at(clockOf, plotted.times[index])}  ${there.join(", ") || "none"}`;
    }
    setText(byId("readout"), text);
  }

  // --- the decisions -------------------------------------------------------------------------------------------------

  function receive(batch) {
    skipped += batch.skipped;
    const isFirst = rows.length === 0 || batch.more;
    for (const one of batch.decisions) one.key = one.worker ? `${one.worker} ${one.n}` : String(one.n);
    const known = new Set(rows.map((one) => one.key));
    const fresh = batch.decisions.filter((one) => !known.has(one.key)).reverse();
    // Those of several processes arrive out of order.
    const isLater = fresh.length > 0 && isShared;
    rows = [...fresh, ...rows];
    if (isLater) rows.sort((one, other) => other.at - one.at);
    rows = rows.slice(0, MOST_ROWS);
    offer("rule", fresh.map((one) => one.rule).filter(Boolean));
    if (isHeld()) {
      unseen += fresh.length;
    } else if (isLater) {
      rebuildRows();
    } else {
      addRows(fresh, !isFirst);
    }
    showHeld();
  }

  // While somebody points at the list, or is in it with the keyboard, it does not move.
  function isHeld() {
    return isPaused || isPointedAt || byId("rows").contains(document.activeElement);
  }

  function showHeld() {
    const words = [];
    if (isHeld() && unseen) words.push(`The list stands still while you look at it: ${plural(unseen, "new decision")}`);
    if (skipped) words.push(`${numbers.format(skipped)} came too fast to be shown`);
    setText(byId("held"), words.join(" · "));
    byId("no-rows").hidden = rows.length > 0;
    byId("more").hidden = rows.length <= visible;
  }

  function release() {
    if (!isHeld() && unseen) {
      unseen = 0;
      rebuildRows();
    }
    showHeld();
  }

  function addRows(fresh, isFresh) {
    const body = byId("rows");
    body.prepend(...fresh.slice(0, visible).map((one) => rowOf(one, isFresh)));
    while (body.children.length > visible) body.lastChild.remove();
  }

  function rebuildRows() {
    byId("rows").replaceChildren(...rows.slice(0, visible).map((one) => rowOf(one, false)));
    showHeld();
  }

  function cell(name, text) {
    const node = make("td", name, text);
    node.title = text;
    return node;
  }

  function rowOf(one, isFresh) {
    const button = linkButton(one.reason || "granted", () => openDetail(one, button));
    button.setAttribute("aria-expanded", String(selected === one.key));
    button.setAttribute("aria-controls", "detail");
    button.dataset.number = one.n;
    button.dataset.key = one.key;
    const status = one.status === null ? "" : String(one.status);
    const passed = one.event === "would_deny";
    const who = cell(one.subject !== null && !one.proven ? "unproven" : "", one.subject === null ? "" : one.subject);
    if (one.subject !== null && !one.proven) who.title = `${one.subject}, which nothing has proven`;
    const row = make("tr", isFresh ? "fresh" : "",
      cell("soft", at(exactClockOf, one.at)),
      make("td", `status s${passed ? "2" : status.charAt(0) || "2"}`, passed ? `passed (${status})` : status || "ok"),
      make("td", "", button),
      cell("mono", `${one.method} ${one.path}`),
      who,
      cell("", one.client || ""),
      cell("mono soft", one.process ? `${one.process} ${one.brief}` : one.brief));
    row.dataset.number = one.n;
    row.dataset.key = one.key;
    row.classList.toggle("selected", selected === one.key);
    return row;
  }

  function setFilter(name, value) {
    const field = byId("filters").elements[name];
    if (field.tagName === "SELECT") offer(name, [value]);
    field.value = value;
    applyFilters();
    byId("decisions").scrollIntoView({ block: "start" });
    byId("decisions").focus({ preventScroll: true });
  }

  // Add choices to a list of a filter. What is chosen stays.
  function offer(name, values) {
    const list = byId("filters").elements[name];
    const known = new Set([...list.options].map((one) => one.value));
    for (const value of values) {
      if (!known.has(value) && list.options.length < 300) {
        known.add(value);
        list.append(new Option(value, value));
      }
    }
  }

  function applyFilters() {
    rows = [];
    skipped = unseen = 0;
    visible = PAGE_OF_ROWS;
    rebuildRows();
    setText(byId("no-rows"), String(filters()) ? "No decision fits." : "No decision yet.");
    connect();
  }

  // --- one decision --------------------------------------------------------------------------------------------------

  function openDetail(one, button) {
    if (selected === one.key && !byId("detail").hidden) {
      closeDetail();
      return;
    }
    selected = one.key;
    markSelected();
    const why = one.explanation;
    setText(byId("detail-title"), one.reason || "granted");
    const body = make("div", "");
    body.append(make("p", "request mono", `${one.status === null ? "" : one.status + " "}${one.method} ${one.path}`));
    body.append(make("p", "soft", `${at(dayOf, one.at)}, decision ${one.n}${one.process ? " of process " + one.process : ""}`));
    if (one.event === "would_deny") body.append(make("p", "", "It passed, because what denies it is report-only."));
    if (why.cause) body.append(withCode(make("p", "cause"), why.cause));
    const times = timesOf(why.facts);
    if (times) body.append(times);
    if (why.advice) body.append(make("div", "advice", make("h4", "", "What to do"), withCode(make("p", ""), why.advice)));
    for (const [kind, title] of [["found", "What was found"], ["wanted", "What was wanted"], ["", "Other facts"]]) {
      const facts = why.facts.filter((fact) => fact.kind === kind);
      if (facts.length) body.append(make("h4", "", title), factList(facts));
    }
    // The last step has the facts again.
    const steps = why.steps.filter((step) => step.title !== one.reason && (step.found || step.wanted));
    if (steps.length) body.append(make("h4", "", "The way to the decision"), stepList(steps));
    for (const note of why.notes) body.append(withCode(make("p", "soft"), note));
    if (one.client) body.append(make("p", "more", linkButton("Show all of this client", () => setFilter("client", one.client))));
    byId("detail-body").replaceChildren(body);
    byId("detail").hidden = false;
    byId("split").classList.add("opened");
    byId("detail").scrollTop = 0;
    byId("detail").focus({ preventScroll: false });
    button.setAttribute("aria-expanded", "true");
  }

  function factList(facts) {
    const list = make("dl", "facts");
    for (const fact of facts) {
      const text = make("dd", "mono", fact.text);
      if (fact.meaning) text.append(withCode(make("span", "says"), fact.meaning));
      list.append(make("dt", "", fact.name), text);
    }
    return list;
  }

  function stepList(steps) {
    const list = make("ul", "steps");
    for (const step of steps) {
      const text = [step.found, step.wanted ? `wanted: ${step.wanted}` : ""].filter(Boolean).join("; ");
      list.append(make("li", "", make("span", "name", step.title), make("span", "text mono", text)));
    }
    return list;
  }

  function closeDetail() {
    const key = selected;
    selected = null;
    byId("detail").hidden = true;
    byId("split").classList.remove("opened");
    markSelected();
    const button = [...byId("rows").querySelectorAll("button")].find((one) => one.dataset.key === key);
    if (button) button.focus();
  }

  function markSelected() {
    for (const row of byId("rows").children) {
      const isSelected = row.dataset.key === selected;
      row.classList.toggle("selected", isSelected);
      row.querySelector("button").setAttribute("aria-expanded", String(isSelected));
    }
  }

  // The time of a refusal on a line: what ended or begins, the leeway after or before it, and now.
  function timesOf(facts) {
    const seconds = (name) => {
      const fact = facts.find((one) => one.name === name);
      const found = fact && /^(-?[0-9.]+)s?$/.exec(fact.text);
      return found ? Number(found[1]) : null;
    };
    const allowed = seconds("leeway") || 0;
    for (const [name, word, direction] of [["expired_by", "expired", 1], ["valid_in", "valid from", -1], ["issued_in", "issued", -1], ["idle_by", "idle since", 1], ["early_by", "begins", -1], ["begins_in", "begins", -1]]) {
      const by = seconds(name);
      if (by !== null) return timeLine(by, allowed, word, direction);
    }
    return null;
  }

  function timeLine(by, allowed, word, direction) {
    const far = Math.max(by, allowed) * 1.15 || 1;
    const x = (value) => (direction > 0 ? 40 + (value / far) * 330 : 390 - (value / far) * 330);
    const left = Math.min(x(0), x(allowed));
    const drawing = draw("svg", { viewBox: "0 0 430 74", class: "drawing", role: "img", "aria-label": `${word} by ${duration(by)}; the leeway is ${duration(allowed)}` });
    drawing.append(
      draw("rect", { x: left, y: 28, width: Math.abs(x(allowed) - x(0)), height: 14, class: "band" }),
      draw("line", { x1: 10, y1: 35, x2: 420, y2: 35, class: "axis" }),
      draw("line", { x1: x(0), y1: 22, x2: x(0), y2: 48, class: "zero-mark" }),
      draw("line", { x1: x(0), y1: 35, x2: x(by), y2: 35, class: "span bad" }),
      draw("circle", { cx: x(by), cy: 35, r: 5, class: "point bad" }),
      draw("text", { x: x(0), y: 16, "text-anchor": direction > 0 ? "start" : "end" }, word),
      draw("text", { x: x(by), y: 16, "text-anchor": direction > 0 ? "end" : "start", class: "strong" }, `now, ${duration(by)} ${direction > 0 ? "after" : "before"}`),
    );
    if (allowed) drawing.append(draw("text", { x: direction > 0 ? left : left + Math.abs(x(allowed) - x(0)), y: 64, "text-anchor": direction > 0 ? "start" : "end" }, `leeway ${duration(allowed)}`));
    return drawing;
  }

  // --- who is refused most -------------------------------------------------------------------------------------------

  function showOffenders(offenders) {
    for (const [kind, id, field, other] of [["client", "clients", "client", "name"], ["subject", "subjects", "subject", "client"], ["rule", "rules", "rule", "client"]]) {
      reconcile(byId(id), offenders.filter((one) => one.kind === kind), (one) => one.name, (one) => {
        const who = linkButton(one.name, () => setFilter(field, one.name));
        who.classList.add("who");
        who.title = one.name;
        return make("li", "", make("span", "count"), make("div", "", who, make("span", "about"), make("span", "note")));
      }, (node, one) => {
        setText(node.children[0], numbers.format(one.count));
        const [, about, note] = node.children[1].children;
        const others = one.others ? ` · ${plural(one.others, other)}` : "";
        setText(about, `mostly ${one.reason}${others} · since ${sinceText(one.first)}`);
        setText(note, one.note);
      });
    }
  }

  // --- clocks, keys, passwords, stores -------------------------------------------------------------------------------

  function showHealth(state) {
    const clocks = [];
    const others = [];
    for (const [scheme, health] of Object.entries(state.health)) {
      if (health === null || typeof health !== "object") continue;
      if ("servers" in health) { // a store that is the guard's own
        others.push({ kind: "store", name: scheme, scheme: "guard", value: health });
        continue;
      }
      for (const [name, store] of Object.entries(health.stores || {})) others.push({ kind: "store", name: `Store of ${name}`, scheme, value: store });
      for (const [issuer, clock] of Object.entries(health.clocks || {})) clocks.push({ issuer, scheme, ...clock });
      if (health.introspection && health.introspection.clock) clocks.push({ issuer: String(health.introspection.url), scheme, ...health.introspection.clock });
      for (const keys of health.keys || []) others.push({ kind: "keys", name: String(keys.source || scheme), scheme, value: keys });
      if ("threads" in health) others.push({ kind: "hashing", name: "Password hashing", scheme, value: health });
      const known = new Set(["clocks", "keys", "stores"]);
      const rest = "threads" in health ? {} : flat(Object.fromEntries(Object.entries(health).filter(([name]) => !known.has(name))));
      if (Object.keys(rest).length) others.push({ kind: "figures", name: scheme || "guard", scheme, value: rest });
    }
    if (state.throttle.schemes.length) {
      const value = { "attempts refused since the start": state.throttle.refused, "in the last hour": (state.series["attempts.exceeded"] || []).reduce((sum, one) => sum + one, 0) };
      others.push({ kind: "figures", name: "Login throttle", scheme: state.throttle.schemes.join(", "), value });
    }
    for (const [name, health] of Object.entries(state.others || {})) others.push({ kind: "figures", name: `Process ${name}`, scheme: "", value: flat(health) });
    const seen = clocks.filter((one) => one.tokens);
    byId("no-clocks").hidden = seen.length > 0;
    byId("clocks-section").hidden = clocks.length === 0;
    showGauges("clocks", seen, (one) => `${one.scheme} ${one.issuer}`, (one) => [one.issuer, one.scheme], clockGauge);
    const gauges = { keys: keysGauge, hashing: hashingGauge, store: storeGauge, figures };
    showGauges("health", others, (one) => `${one.kind} ${one.scheme} ${one.name}`, (one) => [one.name, one.scheme], (one) => gauges[one.kind](one.value));
  }

  function showGauges(id, items, keyOf, namesOf, gaugeOf) {
    reconcile(byId(id), items, keyOf, (one) => {
      const [name, kind] = namesOf(one);
      return make("li", "", make("div", "name", name, make("span", "kind", kind)), make("div", ""));
    }, (node, one) => {
      const text = JSON.stringify(one);
      if (node.dataset.shown !== text) {
        node.dataset.shown = text;
        node.children[1].replaceChildren(...[gaugeOf(one)].flat());
      }
    });
  }

  // Where the issuer's clock may be, as seen from here: left is behind, right is ahead.
  function clockGauge(one) {
    const reach = leeway * 1.5 || 90;
    const x = (seconds) => 360 + (Math.max(-reach, Math.min(reach, seconds)) / reach) * 340;
    const ahead = -one.smallest;
    const part = leeway ? ahead / leeway : 0;
    const kind = part >= 1 ? "bad" : part >= 0.5 || one.tolerated ? "warn" : "";
    const drawing = draw("svg", { viewBox: "0 0 720 50", preserveAspectRatio: "xMidYMid meet", "aria-hidden": "true" });
    drawing.append(
      draw("rect", { x: x(-leeway), y: 13, width: x(leeway) - x(-leeway), height: 14, rx: 2, class: "band" }),
      draw("line", { x1: 20, y1: 20, x2: 700, y2: 20, class: "axis" }),
      draw("line", { x1: 360, y1: 8, x2: 360, y2: 32, class: "zero-mark" }),
      draw("text", { x: 360, y: 44, "text-anchor": "middle" }, "this clock"),
      draw("text", { x: x(-leeway), y: 44, "text-anchor": "middle" }, `${duration(leeway)} behind`),
      draw("text", { x: x(leeway), y: 44, "text-anchor": "middle" }, `${duration(leeway)} ahead`),
    );
    // Nothing says how far behind a clock is that is not ahead: no further than the youngest token is old.
    if (ahead <= 0) drawing.append(draw("line", { x1: x(ahead), y1: 20, x2: 360, y2: 20, class: `span ${kind}` }));
    drawing.append(draw("circle", { cx: x(ahead), cy: 20, r: 5, class: `point ${kind}` }));
    const where = ahead > 0 ? `Ahead by ${duration(ahead)}` : ahead < 0 ? `Not ahead, and at most ${duration(-ahead)} behind` : "Neither ahead nor behind";
    const used = one.tolerated ? `, and ${plural(one.tolerated, "token")} passed only by the leeway` : "";
    const typical = one.typical === null ? "" : ` Half of the ${plural(one.tokens, "token")} were younger than ${duration(one.typical)}.`;
    return [drawing, make("p", `says ${kind}`, `${where}${used}.${typical}`)];
  }

  function keysGauge(keys) {
    if (!("age" in keys)) return figures(flat(keys));
    const left = keys.fresh_for || 0;
    const whole = (keys.age || 0) + left;
    const isStale = keys.age !== null && left === 0;
    const words = [keys.age === null ? "Not fetched yet" : `${plural(keys.keys, "key")}, fetched ${duration(keys.age)} ago`];
    if (keys.skipped) words.push(`${keys.skipped} of the set cannot be used`);
    if (keys.age !== null) words.push(left ? `fresh for ${duration(left)}` : `out of date, usable for ${duration(keys.usable_for)}`);
    if (keys.fetching_for !== null) words.push(`fetching for ${duration(keys.fetching_for)}`);
    const says = make("p", `says ${isStale ? "warn" : ""}`, `${words.join(" · ")}.`);
    const content = [bar(whole ? (keys.age || 0) / whole : 0, isStale ? "warn" : ""), says];
    if (keys.last_error) content.push(make("p", "says bad", `Failing for ${duration(keys.failing_for)}: ${keys.last_error}. Next try in ${duration(keys.next_try_in || 0)}.`));
    return content;
  }

  function hashingGauge(pool) {
    const part = pool.most_waiting ? pool.waiting / (2 * pool.most_waiting) : 0;
    return [bar(part, part > 0.5 ? "bad" : part > 0.1 ? "warn" : ""),
      make("p", "says", `${pool.working} of ${plural(pool.threads, "thread")} at work, ${pool.waiting} waiting, ${pool.waiting_known} of them known.${hashTime(pool.average_seconds)}`)];
  }

  // A store on a server: whether it answers, and each server with its figures.
  function storeGauge(store) {
    if (store === null || typeof store !== "object") return figures({ state: store });
    const { state, servers, ...others } = store;
    const content = [make("p", `says ${state === "ok" || state === "unused" ? "" : "bad"}`, state === undefined ? "No state is known" : String(state))];
    for (const server of Array.isArray(servers) ? servers : []) content.push(figures(flat(Object(server))));
    if (Object.keys(flat(others)).length) content.push(figures(flat(others)));
    return content;
  }

  function hashTime(seconds) {
    return seconds === null ? "" : ` A hash takes ${seconds < 1 ? Math.round(seconds * 1000) + " ms" : duration(seconds)}.`;
  }

  function bar(part, kind) {
    const drawing = draw("svg", { viewBox: "0 0 720 12", preserveAspectRatio: "none", "aria-hidden": "true" });
    drawing.append(draw("rect", { x: 0, y: 3, width: 720, height: 6, rx: 3, class: "bar-ground" }));
    drawing.append(draw("rect", { x: 0, y: 3, width: Math.max(0, Math.min(1, part)) * 720, height: 6, rx: 3, class: `bar ${kind}` }));
    drawing.style.height = "12px";
    return drawing;
  }

  // Values below values, by a name with dots.
  function flat(value, prefix = "") {
    const result = {};
    for (const [name, one] of Object.entries(value)) {
      if (one !== null && typeof one === "object" && !Array.isArray(one)) Object.assign(result, flat(one, `${prefix}${name}.`));
      else if (!Array.isArray(one) || one.length) result[prefix + name] = Array.isArray(one) ? one.map((item) => (item !== null && typeof item === "object" ? JSON.stringify(item) : String(item))).join(", ") : one;
    }
    return result;
  }

  function figures(value) {
    const list = make("dl", "figures");
    for (const [name, one] of Object.entries(value)) {
      const text = typeof one === "number" ? numbers.format(one) : one === null ? "none" : String(one);
      list.append(make("div", "", make("dt", "", name.replaceAll("_", " ")), make("dd", "", text)));
    }
    return list;
  }

  // --- routes --------------------------------------------------------------------------------------------------------

  async function showRoutes() {
    let answer;
    try {
      answer = await (await fetch("routes")).json();
    } catch {
      setText(byId("routes-note"), "The routes could not be read.");
      return;
    }
    const open = answer.routes.filter((one) => one.open).length;
    const words = answer.error ? [`The audit raised ${answer.error}.`] : [plural(answer.routes.length, "row"), plural(open, "row") + " open", plural(answer.findings.length, "finding")];
    if (answer.more) words.push(`${answer.more} more are not shown`);
    setText(byId("routes-note"), words.join(" · "));
    byId("findings").replaceChildren(...answer.findings.map((one) => make("li", "",
      make("p", "", make("code", "", `${one.code} ${one.about}`), one.location ? make("span", "where", ` ${one.location}`) : ""),
      make("p", "", `${one.problem.charAt(0).toUpperCase()}${one.problem.slice(1)}. ${one.fix}.`))));
    byId("routes").replaceChildren(...answer.routes.map((one) => make("tr", "",
      make("td", "mono", one.method), make("td", "mono", one.path),
      make("td", one.open ? "mono open" : "mono", [...one.requires, ...one.but.map((but) => `but ${but}`)].join("; ")),
      make("td", "", one.schemes.join(", ")), make("td", "soft", one.location))));
  }

  // --- all of it -----------------------------------------------------------------------------------------------------

  // Which processes are shown, and the choice of one.
  function showProcesses(state) {
    const { processes } = state;
    byId("process").hidden = false;
    const list = byId("filters").elements.process;
    reconcile(list, [{ id: "", name: "all" }, ...processes], (one) => one.id, (one) => new Option("", one.id), (node, one) => {
      setText(node, `${one.name}${one.own ? " (this one)" : ""}${one.gone ? " (gone)" : ""}`);
    });
    const gone = processes.filter((one) => one.gone).length;
    const words = [`${plural(processes.length, "process", "processes")}${gone ? `, ${gone} of them gone` : ""}`];
    if (state.away) words[0] = "Redis does not answer: this page shows one process alone";
    if (state.skipped) words.push(`${numbers.format(state.skipped)} decisions came too fast to be shared`);
    if (state.dropped) words.push(`${plural(state.dropped, "value")} in Redis could not be read`);
    setText(byId("processes"), words.join(" · "));
  }

  function showState(state) {
    now = state.now;
    if (isShared) showProcesses(state);
    showBursts(state.bursts);
    showRefusals(state);
    showOffenders(state.offenders);
    showHealth(state);
  }

  function start() {
    let waiting = 0;
    byId("filters").addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(applyFilters, 300);
    });
    byId("filters").addEventListener("submit", (event) => event.preventDefault());
    byId("filters").addEventListener("reset", () => setTimeout(applyFilters));
    byId("pause").addEventListener("click", () => {
      isPaused = !isPaused;
      byId("pause").setAttribute("aria-pressed", String(isPaused));
      setText(byId("pause"), isPaused ? "Go on" : "Pause");
      if (isPaused) {
        if (source) source.close();
        showConnection("", "Paused");
      } else {
        connect();
        release();
      }
    });
    byId("more").addEventListener("click", () => {
      visible += PAGE_OF_ROWS;
      rebuildRows();
    });
    byId("close").addEventListener("click", closeDetail);
    const list = byId("rows");
    list.addEventListener("pointerenter", () => { isPointedAt = true; showHeld(); });
    list.addEventListener("pointerleave", () => { isPointedAt = false; release(); });
    list.addEventListener("focusout", () => setTimeout(release));
    list.addEventListener("keydown", (event) => {
      const row = event.target.closest("tr");
      const next = row && (event.key === "ArrowDown" ? row.nextElementSibling : event.key === "ArrowUp" ? row.previousElementSibling : null);
      if (next) {
        event.preventDefault();
        next.querySelector("button").focus();
      }
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !byId("detail").hidden) closeDetail();
    });
    new ResizeObserver(() => {
      if (plot) plot.setSize({ width: byId("chart").clientWidth, height: 210 });
    }).observe(byId("chart"));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plot && plot.redraw());
    connect();
    showRoutes();
  }

  start();
})();
