"use strict";
// What is shown is a function of location.hash: every link, filter and key changes that, and show() follows.
// Text comes from results, so it is only ever inserted as text.

const data = JSON.parse(document.getElementById("data").textContent);
const { cells, guests, scenarios, verdicts, texts } = data;
const count = cells.scenario.length;
const [VARIANT, MECHANISM, TOOLCHAIN, ENGINE, IMAGE] = [0, 1, 2, 3, 4]; // of a guest
const ROW = 28; // pixels, --row of the style sheet
const $ = (id) => document.getElementById(id);

// Elements.

function make(name, properties, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "class") element.className = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(2).filter((child) => child !== null && child !== undefined));
  return element;
}
const thousands = (number) => number.toLocaleString("en-US");
const range = (from, to) => Array.from({ length: Math.max(0, to - from) }, (_, n) => from + n);
const many = (number, what) => `${thousands(number)} ${what}${number === 1 ? "" : "s"}`;

// Cells.

const guestOf = (i) => guests[cells.guest[i]];
const scenarioOf = (i) => scenarios[cells.scenario[i]];
const verdictOf = (i) => verdicts[cells.verdict[i]];
const reasonOf = (i) => texts[cells.reason[i]];
const whyOf = (i) => [reasonOf(i), i in data.retried ? `second attempt; in the first the emulator failed: ${texts[data.retried[i]]}` : ""].filter(Boolean).join("; ");
const toolchains = new Set(guests.map((guest) => guest[TOOLCHAIN])).size;
const guestNames = guests.map((guest) => guest.slice(0, 4).join("/"));
const nameOf = (i) => `${guestNames[cells.guest[i]]}/${scenarioOf(i).name}`;
const byName = new Map();
for (let i = 0; i < count; i++) byName.set(nameOf(i), i);

const isBad = verdicts.map(([, , look]) => !["pass", "weak", "hole", "missing"].includes(look));

// What can be filtered by: the values of a scenario, of a guest or of a verdict.
const ofScenario = (values) => ({ column: cells.scenario, values: scenarios.map(values) });
const ofGuest = (field) => ({ column: cells.guest, values: guests.map((guest) => [guest[field]]) });
const fields = {
  verdict: { column: cells.verdict, values: verdicts.map(([name]) => [name]) },
  variant: ofGuest(VARIANT),
  mechanism: ofGuest(MECHANISM),
  engine: ofGuest(ENGINE),
  toolchain: ofGuest(TOOLCHAIN),
  group: ofScenario((scenario) => (scenario.group ? [scenario.group] : [])),
  tag: ofScenario((scenario) => scenario.tags || []),
  scenario: ofScenario((scenario) => [scenario.name]),
  reason: { column: cells.reason, values: texts.map((text, k) => [texts[data.headlines[k] ?? k]]) },
  retried: { column: range(0, count).map((i) => Number(i in data.retried)), values: [["no"], ["yes"]] },
};
const menus = ["verdict", "variant", "mechanism", "engine", "toolchain", "group", "tag"];
const views = ["overview", "cells", "scenarios", "agreement", "cost", "coverage", "proofs", "mutants", "measured"];

// The state, and the address that says it.

