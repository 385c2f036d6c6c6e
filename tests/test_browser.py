"""``report.html`` in a real browser: what a person does with it, and that it asks nobody for anything."""

from __future__ import annotations

import re
import shutil

import pytest
from helpers import RUN
from msgspec.structs import replace
from playwright.sync_api import expect, sync_playwright
from test_proof_page import REFUTED, document

from farm.cell import Cell, Hole, Verdict
from farm.doctor import BROWSERS
from farm.report import Material, html
from farm.run import plan, verdict
from farm.run.plan import Plan
from farm.run.verdict import Code, Result
from farm.scenario import Defect, Scenario, Target, call, model, wire

CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
NAME = "supersede_then_restore"
WRONG = f"arm64/stub/zig/unicorn/{NAME}"
DIED = "ppc64/pointer/zig/unicorn/doubles"
MANY = 20_000
SECONDS = 5  # where a person should wait for less than one: the machine may have other things to do


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("chromium is missing: apt-get install chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def opened(browser):
    """``opened(path, "#hash")``: a page; in the end it must have said nothing and asked for nothing but its file."""
    said, asked, contexts, files = [], [], [], []

    def open_(path, hash_="", **options):
        context = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url.partition("#")[0]))
        files.append(path.as_uri())
        page.goto(path.as_uri() + hash_)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert said == []
    assert set(asked) == set(files)


@pytest.fixture(scope="module")
def suite():
    return plan.make(plan.Selection(arch=["arm64", "ppc64"], mechanism=["pointer", "stub"]))


@pytest.fixture(scope="module")
def small(suite, guest, tmp_path_factory):
    """The report of two variants: most passed, one cell enters the wrong target, one crashes."""
    image = guest("stub")
    start, size = image.patched
    before = image.bytes_at(start, size)
    code = Code(start, before.hex(), (before[:3] + b"\x15" + before[4:]).hex())
    results = []
    for planned in suite.cells:
        cell, known = planned.cell, suite.scenarios[planned.cell.scenario]
        if planned.verdict:
            results.append(verdict.skipped(cell, planned.hole))
            continue
        features = suite.variants[cell.variant].features(cell.engine)
        events, _, digest = verdict.expected(known, features, big_endian=False)
        passed = Verdict.PASS_INSENSITIVE if known.detects == {Defect.STALE_FETCH} else Verdict.PASS
        made = Result(cell, passed, None, digest, digest, "a1" * 32, None, len(results) / 1e6, sensitive=True)
        if str(cell) == WRONG:
            seen = list(events)
            seen[3] = seen[3]._replace(target=wire.target_word(0, Target.OTHER))
            reason = verdict.first_difference(events, seen)
            made = replace(made, verdict=Verdict.MISMATCH, reason=reason, observed=seen, code=code, trace="0" * 16)
            made = replace(made, image=image.sha256)  # its names are those of the code
        if str(cell) == DIED:
            made = replace(
                made, verdict=Verdict.CRASH, reason="illegal instruction\nat 0x10", trace=None, retried="it hung"
            )
        results.append(made)
    path = tmp_path_factory.mktemp("small") / "report.html"
    path.write_bytes(html.render(Material(RUN, results, suite, proofs=[document(REFUTED)])))
    return path


@pytest.fixture(scope="module")
def large(suite, tmp_path_factory):
    """The report of 20,000 cells."""
    results = []
    while len(results) < MANY:
        variant = f"variant{len(results) // (8 * len(suite.scenarios))}"
        for mechanism in ("pointer", "stub", "relocated", "inline-cache"):
            for engine in ("unicorn", "qemu-user"):
                for name, known in suite.scenarios.items():
                    digest = verdict.digest(model.predict(known))
                    cell = Cell(name, variant, mechanism, "zig", engine)
                    results.append(Result(cell, Verdict.PASS, None, digest, digest, None, None, 2e-5, sensitive=True))
    results[MANY - 1] = replace(results[MANY - 1], verdict=Verdict.PASS_INSENSITIVE)
    path = tmp_path_factory.mktemp("large") / "report.html"
    path.write_bytes(html.render(Material(RUN, results[:MANY], suite)))
    return path


def rows(page):
    return page.locator(".body .line")


def tally(page):
    return page.locator(".tally").inner_text()


def names(page, column=2):
    return page.locator(f".body .line > :nth-child({column})").all_inner_texts()