function parse(hash) {
  const state = { view: "", filters: {}, q: "", sort: "", cell: "" };
  for (const part of hash.replace(/^#/, "").split("&")) {
    const [key, ...rest] = part.split("=");
    try {
      const value = rest.join("=");
      if (key in fields) state.filters[key] = new Set(value.split(",").map(decodeURIComponent));
      else if (key in state && key !== "filters") state[key] = decodeURIComponent(value);
    } catch {
      continue; // not an address of ours
    }
  }
  if (!views.includes(state.view)) {
    state.view = state.cell || state.q || state.sort || Object.keys(state.filters).length ? "cells" : "overview";
  }
  return state;
}

function address(state) {
  const encoded = (value) => encodeURIComponent(value).replaceAll("%2F", "/");
  const parts = Object.entries(state.filters)
    .filter(([, values]) => values.size)
    .map(([name, values]) => `${name}=${[...values].map(encoded).join(",")}`);
  for (const key of ["q", "sort", "cell"]) if (state[key]) parts.push(`${key}=${encoded(state[key])}`);
  if (state.view !== "cells" || !parts.length) parts.unshift(`view=${state.view}`);
  return `#${parts.join("&")}`;
}

let state = parse(location.hash);

function go(changes, { remember = true } = {}) {
  const hash = address({ ...state, ...changes });
  if (hash === location.hash) return;
  history[remember ? "pushState" : "replaceState"](null, "", hash);
  show();
}

// Filtering.

function terms(query) {
  return query.toLowerCase().split(/\s+/).filter(Boolean);
}

const haystacks = {
  scenario: scenarios.map((s) => [s.id, s.name, s.title, s.group, ...(s.tags || []), ...(s.detects || [])].join(" ").toLowerCase()),
  guest: guestNames.map((name) => name.toLowerCase()),
  verdict: verdicts.map(([name]) => name),
  reason: texts.map((text) => text.toLowerCase()),
};

// A function that tells whether a cell has all terms: each is looked for once in every table, not in every cell.
function searcher(query) {
  const wanted = terms(query).map((term) => {
    const has = (table) => table.map((text) => text.includes(term));
    const [s, g, v] = [has(haystacks.scenario), has(haystacks.guest), has(haystacks.verdict)];
    const r = new Map();
    const inReason = (index) => {
      if (!r.has(index)) r.set(index, haystacks.reason[index].includes(term));
      return r.get(index);
    };
    const whole = term.includes("/");
    return (i) => s[cells.scenario[i]] || g[cells.guest[i]] || v[cells.verdict[i]] || inReason(cells.reason[i]) ||
      (whole && nameOf(i).toLowerCase().includes(term));
  });
  return (i) => wanted.every((has) => has(i));
}

let chosen = []; // the cells that are shown, in their order
let tallies = {}; // how many cells each value of a menu would have

function filter() {
  const tests = Object.entries(state.filters).map(([name, values]) => {
    const field = fields[name];
    return { name, column: field.column, ok: field.values.map((own) => own.some((value) => values.has(value))) };
  });
  const matches = searcher(state.q);
  const counts = Object.fromEntries(menus.map((name) => [name, new Uint32Array(fields[name].values.length)]));
  const found = [];
  for (let i = 0; i < count; i++) {
    if (state.q && !matches(i)) continue;
    let missed = null, misses = 0;
    for (const test of tests) {
      if (!test.ok[test.column[i]]) {
        missed = test.name;
        if (++misses > 1) break;
      }
    }
    if (misses === 0) found.push(i);
    // A menu counts what all the others leave.
    if (misses === 0) for (const name of menus) counts[name][fields[name].column[i]]++;
    else if (misses === 1 && counts[missed]) counts[missed][fields[missed].column[i]]++;
  }
  tallies = Object.fromEntries(menus.map((name) => {
    const sums = new Map();
    fields[name].values.forEach((own, k) => own.forEach((value) => sums.set(value, (sums.get(value) || 0) + counts[name][k])));
    return [name, sums];
  }));
  return sorted(found);
}

const ranks = (values) => {
  const order = [...values.keys()].sort((a, b) => (values[a] < values[b] ? -1 : values[a] > values[b] ? 1 : 0));
  const rank = new Int32Array(values.length);
  let last = -1;
  order.forEach((k, n) => {
    if (n === 0 || values[order[n - 1]] !== values[k]) last++;
    rank[k] = last;
  });
  return rank;
};
const sorters = {
  verdict: () => ({ column: cells.verdict, rank: null }),
  scenario: () => ({ column: cells.scenario, rank: ranks(scenarios.map((s) => s.id || s.name)) }),
  variant: () => ({ column: cells.guest, rank: ranks(guests.map((guest) => guest[VARIANT])) }),
  mechanism: () => ({ column: cells.guest, rank: ranks(guests.map((guest) => guest[MECHANISM])) }),
  toolchain: () => ({ column: cells.guest, rank: ranks(guests.map((guest) => guest[TOOLCHAIN])) }),
  engine: () => ({ column: cells.guest, rank: ranks(guests.map((guest) => guest[ENGINE])) }),
  seconds: () => ({ column: cells.micros, rank: null }),
  reason: () => ({ column: cells.reason, rank: ranks(texts) }),
};

function sorted(found) {
  const descending = state.sort.startsWith("-");
  const sorter = sorters[state.sort.replace("-", "")];
  if (!sorter) return [...found.filter((i) => isBad[cells.verdict[i]]), ...found.filter((i) => !isBad[cells.verdict[i]])];
  const { column, rank } = sorter();
  const key = rank ? (i) => rank[column[i]] : (i) => column[i];
  return found.sort(descending ? (a, b) => key(b) - key(a) || a - b : (a, b) => key(a) - key(b) || a - b);
}

// The list.

const list = {};

function buildList() {
  list.search = make("input", { type: "search", id: "search", placeholder: "Search cells, scenarios, reasons", "aria-label": "Search", autocomplete: "off", spellcheck: "false",
    oninput: () => go({ q: list.search.value, cell: "" }, { remember: false }) });
  list.menus = menus.map(menu).filter(Boolean);
  list.chips = make("span", { class: "chips" });
  list.tally = make("span", { class: "tally", role: "status" });
  const toolbar = make("div", { class: "toolbar", role: "search" }, list.search, list.menus.map((m) => m.element), list.chips, list.tally);
  const title = make("div", { class: "line title", role: "row" }, [
    ["verdict", "verdict"], ["scenario", "scenario"], ["variant", "variant"], ["mechanism", "mechanism"],
    ["toolchain", "built by"], ["engine", "engine"], ["seconds", "ms"], ["reason", "reason"],
  ].map(([key, text]) => make("span", { role: "columnheader", "data-sort": key, class: { toolchain: "toolchain", seconds: "time", reason: "why" }[key] },
    make("button", { type: "button", onclick: () => go({ sort: state.sort === key ? `-${key}` : state.sort === `-${key}` ? "" : key }, { remember: false }) }, text))));
  list.title = title;
  list.body = make("div", { class: "body", role: "rowgroup", onclick: clicked });
  list.view = make("div", { class: "viewport", tabindex: "0", role: "grid", "aria-label": "Cells", onscroll: () => requestAnimationFrame(() => paint()) }, title, list.body);
  list.rows = make("div", { class: "rows" }, list.view);
  list.split = make("div", { class: "split" }, list.rows);
  $("cells").append(toolbar, list.split);
  new ResizeObserver(() => paint()).observe(list.view);
}

function menu(name) {
  const values = [...new Set(fields[name].values.flat())];
  if (name === "verdict") {
    const there = new Set(cells.verdict);
    values.splice(0, values.length, ...verdicts.filter((_, k) => there.has(k)).map(([verdict]) => verdict));
  }
  if (values.length < (name === "tag" ? 1 : 2)) return null; // nothing to choose from
  const body = make("div", { class: "menu" });
  const summary = make("summary", {}, name);
  const element = make("details", { class: "facet", "data-facet": name,
    ontoggle: () => {
      if (!element.open) return;
      fill();
      for (const other of document.querySelectorAll(".facet[open]")) if (other !== element) other.open = false;
      body.classList.remove("leftwards");
      body.classList.toggle("leftwards", body.getBoundingClientRect().right > innerWidth - 8);
    } }, summary, body);
  const boxes = new Map();
  const fill = () => {
    const own = state.filters[name] || new Set();
    if (!boxes.size) {
      for (const value of values) {
        const box = make("input", { type: "checkbox", value,
          onchange: () => {
            const next = new Set(state.filters[name]);
            if (box.checked) next.add(value); else next.delete(value);
            const filters = { ...state.filters, [name]: next };
            if (!next.size) delete filters[name];
            go({ filters, cell: "" });
          } });
        const tally = make("span", { class: "count" });
        const mark = name === "verdict" ? `${verdicts.find(([verdict]) => verdict === value)[1]} ` : "";
        const label = make("label", {}, box, mark + value, tally);
        boxes.set(value, { box, tally, label });
        body.append(label);
      }
    }
    for (const [value, { box, tally, label }] of boxes) {
      const number = tallies[name]?.get(value) || 0;
      box.checked = own.has(value);
      tally.textContent = thousands(number);
      label.classList.toggle("none", !number);
    }
  };
  return { name, element, update() {
    const own = state.filters[name];
    summary.textContent = own ? `${name}: ${[...own].join(", ")}` : name;
    element.classList.toggle("active", Boolean(own));
    if (element.open) fill();
  } };
}

function showList() {
  const started = performance.now();
  chosen = filter();
  if (document.activeElement !== list.search) list.search.value = state.q;
  for (const menu of list.menus) menu.update();
  const chip = (text, changes) => make("button", { type: "button", class: "chip", title: text, onclick: () => go(changes) }, `${text} ✕`);
  const shownInMenus = new Set(list.menus.map((menu) => menu.name));
  const chips = Object.entries(state.filters).filter(([name]) => !shownInMenus.has(name)).map(([name, values]) => {
    const { [name]: _, ...filters } = state.filters;
    return chip(`${name}: ${[...values].join(", ")}`, { filters, cell: "" });
  });
  if (Object.keys(state.filters).length || state.q) {
    chips.push(make("button", { type: "button", id: "clear", onclick: () => { list.search.value = ""; go({ filters: {}, q: "", cell: "" }); } }, "Clear"));
  }
  list.chips.replaceChildren(...chips);
  list.tally.textContent = chosen.length === count ? many(count, "cell") : `${thousands(chosen.length)} of ${many(count, "cell")}`;
  for (const head of list.title.children) {
    const key = head.dataset.sort;
    const order = state.sort === key ? "ascending" : state.sort === `-${key}` ? "descending" : null;
    if (order) head.setAttribute("aria-sort", order); else head.removeAttribute("aria-sort");
    const button = head.firstChild;
    button.textContent = button.textContent.replace(/ [▲▼]$/, "") + (order ? (order === "ascending" ? " ▲" : " ▼") : "");
  }
  list.view.setAttribute("aria-rowcount", chosen.length + 1);
  list.body.style.height = `${chosen.length * ROW}px`;
  paint(true);
  document.documentElement.dataset.filtered = (performance.now() - started).toFixed(1); // milliseconds, for tests
}

let cursor = -1; // a place in `chosen`
let painted = ""; // what the rows that are there were made for

// Only the rows that can be seen are there.
function paint(anew = false, all = false) {
  const first = all ? 0 : Math.max(0, Math.floor(list.view.scrollTop / ROW) - 8);
  const last = all ? Math.min(chosen.length, 1000) : Math.min(chosen.length, Math.ceil((list.view.scrollTop + list.view.clientHeight) / ROW) + 8);
  const now = `${first} ${last} ${cursor}`;
  if (now === painted && anew !== true) return;
  painted = now;
  const rows = [];
  for (let n = first; n < last; n++) rows.push(row(n));
  if (all && last < chosen.length) rows.push(make("p", { class: "nothing" }, `and ${many(chosen.length - last, "more cell")}`));
  list.body.replaceChildren(...(chosen.length ? rows : [make("div", { class: "nothing", role: "row" }, make("span", { role: "gridcell" }, "No cell is like that. ", make("a", { href: "#view=cells" }, "Show all")))]));
  if (cursor >= first && cursor < last) list.view.setAttribute("aria-activedescendant", `row-${cursor}`);
  else list.view.removeAttribute("aria-activedescendant");
}

function row(n) {
  const i = chosen[n];
  const guest = guestOf(i), scenario = scenarioOf(i), [verdict, mark, look] = verdictOf(i);
  const ran = look !== "hole" && look !== "missing";
  const line = make("div", { class: `line ${look}${n === cursor ? " cursor" : ""}`, id: `row-${n}`, role: "row", "aria-rowindex": n + 2, "aria-selected": String(n === cursor), "data-n": n },
    make("span", { class: `verdict ${look}`, role: "gridcell", title: verdict }, make("span", { class: "what" }, mark), make("span", { class: "verdict-name" }, ` ${verdict}`)),
    make("span", { role: "gridcell", title: scenario.title }, make("span", { class: "muted" }, scenario.id ? `${scenario.id} ` : ""), make("a", { href: address({ ...state, view: "cells", cell: nameOf(i) }), tabindex: "-1" }, scenario.name)),
    make("span", { role: "gridcell" }, guest[VARIANT], toolchains > 1 ? make("span", { class: "by muted" }, ` ${guest[TOOLCHAIN]}`) : null),
    make("span", { role: "gridcell" }, guest[MECHANISM]),
    make("span", { role: "gridcell", class: "toolchain" }, guest[TOOLCHAIN]),
    make("span", { role: "gridcell" }, guest[ENGINE]),
    make("span", { role: "gridcell", class: "time muted" }, ran ? (cells.micros[i] / 1000).toFixed(2) : ""),
    make("span", { role: "gridcell", class: "why", title: whyOf(i) }, whyOf(i)));
  line.style.top = `${n * ROW}px`;
  return line;
}

function clicked(event) {
  const line = event.target.closest(".line");
  if (!line || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  open(Number(line.dataset.n));
}

function open(n) {
  if (n < 0 || n >= chosen.length) return;
  go({ view: "cells", cell: nameOf(chosen[n]) }, { remember: !state.cell });
}

function move(to) {
  if (!chosen.length) return;
  cursor = Math.max(0, Math.min(chosen.length - 1, to));
  reveal();
  if (state.cell) open(cursor); else paint(true);
}

// Scroll to the cursor: by as little as will do, or if it is far away so that it is in the middle.
function reveal() {
  const view = list.view, top = cursor * ROW, seen = view.clientHeight - ROW; // the title takes a row
  const above = view.scrollTop - top, below = top + ROW - (view.scrollTop + seen);
  if (Math.max(above, below) > 3 * ROW) view.scrollTop = top - seen / 2;
  else if (above > 0) view.scrollTop = top;
  else if (below > 0) view.scrollTop = top + ROW - seen;
}

// A cell's page.

function showPage() {
  const old = list.split.querySelector(".page");
  const focused = old?.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null; // a name, as its button is made anew
  old?.remove();
  if (!state.cell) {
    paint();
    return;
  }
  const i = byName.get(state.cell);
  if (i === undefined) {
    list.split.append(frame(state.cell, -1, make("p", { class: "banner missing" }, "There is no such cell in this report.")));
    return;
  }
  cursor = chosen.indexOf(i);
  if (cursor >= 0) reveal();
  paint(true);
  const page = frame(state.cell, cursor, ...pageOf(i));
  list.split.append(page);
  if (focused !== null) (page.querySelector(`button[aria-label="${CSS.escape(focused)}"]:enabled`) || page).focus();
  for (const marked of page.querySelectorAll(".steps .differs")) marked.parentElement.scrollTop = marked.offsetTop - marked.parentElement.offsetTop - 80;
}

function frame(name, n, ...children) {
  const button = (text, label, to) => make("button", { type: "button", "aria-label": label, "data-tip": label, disabled: to < 0 || to >= chosen.length || n < 0, onclick: () => move(to) }, text);
  return make("aside", { class: "page", tabindex: "-1", "aria-label": `Cell ${name}` },
    make("header", {}, make("span", { class: "path" }, name), button("↑", "Previous (k)", n - 1), button("↓", "Next (j)", n + 1),
      make("button", { type: "button", class: "close", "aria-label": "Close (Escape)", "data-tip": "Close (Escape)", onclick: shut }, "✕")),
    ...children);
}

function shut() {
  go({ cell: "" });
  list.view.focus({ preventScroll: true });
}

function command(i) {
  const guest = guestOf(i);
  const names = { scenario: scenarioOf(i).name, variant: guest[VARIANT], mechanism: guest[MECHANISM], toolchain: guest[TOOLCHAIN], engine: guest[ENGINE] };
  return data.commands[i] ?? data.command.replace(/\{(scenario|variant|mechanism|toolchain|engine)\}/g, (_, field) => names[field]);
}

function copyButton(text) {
  const button = make("button", { type: "button", class: "copy", onclick: async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      const range = document.createRange();
      range.selectNodeContents(button.previousSibling);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  } }, "Copy");
  return button;
}

function pageOf(i) {
  const guest = guestOf(i), scenario = scenarioOf(i), [verdict, mark, look] = verdictOf(i);
  const own = data.pages[i] || {};
  const ran = look !== "hole" && look !== "missing";
  const digest = data.digests[cells.expected[i]], trace = data.digests[cells.trace[i]];
  const traces = scenario.traces || {};
  const expected = digest ? traces[digest] : Object.values(traces)[0];
  const again = command(i);
  const parts = [
    make("h2", {}, scenario.id ? make("span", { class: "muted" }, `${scenario.id} `) : null, scenario.title || scenario.name),
    make("div", { class: `banner ${look}` }, make("b", {}, `${mark} ${verdict}`), make("span", { class: reasonOf(i).includes("\n") ? "reason long" : "reason", tabindex: reasonOf(i).includes("\n") ? "0" : null }, reasonOf(i) || (look === "weak" ? "As the model says, but this engine could not have shown any defect that the scenario detects." : look === "pass" ? "As the model says." : ""))),
  ];
  for (const note of own.notes || []) parts.push(make("p", { class: "note" }, texts[note]));
  if (data.retried[i] !== undefined) parts.push(make("p", { class: "notice" }, make("b", {}, "Run twice. "), `The first attempt: ${texts[data.retried[i]]}`));
  parts.push(make("div", { class: "command" }, make("code", {}, again.split(/ (?=-)/).flatMap((option, n) => [n ? " " : "", make("span", {}, option)])), copyButton(again)));
  if (scenario.detects) parts.push(make("h3", {}, "Detects"), make("div", { class: "tags" }, scenario.detects.map((defect) => make("span", {}, defect))));
  if (scenario.shown_by) parts.push(make("h3", {}, "Can be shown by"), make("div", { class: "tags" }, scenario.shown_by.map((name) => make("span", {}, name))));
  if (!data.pages[i] && ran && look !== "pass" && look !== "weak") {
    parts.push(make("p", { class: "notice" }, `The traces and the code of ${thousands(Object.keys(data.pages).length)} of ${many(data.bad, "cell")} that are not as expected are in this report; those of this one are in results.jsonl, and farm show tells them.`));
  }
  parts.push(...traceOf(own, expected, ran, look, digest && !expected && scenario.steps));
  parts.push(...codeOf(own.code));
  if (scenario.steps) parts.push(make("h3", {}, `Steps (${scenario.steps.length})`), stepsOf(scenario, differingStep(own, expected)));
  const engine = guest[ENGINE].split(":")[0];
  parts.push(make("h3", {}, "What ran"), make("dl", { class: "facts" }, [
    ["engine", [guest[ENGINE], data.versions[engine]].filter(Boolean).join("  ")],
    ["toolchain", [guest[TOOLCHAIN], data.versions[guest[TOOLCHAIN]]].filter(Boolean).join("  ")],
    ["variant", [guest[VARIANT], data.architectures[guest[VARIANT]]].filter(Boolean).join(" of ")],
    ["image", guest[IMAGE] ? `sha256 ${guest[IMAGE]}` : "none was run"],
    ["trace", !ran ? "–" : trace ? `${trace}${trace === digest ? ", as expected" : `, expected ${digest}`}` : `none, expected ${digest || "–"}`],
    ["time", ran ? `${(cells.micros[i] / 1000).toFixed(3)} ms` : "–"],
    ["group", scenario.group ? [scenario.group, ...scenario.tags].join(", ") : "–"],
  ].map(([name, text]) => [make("dt", {}, name), make("dd", {}, text)])));
  return parts;
}

function differingStep(own, expected) {
  if (own.differs === undefined) return -1;
  const event = own.seen[own.differs] ?? expected?.[own.differs];
  const found = event === undefined ? null : /^step (\d+):/.exec(texts[event]);
  return found ? Number(found[1]) : -1;
}

function stepsOf(scenario, marked) {
  return make("div", { class: "steps", tabindex: "0", role: "list", "aria-label": "Steps" }, scenario.steps.map(([level, text], n) => {
    const words = make("span", {}, texts[text]);
    words.style.paddingLeft = `${level * 20}px`;
    return make("div", { role: "listitem", class: n === marked ? "differs" : null }, make("span", { class: "n" }, n), words, n === marked ? make("span", { class: "verdict fail" }, "◀ here") : null);
  }));
}

function traceOf(own, expected, ran, look, unknown) {
  const parts = [make("h3", {}, own.seen ? "Trace: expected and seen" : ran && (look === "pass" || look === "weak") ? "Trace: expected, and seen" : "Trace: expected")];
  if (unknown) parts.push(make("p", { class: "muted" }, "The farm that made this report has another scenario of this name: it expects another trace than the run did."));
  if (!expected && !own.seen) return unknown ? parts : [];
  if (ran && !own.seen && look !== "pass" && look !== "weak" && data.pages) parts.push(make("p", { class: "muted" }, "No trace that can be shown came back."));
  const wanted = expected || [], seen = own.seen;
  const length = Math.max(wanted.length, seen ? seen.length : 0);
  const differs = own.differs ?? -1;
  const text = (trace, n) => (trace[n] === undefined ? "nothing" : texts[trace[n]]);
  const body = make("tbody");
  const line = (n) => make("tr", { class: n === differs ? "first" : differs >= 0 && n > differs ? "after" : null },
    make("td", { class: "n" }, n),
    make("td", {}, text(wanted, n)),
    seen ? make("td", {}, n === differs ? "≠ " : "", text(seen, n)) : null);
  const fold = (from, to, what) => {
    if (to - from < 6) return range(from, to).map(line);
    const place = make("tr", { class: "fold" }, make("td", { colspan: seen ? 3 : 2 }, make("button", { type: "button", onclick: () => place.replaceWith(...range(from, to).map(line)) }, `${many(to - from, "event")} ${what}`)));
    return [place];
  };
  const [from, to] = differs < 0 ? [0, Math.min(length, 30)] : [Math.max(0, differs - 4), Math.min(length, differs + 8)];
  body.append(...fold(0, from, "as expected"), ...range(from, to).map(line), ...fold(to, length, "more"));
  parts.push(make("table", { class: "trace" }, make("colgroup", {}, make("col", { class: "n" }), make("col"), seen ? make("col") : null),
    seen ? make("thead", {}, make("tr", {}, make("th"), make("th", {}, "expected"), make("th", {}, `seen${differs >= 0 ? ", ≠ the first difference" : ""}`))) : null, body));
  return parts;
}
function codeOf(blocks) {
  if (!blocks) return [];
  const sides = make("div", { class: "sides" }, blocks.map(([title, lines], n) => {
    const paired = title.endsWith("as linked:") ? blocks[n + 1]?.[1].length : blocks[n - 1]?.[0].endsWith("as linked:") && lines.length;
    return make("div", { class: paired ? "code" : "code wide", tabindex: "0" }, make("h4", {}, title),
      lines.length ? make("pre", {}, lines.map(([changed, text]) => make("span", { class: changed ? "changed" : null }, `${changed ? "> " : "  "}${texts[text]}`))) : null);
  }));
  return [make("h3", {}, "Patched code, as linked and after the cell"), sides];
}

// Scenario by variant.

function buildMatrix() {
  const variants = [...new Set(guests.map((guest) => guest[VARIANT]))];
  const place = new Map(variants.map((name, n) => [name, n]));
  const squares = new Map();
  for (let i = 0; i < count; i++) {
    const key = cells.scenario[i] * variants.length + place.get(guestOf(i)[VARIANT]);
    if (!squares.has(key)) squares.set(key, new Set());
    squares.get(key).add(cells.verdict[i]);
  }
  const body = make("tbody");
  let group = null;
  scenarios.forEach((scenario, s) => {
    if (scenario.group !== group) {
      group = scenario.group;
      body.append(make("tr", { class: "group" }, make("th", { colspan: variants.length + 1, scope: "rowgroup" }, group || "other scenarios")));
    }
    body.append(make("tr", {}, make("th", { scope: "row" }, make("a", { "data-tip": scenario.title || null, href: address({ ...parse(""), view: "cells", filters: { scenario: new Set([scenario.name]) } }) }, make("span", { class: "muted" }, scenario.id ? `${scenario.id} ` : ""), scenario.name)),
      variants.map((variant, v) => {
        const found = squares.get(s * variants.length + v);
        if (!found) return make("td");
        const [verdict, mark, look] = verdicts[worst(found)];
        const partly = look === "pass" && [...found].some((k) => ["hole", "missing"].includes(verdicts[k][2]));
        return make("td", {}, make("a", { class: `square ${look}${partly ? " partly" : ""}`, href: address({ ...parse(""), view: "cells", filters: { scenario: new Set([scenario.name]), variant: new Set([variant]) } }), "aria-label": `${scenario.name} on ${variant}: ${verdict}` }, mark));
      })));
  });
  $("matrix").append(make("table", { class: "matrix" }, make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "scenario"), variants.map((name) => make("th", { scope: "col" }, make("span", {}, name))))), body));
  rove($("matrix"));
}

// As look() in html.py: the worst failure, else the best that ran.
function worst(found) {
  const order = ["pass", "weak", "missing", "hole"];
  const bad = [...found].filter((k) => !order.includes(verdicts[k][2]));
  if (bad.length) return Math.max(...bad);
  return [...found].sort((a, b) => order.indexOf(verdicts[a][2]) - order.indexOf(verdicts[b][2]))[0];
}

// One square of a grid is in the tab order; arrows lead to the others.
function rove(table) {
  const squares = [...table.querySelectorAll("a.square")];
  const first = table.querySelector("td:not(.folded) a.square");
  for (const square of squares) square.tabIndex = square === first ? 0 : -1;
  table.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    const cell = event.target.closest("td");
    if (!step || !cell) return;
    event.preventDefault();
    let tr = cell.parentElement, column = cell.cellIndex, next = null;
    while (!next) {
      if (step[0]) {
        tr = step[0] > 0 ? tr.nextElementSibling : tr.previousElementSibling;
        if (!tr) return;
      }
      column += step[1];
      if (!tr.cells[column] && step[1]) return;
      next = tr.cells[column]?.querySelector("a.square") || null;
      if (next && !next.getClientRects().length) next = null; // folded away
    }
    for (const square of squares) square.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
}

// The tip: what a square's cells are, with the reasons of those that did not run.