def state(page):
    return page.evaluate("location.hash")


# The first screen.


def test_the_first_screen_shows_the_outcome_and_a_square_leads_to_its_cells(opened, small, suite):
    page = opened(small)
    assert page.locator("h1").inner_text() == f"2 of {len(suite.cells):,} cells are not as expected"
    assert page.locator("#grid .square.fail").count() == 2
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator("#grid .square.fail").first.click()
    assert state(page) == "#variant=arm64&mechanism=stub&engine=unicorn"
    assert tally(page) == f"{sum(at(p.cell, variant='arm64') for p in suite.cells):,} of {len(suite.cells):,} cells"
    assert "✗ mismatch" in rows(page).first.inner_text()


def test_a_square_tells_its_holes_and_reasons_to_a_pointer_and_to_a_keyboard(opened, small):
    page = opened(small)
    page.locator("#grid .square.hole").first.hover()
    tip = page.locator("#tip")
    expect(tip).to_contain_text(re.compile(r"\d+ not-applicable –\s*\d+ . \w"))
    page.mouse.move(0, 0)
    page.locator("#grid .square").first.focus()
    expect(tip).to_contain_text("arm64 / pointer / unicorn")
    page.keyboard.press("ArrowRight")
    expect(tip).to_contain_text("arm64 / pointer / qemu-user")
    page.keyboard.press("ArrowDown")
    expect(tip).to_contain_text("ppc64 / pointer / qemu-user")
    page.keyboard.press("Enter")
    assert state(page) == "#variant=ppc64&mechanism=pointer&engine=qemu-user"


def test_columns_without_a_cell_that_ran_open_on_request_and_arrows_pass_them_by_until_then(opened, suite, tmp_path):
    digest = "0" * 16
    path = tmp_path / "report.html"
    results = []
    for number in range(14):
        cell = Cell(NAME, "arm64", f"m{number // 2}", "zig", "qemu-user" if number % 2 else "unicorn")
        results.append(Result(cell, Verdict.PASS, None, digest, digest, None, None, 2e-5, sensitive=True))
        results.append(verdict.skipped(replace(cell, engine=f"{cell.engine}:bti"), Hole(Verdict.NOT_APPLICABLE, "no")))
    path.write_bytes(html.render(Material(RUN, results, suite)))
    page = opened(path)
    assert page.locator("#grid .square").count() == 7
    expect(page.locator("#engines")).to_be_hidden()
    page.get_by_text("By engine").click()
    page.locator("#engines .square").first.focus()
    for expected in ("m0 / unicorn", "m0 / qemu-user", "m1 / unicorn"):
        expect(page.locator("#tip")).to_contain_text(f"arm64 / {expected}")
        page.keyboard.press("ArrowRight")
    hole = page.locator("#engines .square.hole").first
    expect(hole).to_be_hidden()
    page.get_by_text("14 columns in which no cell ran").click()
    expect(hole).to_be_visible()
    widths = "[...document.querySelectorAll('#engines tr')].map(r => [...r.cells].reduce((n, c) => n + c.colSpan, 0))"
    assert page.evaluate(widths) == [29, 28, 29]
    hole.hover()
    expect(page.locator("#tip")).to_contain_text("m0 / unicorn:bti")


def test_an_insensitive_pass_has_a_texture_and_a_mark_of_its_own(opened, small):
    page = opened(small, "#view=scenarios")
    weak = page.locator("#matrix .square.weak")
    assert weak.first.inner_text() == "≈"
    background = "getComputedStyle(e).backgroundImage"
    assert "repeating-linear-gradient" in weak.first.evaluate(f"e => {background}")
    assert page.locator("#matrix .square.pass").first.evaluate(f"e => {background}") == "none"
    page.locator("#matrix .square.fail").first.click()
    assert state(page) == f"#scenario={NAME}&variant=arm64"
    assert set(names(page)) == {f"BS-03 {NAME}"}


# The list.