function tipOf(element) {
  if (element.dataset.tip) return element.dataset.tip;
  if (!element.classList.contains("square")) return "";
  const { filters } = parse(element.getAttribute("href"));
  const tests = Object.entries(filters).map(([name, values]) => [fields[name].column, fields[name].values.map((own) => own.some((value) => values.has(value)))]);
  const sums = new Map(), reasons = new Map();
  for (let i = 0; i < count; i++) {
    if (!tests.every(([column, ok]) => ok[column[i]])) continue;
    sums.set(cells.verdict[i], (sums.get(cells.verdict[i]) || 0) + 1);
    if (reasonOf(i)) reasons.set(cells.reason[i], (reasons.get(cells.reason[i]) || 0) + 1);
  }
  const clip = (text) => (text.length > 160 ? `${text.slice(0, 160)}...` : text);
  const commonest = [...reasons].sort((a, b) => b[1] - a[1]);
  return [
    Object.values(filters).map((values) => [...values].join(", ")).join(" / "),
    [...sums].sort((a, b) => a[0] - b[0]).map(([k, n]) => `${n} ${verdicts[k][0]} ${verdicts[k][1]}`).join(", "),
    ...commonest.slice(0, 6).map(([k, n]) => `${n} × ${clip(texts[k])}`),
    ...(commonest.length > 6 ? [`and ${commonest.length - 6} more reasons`] : []),
  ].join("\n");
}

function buildTip() {
  const tip = make("div", { id: "tip", role: "tooltip", hidden: true });
  document.body.append(tip);
  let over = null;
  const hide = () => { over?.removeAttribute("aria-describedby"); over = null; tip.hidden = true; };
  const place = (event) => {
    const element = event.target.closest?.("a.square, [data-tip]");
    if (element === over) return;
    hide();
    const text = element && tipOf(element);
    if (!text) return;
    over = element;
    tip.textContent = text;
    tip.hidden = false;
    element.setAttribute("aria-describedby", "tip");
    const box = element.getBoundingClientRect(), own = tip.getBoundingClientRect();
    const below = box.bottom + own.height + 10 < innerHeight;
    tip.style.left = `${Math.max(6, Math.min(innerWidth - own.width - 6, box.left))}px`;
    tip.style.top = `${below ? box.bottom + 6 : Math.max(6, box.top - own.height - 6)}px`;
  };
  document.addEventListener("mouseover", place);
  document.addEventListener("focusin", place);
  document.addEventListener("focusout", hide);
  document.addEventListener("scroll", hide, true);
  return { hide, shown: () => !tip.hidden };
}

// Theme.

function stored(value) {
  try {
    if (value) localStorage.setItem("patchfarm-theme", value);
    return localStorage.getItem("patchfarm-theme");
  } catch {
    return null; // a browser that keeps nothing for files
  }
}