def test_filters_are_in_the_address_and_come_back_from_it(opened, small, suite):
    page = opened(small, "#view=cells")
    facet = page.locator('[data-facet="verdict"]')
    facet.locator("summary").click()
    facet.get_by_label("crash").check()
    assert (state(page), tally(page)) == ("#verdict=crash", f"1 of {len(suite.cells):,} cells")
    facet.get_by_label("mismatch").check()
    assert (state(page), tally(page)) == ("#verdict=crash,mismatch", f"2 of {len(suite.cells):,} cells")
    page.locator('[data-facet="variant"] summary').click()
    page.locator('[data-facet="variant"]').get_by_label("arm64").check()
    assert tally(page) == f"1 of {len(suite.cells):,} cells"
    # A menu counts what the others leave.
    assert [text.split()[-1] for text in page.locator('[data-facet="variant"] label').all_inner_texts()] == ["1", "1"]
    page.reload()
    assert (state(page), tally(page)) == ("#verdict=crash,mismatch&variant=arm64", f"1 of {len(suite.cells):,} cells")
    page.go_back()
    assert tally(page) == f"2 of {len(suite.cells):,} cells"
    page.locator("#clear").click()
    assert (state(page), tally(page)) == ("#view=cells", f"{len(suite.cells):,} cells")


def at(cell, *, variant="ppc64", mechanism="stub", engine="unicorn"):
    return (cell.variant, cell.mechanism, cell.engine) == (variant, mechanism, engine)


FOUND = (
    "expected%20%5Benter%20whatever_0%20-%3E%20fast%2C%20arguments%200x000c5540%5D%2C%20"
    "seen%20%5Benter%20whatever_0%20-%3E%20other%2C%20arguments%200x000c5540%5D"
)
LINKS = [
    ("#mechanism=stub&engine=unicorn&variant=ppc64", lambda cell, _: at(cell)),
    ("#tag=storm&variant=ppc64", lambda cell, known: cell.variant == "ppc64" and "storm" in known.tags),
    ("#group=real%20work,coherence", lambda _, known: known.id.startswith("CR")),
    ("#toolchain=zig&verdict=mismatch", lambda cell, _: str(cell) == WRONG),
    ("#toolchain=none", lambda *_: False),
    ("#q=ppc64%20DOUBLES%20illegal", lambda cell, _: str(cell) == DIED),
    ("#retried=yes", lambda cell, _: str(cell) == DIED),
    (f"#q={WRONG}", lambda cell, _: str(cell) == WRONG),
    (f"#reason={FOUND}", lambda cell, _: str(cell) == WRONG),
    ("#reason=illegal%20instruction", lambda cell, _: str(cell) == DIED),
    ("#q=float-argument%20crash", lambda cell, _: str(cell) == DIED),
]


def test_links_lead_to_the_cells_that_they_name(opened, small, suite):
    page = opened(small)
    for hash_, wanted in LINKS:
        page.goto(small.as_uri() + hash_)
        number = sum(wanted(p.cell, suite.scenarios[p.cell.scenario]) for p in suite.cells)
        assert tally(page) == f"{number:,} of {len(suite.cells):,} cells", hash_
        assert (number == 0) == page.get_by_text("No cell is like that").is_visible()


def matches(known, word):
    return any(word in text.lower() for text in (known.name, known.title))


def test_typing_searches_and_a_column_sorts(opened, small, suite):
    page = opened(small, "#view=cells&variant=ppc64&mechanism=stub&engine=unicorn")
    page.locator("#search").fill("crc")
    assert state(page) == "#variant=ppc64&mechanism=stub&engine=unicorn&q=crc"
    wanted = [p.cell.scenario for p in suite.cells if at(p.cell) and matches(suite.scenarios[p.cell.scenario], "crc")]
    assert [text.split()[-1] for text in names(page)] == wanted
    times = '[data-sort="seconds"]'
    page.locator(f"{times} button").click()
    assert page.locator(times).get_attribute("aria-sort") == "ascending"
    up = [float(text) for text in names(page, 7) if text]
    page.locator(f"{times} button").click()
    assert page.locator(times).get_attribute("aria-sort") == "descending"
    assert up == sorted(up) != [float(text) for text in names(page, 7) if text]
    page.locator('[data-sort="scenario"] button').click()
    assert names(page) == sorted(names(page))


def test_failures_are_first(opened, small):
    page = opened(small, "#view=cells")
    assert [text.split()[-1] for text in names(page, 1)[:3]] == ["mismatch", "crash", "pass"]


# A cell's page.