function theme(value) {
  if (value === "light" || value === "dark") document.documentElement.dataset.theme = value;
}

// Keys.

const keys = [
  ["/", "search"], ["j  k  ↓  ↑", "next and previous cell"], ["Enter", "open the cell"], ["Escape", "close, or clear the search"],
  ["1 to 8", "the views"], ["← → ↑ ↓", "in a grid: from square to square; Enter shows its cells"], ["?", "this"],
];
const help = make("dialog", { "aria-label": "Keys" }, make("h2", {}, "Keys"),
  make("dl", {}, keys.map(([key, what]) => [make("dt", {}, key.split("  ").map((one) => [make("kbd", {}, one), " "])), make("dd", {}, what)])),
  make("form", { method: "dialog" }, make("button", {}, "Close")));

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
  const typing = event.target === list.search;
  const inList = state.view === "cells";
  const inGrid = event.target.closest?.("a.square");
  const busy = event.target.closest?.(".facet, .steps, button, summary") || inGrid;
  const key = event.key;
  if (key === "Escape") {
    const facet = document.querySelector(".facet[open]");
    if (tip.shown()) tip.hide();
    else if (facet) { facet.open = false; facet.firstChild.focus(); }
    else if (typing && state.q) { list.search.value = ""; go({ q: "" }, { remember: false }); }
    else if (typing) list.view.focus();
    else if (state.cell) shut();
    else return;
  } else if (typing) {
    if (key !== "Enter" && key !== "ArrowDown") return;
    list.view.focus();
    move(0);
  } else if (key === "/") {
    if (!inList) go({ view: "cells", cell: "" });
    list.search.focus();
    list.search.select();
  } else if (key === "?") help.showModal();
  else if (/^[1-8]$/.test(key)) go({ ...parse(""), view: views[key - 1] });
  else if (inList && (key === "j" || (key === "ArrowDown" && !busy))) move(cursor + 1);
  else if (inList && (key === "k" || (key === "ArrowUp" && !busy))) move(cursor - 1);
  else if (inList && key === "Enter" && !busy && !event.target.closest?.("a") && cursor >= 0) open(cursor);
  else if (inList && (key === "Home" || key === "End") && !busy && event.target === list.view) move(key === "Home" ? 0 : chosen.length - 1);
  else return;
  event.preventDefault();
}