def test_a_deep_link_opens_a_cell_and_survives_a_reload(opened, small):
    link = f"#cell={WRONG}"
    page = opened(small, link)
    for _ in range(2):
        side = page.locator(".page")
        assert side.locator("h2").inner_text() == "BS-03 Default, fast, other, fast, default, in this order"
        assert "event 3: expected [step 2: enter whatever_0 -> fast" in side.locator(".banner").inner_text()
        first = side.locator(".trace tr.first td").all_inner_texts()
        assert first[0] == "3"
        assert first[1].startswith("step 2: enter whatever_0 -> fast")
        assert first[2].startswith("≠ step 2: enter whatever_0 -> other")
        assert side.locator(".steps .differs").inner_text().split("\n")[:2] == [
            "2",
            "Call whatever_0(5) and use the value",
        ]
        assert side.locator(".code h4").all_inner_texts() == ["whatever_0 as linked:", "whatever_0 after the cell:"]
        assert side.locator(".code .changed").count() == 1
        assert "lost-restore" in side.locator(".tags").first.inner_text()  # what it detects; then who shows it
        facts = side.locator(".facts").inner_text()
        assert "unicorn 2.1.2" in facts
        assert "sha256 " in facts
        command = side.locator(".command code").inner_text()
        assert command == verdict.reproducer(Cell(NAME, "arm64", "stub", "zig", "unicorn"), "")
        assert state(page) == link
        page.reload()


def test_the_command_can_be_copied(opened, small):
    page = opened(small, f"#cell={WRONG}", permissions=["clipboard-read", "clipboard-write"])
    page.locator(".copy").click()
    page.get_by_text("Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()").startswith("farm run --arch arm64")


def test_the_pages_of_other_cells_say_what_there_is(opened, small):
    page = opened(small, f"#cell={DIED}")
    expect(page.locator(".page .banner")).to_contain_text("illegal instruction")
    assert page.title() == f"{DIED} - patchfarm: 2 of {page.evaluate('count'):,} cells are not as expected"
    assert "Run twice. The first attempt: it hung" in page.locator(".page .notice").first.inner_text()
    assert page.locator(".page .trace thead").count() == 0  # nothing was seen
    page.goto(page.url.partition("#")[0] + f"#cell=ppc64/stub/zig/unicorn/{NAME}")
    expect(page.locator(".page .banner")).to_contain_text("✓ pass")
    assert page.locator(".page .trace tr").count() == 14
    page.goto(page.url.partition("#")[0] + "#cell=no/such/cell")
    expect(page.locator(".page")).to_contain_text("There is no such cell")


def test_everything_can_be_done_with_keys(opened, small):
    page = opened(small)
    press = page.keyboard.press
    press("?")
    assert page.locator("dialog").is_visible()
    press("Escape")
    assert page.locator("dialog").is_hidden()
    press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.type("doubles jk")  # letters are text here
    assert page.locator("#search").input_value() == "doubles jk"
    page.locator("#search").fill("doubles")
    press("Enter")
    assert page.locator(".line.cursor").get_attribute("id") == "row-0"
    press("j")
    press("ArrowDown")
    press("k")
    assert page.locator(".line.cursor").get_attribute("id") == "row-1"
    assert page.locator(".viewport").get_attribute("aria-activedescendant") == "row-1"
    press("Enter")
    opened_first = page.locator(".page .path").inner_text()
    assert state(page).endswith(f"cell={opened_first.replace(':', '%3A')}")
    press("j")
    expect(page.locator(".page .path")).not_to_have_text(opened_first)
    press("Escape")
    expect(page.locator(".page")).to_have_count(0)
    expect(page.locator(".line.cursor")).to_have_id("row-2")
    press("3")
    assert page.locator("#matrix").is_visible()


def test_keys_scroll_a_view_and_each_keeps_its_place(opened, small):
    page = opened(small)
    page.set_viewport_size({"width": 1280, "height": 300})
    main = "document.getElementById('main')"
    scrolled = f"{main}.scrollTop"
    ends = (
        f"resolve => {{ {main}.addEventListener('scrollend', resolve, {{ once: true }}); setTimeout(resolve, 5000); }}"
    )
    for key in ("4", "1"):
        page.keyboard.press(key)
        assert page.evaluate(scrolled) == 0
        page.evaluate(f"() => {{ window.ended = new Promise({ends}); }}")
        page.keyboard.press("PageDown")
        page.evaluate("window.ended.then(() => null)")
        assert page.evaluate(scrolled) > 0
    there = page.evaluate(scrolled)
    page.locator('[data-tab="coverage"]').click()
    assert page.evaluate("document.activeElement.id") == "main"
    page.go_back()
    expect(page.locator("#overview")).to_be_visible()
    assert page.evaluate(scrolled) == there


def test_the_buttons_of_a_page_keep_the_focus(opened, small):
    page = opened(small, f"#cell={WRONG}")
    following = page.get_by_label("Next (j)")
    following.focus()
    for _ in range(2):
        before = page.locator(".page .path").inner_text()
        page.keyboard.press("Enter")
        expect(page.locator(".page .path")).not_to_have_text(before)
        expect(following).to_be_focused()


# How it looks.


def luminance(colour):
    channels = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(page, selector, behind="body"):
    text = page.locator(selector).first.evaluate("e => getComputedStyle(e).color")
    back = page.locator(behind).first.evaluate("e => getComputedStyle(e).backgroundColor")
    one, two = sorted((luminance(text), luminance(back)))
    return (two + 0.05) / (one + 0.05)


def test_both_themes_can_be_read_and_the_choice_is_remembered(opened, small):
    backgrounds = []
    for scheme in ("light", "dark"):
        page = opened(small, color_scheme=scheme)
        backgrounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        for selector, behind in (("body", "body"), (".muted", "body"), (".square.pass", ".square.pass")):
            assert contrast(page, selector, behind) >= 4.5, (scheme, selector)
        for failed in (".square.fail", ".story .end .step"):
            assert contrast(page, failed, failed) >= 4.5, (scheme, failed)
    assert len(set(backgrounds)) == 2
    page.locator("#theme").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == backgrounds[0]
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == backgrounds[0]


@pytest.mark.parametrize("width", [400, 700, 1280])
def test_no_view_is_wider_than_the_window(opened, small, width):
    page = opened(small)
    page.set_viewport_size({"width": width, "height": 900})
    for view in ("overview", "cells", "scenarios", "agreement", "cost", "coverage", "proofs", "mutants", "measured"):
        page.goto(f"{small.as_uri()}#view={view}")
        assert page.locator(f"#{view}").is_visible()
        widths = "[document.documentElement, document.getElementById('main')].map(e => e.scrollWidth)"
        for menu in page.locator(".facet summary").all() if view == "cells" else ():
            menu.click()
            box = page.locator(".facet[open] .menu").bounding_box()
            assert 0 <= box["x"] <= box["x"] + box["width"] <= width
        assert max(page.evaluate(widths)) <= width, view


@pytest.mark.parametrize("width", [700, 1280])
def test_the_longest_name_of_a_mechanism_is_not_cut(opened, large, width):
    page = opened(large, "#view=cells&mechanism=inline-cache")
    page.set_viewport_size({"width": width, "height": 900})
    name = rows(page).first.locator("> *", has_text=re.compile("^inline-cache$"))
    assert name.evaluate("e => e.scrollWidth <= e.clientWidth")


@pytest.mark.parametrize("width", [400, 1280])
def test_a_counterexample_has_its_cpus_side_by_side_and_time_runs_down(opened, small, width):
    page = opened(small, "#view=proofs")
    page.set_viewport_size({"width": width, "height": 900})
    boxes = [step.bounding_box() for step in page.locator(".story .step").all()]
    stored, executed, ended = boxes
    assert right(stored) < executed["x"]
    assert executed["x"] == ended["x"]
    assert [bottom(stored) <= executed["y"], bottom(executed) <= ended["y"]] == [True, True]
    assert right(ended) <= width


def bottom(box):
    return box["y"] + box["height"]


def right(box):
    return box["x"] + box["width"]


def test_a_telephone_shows_the_tab_that_is_open_and_every_column(opened, small):
    page = opened(small, "#view=cells")
    page.set_viewport_size({"width": 360, "height": 800})
    assert right(rows(page).first.locator("> :nth-child(6)").bounding_box()) <= 360
    page.goto(f"{small.as_uri()}#view=measured")
    assert right(page.locator('[data-tab="measured"]').bounding_box()) <= right(page.locator("nav").bounding_box()) + 1