// Showing.

const built = new Set();
const tops = {}; // where each view was scrolled to
const outcome = document.title;
const toMain = () => $("main").focus({ preventScroll: true, focusVisible: false }); // so that keys scroll it

function show() {
  const before = state;
  state = parse(location.hash);
  tip.hide();
  tops[before.view] = $("main").scrollTop;
  for (const view of views) $(view).classList.toggle("shown", view === state.view);
  for (const tab of document.querySelectorAll("[data-tab]")) {
    if (tab.dataset.tab !== state.view) { tab.removeAttribute("aria-current"); continue; }
    tab.setAttribute("aria-current", "page");
    tab.scrollIntoView({ block: "nearest", inline: "nearest" });
    document.title = [state.cell || (state.view !== "overview" && tab.textContent), outcome].filter(Boolean).join(" - ");
  }
  if (state.view === "cells") {
    const first = !built.has("cells");
    if (first) { built.add("cells"); buildList(); }
    const same = (a, b) => address({ ...a, cell: "" }) === address({ ...b, cell: "" });
    if (first || !same(before, state)) {
      cursor = -1;
      if (!first) list.view.scrollTop = 0;
      showList();
    }
    if (first || before.cell !== state.cell || state.cell) showPage();
  } else if (state.view === "scenarios" && !built.has("scenarios")) {
    built.add("scenarios");
    buildMatrix();
  }
  document.querySelector(".state").hidden = state.view === "overview"; // its heading says the same
  if (before.view !== state.view) {
    $("main").scrollTop = tops[state.view] || 0;
    toMain();
  }
}

document.documentElement.classList.add("script");
theme(stored());
document.body.append(help);
const tip = buildTip();
document.querySelectorAll("table.grid").forEach(rove);
$("theme").addEventListener("click", () => {
  const dark = document.documentElement.dataset.theme
    ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const next = dark ? "light" : "dark";
  theme(next);
  stored(next);
});
$("help").addEventListener("click", () => help.showModal());
document.addEventListener("keydown", pressed);
document.addEventListener("click", (event) => {
  for (const facet of document.querySelectorAll(".facet[open]")) if (!facet.contains(event.target)) facet.open = false;
});
addEventListener("hashchange", show);
addEventListener("beforeprint", () => { if (state.view === "cells") { document.documentElement.classList.add("printing"); paint(true, true); } });
addEventListener("afterprint", () => { document.documentElement.classList.remove("printing"); if (state.view === "cells") paint(true); });
show();
toMain();
document.documentElement.dataset.ready = performance.now().toFixed(1); // milliseconds since the file was opened, for tests