def test_without_the_colours_of_the_page_it_is_seen_where_one_is(opened, small):
    page = opened(small, f"#cell={WRONG}", forced_colors="active")
    for marked, other in (
        (".line.cursor", ".line:not(.cursor, .title)"),
        (".trace tr.first", ".trace tr.after"),
        (".story .end .step", ".story tr:not(.end) .step"),
        (".code .changed", ".code pre span:not(.changed)"),
        (".steps .differs", ".steps div:not(.differs)"),
    ):
        styles = [page.locator(one).first.evaluate("e => getComputedStyle(e).outlineStyle") for one in (marked, other)]
        assert styles == ["solid", "none"], marked
    tabs = [page.locator(f'nav a[data-tab="{name}"]') for name in ("cells", "cost")]
    assert len({tab.evaluate("e => getComputedStyle(e).borderBottomColor") for tab in tabs}) == 2


def test_what_is_printed_is_the_filtered_list(opened, small):
    page = opened(small, "#variant=ppc64")
    few = rows(page).count()
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert rows(page).count() > few
    assert page.locator("#search").is_hidden()
    assert page.locator(".toolbar").inner_text().split("\n")[0].startswith("variant: ppc64")  # says which
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert rows(page).count() <= few


def test_what_is_left_out_of_print_is_said(opened, large):
    page = opened(large, "#view=cells")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert rows(page).count() == 1000
    expect(page.locator(".body .nothing")).to_have_text("and 19,000 more cells")


# Many cells.


def test_20000_cells_open_filter_and_scroll_at_once(opened, large):
    page = opened(large, "#view=cells")
    measured = "name => Number(document.documentElement.dataset[name])"
    assert page.evaluate(measured, "ready") < SECONDS * 1000
    assert tally(page) == "20,000 cells"
    for query, hits in (("doubles qemu", None), ("variant26", None), ("", MANY)):
        took = page.evaluate(
            """query => {
                const before = performance.now(), search = document.getElementById("search");
                search.value = query;
                search.dispatchEvent(new Event("input"));
                return performance.now() - before;
            }""",
            query,
        )
        assert took < SECONDS * 1000
        assert hits is None or page.locator(".viewport").get_attribute("aria-rowcount") == str(hits + 1)
    assert page.evaluate(measured, "filtered") < SECONDS * 1000
    page.locator('[data-sort="verdict"] button').click()
    page.locator(".viewport").evaluate("e => { e.scrollTop = e.scrollHeight; }")
    last = page.locator(f"#row-{MANY - 1}")
    last.wait_for()
    assert "pass-insensitive" in last.inner_text()
    box, view = last.bounding_box(), page.locator(".viewport").bounding_box()
    assert box["y"] + box["height"] <= view["y"] + view["height"] + 1
    assert rows(page).count() < 100


# Names that mean harm.


def test_no_name_runs_a_script(opened, tmp_path):
    bad = "</script><script>window.harmed = 1</script><img src=x onerror='window.harmed = 1'>"
    known = Scenario("BS-99", bad, bad, (call(0),), frozenset({Defect.LOST_PATCH}), tags=frozenset({bad}))
    cell = Cell(bad, bad, bad, bad, f"{bad}:x")
    events = [event._replace(kind=bad) for event in model.predict(known)]
    made = Result(
        cell, Verdict.MISMATCH, bad, "1", verdict.digest(model.predict(known)), None, None, 0.0, sensitive=True
    )
    made = replace(made, observed=events, reproduce=bad, retried=bad)
    other = verdict.skipped(replace(cell, engine="b", variant="b"), Hole(Verdict.NOT_RUN, bad))
    path = tmp_path / "report.html"
    hostile = replace(RUN, versions={bad: bad})
    path.write_bytes(html.render(Material(hostile, [made, other], Plan((), {bad: known}, {}), [bad])))
    page = opened(path)
    page.locator("#grid .square").first.hover()
    expect(page.locator("#tip")).to_contain_text(bad)
    for view in ("cells", "scenarios", "agreement"):
        page.locator(f'[data-tab="{view}"]').click()
        expect(page.locator(f"#{view}")).to_contain_text(bad)
    page.locator('[data-tab="cells"]').click()
    for facet in page.locator(".facet summary").all():
        facet.click()
    rows(page).first.click()
    side = page.locator(".page")
    expect(side.locator("h2")).to_contain_text(bad)
    page.reload()
    expect(side.locator(".path")).to_have_text(str(cell))
    expect(side.locator(".trace")).to_contain_text(f"step 0: {bad}")
    assert page.evaluate("window.harmed") is None
    assert page.locator("img").count() == 0
