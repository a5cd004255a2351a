"""The review page in a real browser, before a real server process: what people can do with it, and what is kept."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pictures import jpeg, put
from web.reviewed import (
    TEXTS,
    decisions,
    kept,
    library,
    opened,
    press,
    reviewing,
    shown,
    told,
    wait,
)

import looksay

pytestmark = pytest.mark.slow

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    folder = told(tmp_path)
    with reviewing(folder) as (url, _):
        yield folder, url


def test_two_hundred_photos_are_reviewed_by_keyboard_alone(browser: Any, tmp_path: Path) -> None:
    folder = library(tmp_path, 200)
    with reviewing(folder) as (url, _), opened(browser, url) as page:
        page.mouse.move(-1, -1)
        for n in range(200):
            if n % 20 == 3:
                page.keyboard.press("e")
                page.keyboard.press("Control+a")
                page.keyboard.type(f"Words {n}")
                press(page, "Enter")
            else:
                press(page, {7: "d", 11: "r"}.get(n % 20, "Enter"))
        page.get_by_role("heading", name="Nothing waits here").wait_for()
        assert page.evaluate("document.activeElement.id") == "nothing-title"
        page.locator("#figures").filter(has_text="200 decided, 0 waiting").wait_for()
    rows = decisions(folder)
    assert Counter(row.state for row in rows) == {
        "reviewed": 170,
        "human": 10,
        "decorative": 10,
        "rejected": 10,
    }
    assert len({row.photo_id for row in rows}) == 200
    assert {row.who for row in rows} == {"ana"}
    assert all(row.seconds is not None for row in rows)


def test_what_is_known_of_a_text_is_shown_in_colour_and_without(browser: Any, desk: Any) -> None:
    with opened(browser, desk[1]) as page:
        assert shown(page) == "dogs.jpg on walk.md"
        assert page.evaluate("document.activeElement.id") == "title"
        assert page.locator("#text").inner_text() == TEXTS["ollama:one"]
        page.locator("#photo").wait_for()
        assert page.get_by_role("img", name="The photo dogs.jpg").count() == 1
        assert page.locator("#context").inner_text().split("\n")[:2] == ["Page", "A walk"]
        marks = {
            "supported": ("dogs", "✓", "solid"),
            "rejected": ("Three", "✗", "wavy"),
            "contested": ("small", "?", "dashed"),
            "unchecked": ("red sofa", None, "dotted"),
        }
        for verdict, (words, sign, line) in marks.items():
            mark = page.locator(f"#text .{verdict}")
            assert mark.inner_text() == words
            look = mark.evaluate(
                "node => [getComputedStyle(node, '::after').content, getComputedStyle(node).textDecorationStyle]"
            )
            assert look[1] == line
            assert sign is None or sign in look[0]
        listed = page.locator("#claim-list > li").all_inner_texts()
        assert [one.split("\n")[0] for one in listed] == [
            "✓ supported dogs 90 % support",
            "✗ rejected three dogs 10 % support",
            "? contested small dogs 50 % support",
            "· not checked a red sofa",
        ]
        risk = page.locator("#risk").inner_text()
        assert "Risk:" in risk
        assert "three dogs" in risk


def test_candidates_differ_word_by_word_and_any_of_them_is_taken(browser: Any, desk: Any) -> None:
    folder, url = desk
    with opened(browser, url) as page:
        second = page.locator("#candidate-list > li").filter(has_text="ollama:two")
        assert second.locator("del").inner_text().split() == ["[only", "above:", "Three", "]"]
        assert second.locator("ins").inner_text().split() == ["[only", "here:", "Two", "]"]
        number = next(
            n
            for n, one in enumerate(page.locator("#candidate-list h4").all_inner_texts(), 1)
            if "ollama:two" in one
        )
        press(page, str(number), "Shown above now")
        assert page.locator("#text").inner_text() == TEXTS["ollama:two"]
        press(page, "Enter", "Accepted")
    (row,) = decisions(folder)
    assert (row.state, row.text) == ("reviewed", TEXTS["ollama:two"])


DIFFER = """async (pairs) => {
    const {differences, marked} = await import(`/${new URL(document.querySelector("script[type=module]").src).pathname.slice(1).replace("review.js", "marks.js")}`);
    return pairs.map(([a, b, claims]) => [differences(a, b), marked(a, claims)]);
}"""


def test_pieces_joined_are_the_texts(browser: Any, desk: Any) -> None:
    import random

    generator = random.Random(4)

    def text() -> str:
        return " ".join(
            generator.choices(["a", "b", "개", "🐕", "dog", "dogs"], k=generator.randrange(9))
        )

    pairs = []
    for _ in range(300):
        one = text()
        claims = [
            {
                "spans": [sorted(generator.choices(range(12), k=2))],
                "verdict": generator.choice(["supported", "rejected"]),
            }
            for _ in range(generator.randrange(3))
        ]
        pairs.append([one, text(), claims])
    with opened(browser, desk[1]) as page:
        found = page.evaluate(DIFFER, pairs)
    for (before, after, claims), (differ, marks) in zip(pairs, found, strict=True):
        for kind, whole in (("old", before), ("new", after)):
            assert " ".join(piece for piece, own in differ if own in ("same", kind)) == whole
        assert "".join(piece for piece, _ in marks) == before
        place = 0
        for piece, verdict in marks:
            for at in range(place, place + len(piece)):
                here = [c["verdict"] for c in claims if c["spans"][0][0] <= at < c["spans"][0][1]]
                assert verdict == ("rejected" if "rejected" in here else here[0] if here else "")
            place += len(piece)


def test_undo_takes_back_and_a_group_goes_together(browser: Any, tmp_path: Path) -> None:
    folder = library(tmp_path, 2)
    (folder / "copy.jpg").write_bytes((folder / "000.jpg").read_bytes())
    (folder / "page.md").write_text("![](000.jpg)\n\n![](copy.jpg)\n")
    with looksay.Library(folder) as opened_library:
        opened_library.scan()
        opened_library.describe("echo")
    with reviewing(folder) as (url, _), opened(browser, url) as page:
        assert "000.jpg" in shown(page)
        press(page, "g", "Also for its 1 near-duplicates")
        press(page, "Enter", "In all 2 places")
        assert [row.state for row in decisions(folder)] == ["reviewed"] * 2
        press(page, "u", "Taken back: 2")
        assert "000.jpg" in shown(page)
        assert [row.state for row in decisions(folder)][2:] == ["withdrawn"] * 2
        press(page, "Enter", "Accepted")
        page.reload()
        page.locator("#item").wait_for()
        press(page, "u", "Taken back.")
        assert "000.jpg" in shown(page), (
            "what was decided before the page was loaded again is taken back as well"
        )
        press(page, "u", "nothing to take back")


def test_passing_over_going_back_and_around(browser: Any, tmp_path: Path) -> None:
    folder = library(tmp_path, 3)
    with reviewing(folder) as (url, _), opened(browser, url) as page:
        seen = [shown(page)]
        for _ in range(2):
            press(page, "n")
            seen.append(shown(page))
        assert len(set(seen)) == 3
        press(page, "ArrowLeft")
        assert shown(page) == seen[1]
        press(page, "ArrowRight")
        press(page, "n", "begins again")
        assert shown(page) == seen[0]
    assert decisions(folder) == []


def test_two_browsers_lose_nothing(browser: Any, tmp_path: Path) -> None:
    folder = library(tmp_path, 12)
    with reviewing(folder) as (url, _), opened(browser, url) as one, opened(browser, url) as two:
        for page, who in ((one, "Ana"), (two, "Bob")):
            page.get_by_role("button", name="Settings").click()
            page.get_by_label("Your name").fill(who)
            page.get_by_role("dialog").get_by_role("button", name="Close").click()
            page.locator("#title").focus()
        assert shown(one) != shown(two), "nobody is shown what another looks at"
        while one.locator("#item").is_visible() or two.locator("#item").is_visible():
            for page in (one, two):
                if page.locator("#item").is_visible():
                    press(page, "Enter")
        rows = decisions(folder)
        assert len(rows) == len({row.photo_id for row in rows}) == 12
        assert {row.who for row in rows} == {"Ana", "Bob"}


def test_what_a_closed_page_held_is_free_at_once(browser: Any, tmp_path: Path) -> None:
    folder = library(tmp_path, 1)
    with reviewing(folder, "--key", "right") as (url, _):

        def come(page: Any) -> None:
            page.keyboard.type("right")
            page.keyboard.press("Enter")
            page.locator("#item:not([hidden]), #nothing:not([hidden])").first.wait_for()

        with opened(browser, url) as one, opened(browser, url) as two:
            come(one)
            come(two)
            two.get_by_text("What is left (1) is open in another window").wait_for()
            one.close()

            def free() -> bool:
                two.evaluate("document.getElementById('from-top').click()")
                return bool(two.locator("#item").is_visible())

            wait(two, free)
            assert shown(two) == "000.jpg"


def test_a_link_is_not_left_without_a_name_unasked(browser: Any, tmp_path: Path) -> None:
    for n, name in enumerate(("dogs.jpg", "sea.jpg")):
        put(tmp_path / name, jpeg(n, (64, 48)))
    put(tmp_path / "walk.md", "# A walk\n\n[![](dogs.jpg)](tour.md)\n\n![](sea.jpg)\n")
    with looksay.Library(tmp_path) as made:
        made.scan()
        made.describe("echo")
    with reviewing(tmp_path) as (url, _), opened(browser, url) as page:
        while "dogs.jpg" not in shown(page):
            press(page, "n")
        dialog = page.get_by_role("dialog", name="A link without a name")
        for leave in ("Escape", "Enter"):  # Enter is on "Cancel"
            page.keyboard.press("d")
            dialog.get_by_text("the link has no name without words").wait_for()
            assert dialog.get_attribute("aria-describedby") == "nameless-text"
            assert page.evaluate("document.activeElement.textContent") == "Cancel"
            page.keyboard.press(leave)
            dialog.wait_for(state="hidden")
            assert page.evaluate("document.activeElement.id") == "title"
        assert decisions(tmp_path) == []
        page.keyboard.press("d")
        page.keyboard.press("Tab")
        press(page, "Enter", "Marked as decoration.")
        wait(page, lambda: "sea.jpg" in shown(page))
        page.keyboard.press("d")  # what is said after it is what was said before
        wait(page, lambda: len(decisions(tmp_path)) == 2)
    assert [row.state for row in decisions(tmp_path)] == ["decorative"] * 2


def test_who_comes_second_sees_both_and_chooses(browser: Any, tmp_path: Path) -> None:
    folder = library(tmp_path, 3)
    stands = {
        "Leave theirs": "Theirs.",
        "Put mine in its place": "Mine.",
        "Edit mine": "Mine, better.",
    }
    with reviewing(folder) as (url, _), opened(browser, url) as page:
        for choice, text in stands.items():
            name = shown(page)
            page.keyboard.press("e")
            page.keyboard.press("Control+a")
            page.keyboard.type("Mine.")
            with looksay.Library(folder) as other:
                other.decide(folder / name, "edit", "Theirs.")
            page.keyboard.press("Enter")
            dialog = page.get_by_role("dialog", name="Somebody decided meanwhile")
            dialog.wait_for()
            assert page.locator("#mine").inner_text() == "Mine."
            assert page.locator("#theirs").inner_text().endswith("wrote: Theirs.")
            assert any("draft" in one for one in kept(page)), "what was typed is kept meanwhile"
            dialog.get_by_role("button", name=choice).click()
            if choice == "Edit mine":
                # the field has the keyboard then
                page.evaluate("new Promise((done) => setTimeout(done, 5))")
                page.keyboard.press("Control+a")
                page.keyboard.type(text)
                page.keyboard.press("Enter")
            page.locator("main > section:visible h2").filter(has_not_text=name).wait_for()
            assert decisions(folder)[-1].text == text
            assert not any("draft" in one or "pending" in one for one in kept(page))
        page.get_by_role("heading", name="Nothing waits here").wait_for()
    assert len(decisions(folder)) == 5, "theirs stay in the history"


def test_kill_9_in_the_middle(browser: Any, tmp_path: Path) -> None:
    folder = library(tmp_path, 8)
    with reviewing(folder) as (url, process), opened(browser, url) as page:
        for _ in range(3):
            press(page, "Enter")
        assert len(decisions(folder)) == 3  # what was answered is there
        # One more is taken and the server dies before the browser has the answer.
        port = int(url.rpartition(":")[2])

        def lost(route: Any) -> None:
            route.fetch()
            process.kill()
            process.wait()
            route.abort()

        page.route("**/api/decide", lost)
        page.keyboard.press("Enter")
        page.get_by_text("The server cannot be reached.").first.wait_for()
        assert len(decisions(folder)) == 4
        page.unroute("**/api/decide")
        assert any("pending" in one for one in kept(page))
        with reviewing(folder, port=port):
            press(page, "Enter", "Accepted")
            assert len(decisions(folder)) == 4, "the decision was doubled"
            assert not any("pending" in one for one in kept(page))
            for _ in range(4):
                press(page, "Enter")
            page.get_by_role("heading", name="Nothing waits here").wait_for()
    rows = decisions(folder)
    assert len(rows) == len({row.photo_id for row in rows}) == 8


def test_a_page_that_was_closed_before_the_answer_sends_again(browser: Any, tmp_path: Path) -> None:
    folder = library(tmp_path, 3)
    with reviewing(folder) as (url, _), opened(browser, url) as page:
        page.route("**/api/decide", lambda route: route.abort())
        page.keyboard.press("e")
        page.keyboard.press("Control+a")
        page.keyboard.type("Typed with care.")
        page.keyboard.press("Enter")
        page.get_by_text("The server cannot be reached.").first.wait_for()
        assert decisions(folder) == []
        page.unroute("**/api/decide")
        page.reload()
        page.locator("#item").wait_for()
        assert [row.text for row in decisions(folder)] == ["Typed with care."]


def test_many_are_accepted_after_a_look_at_some(browser: Any, tmp_path: Path) -> None:
    folder = library(tmp_path, 30)
    with reviewing(folder) as (url, _), opened(browser, url) as page:
        page.get_by_role("button", name="Accept many").click()
        dialog = page.get_by_role("dialog", name="Accept many")
        dialog.get_by_text("30 texts, 12 of them here.").wait_for()
        assert dialog.locator("#sample li").count() == 12
        dialog.get_by_label("Risk below").fill("1")
        page.keyboard.press("Enter")
        dialog.get_by_text("No text has so low a risk.").wait_for()
        assert dialog.locator("#bulk-accept").is_disabled()
        dialog.get_by_label("Risk below").fill("20")
        page.keyboard.press("Enter")
        dialog.get_by_role("button", name="Accept 30 texts").click()
        page.get_by_role("heading", name="Nothing waits here").wait_for()
        assert len(decisions(folder)) == 30
        page.get_by_role("button", name="Undo").click()
        page.locator("#item").wait_for()
        assert len(decisions(folder)) == 60
        page.locator("#figures").filter(has_text="0 decided, 30 waiting").wait_for()


def test_filters(browser: Any, desk: Any) -> None:
    with opened(browser, desk[1]) as page:
        page.keyboard.press("f")
        page.get_by_label("Photo or page contains").fill("SEA")
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="sea.jpg on walk.md").wait_for()
        page.get_by_text("Filters are on.").wait_for()
        page.keyboard.press("f")
        page.get_by_label("Model", exact=True).select_option("ollama:one")
        page.get_by_label("Show", exact=True).select_option("what is decided")
        page.get_by_role("button", name="Show these").click()
        page.get_by_text("No text is like the filters ask.").wait_for()
        page.get_by_role("button", name="Filters").click()
        page.get_by_role("button", name="Clear").click()
        page.get_by_role("heading", name="dogs.jpg on walk.md").wait_for()


def test_an_empty_catalogue_and_a_photo_that_is_gone(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("No photo.")
    with looksay.Library(tmp_path) as opened_library:
        opened_library.scan()
    with reviewing(tmp_path) as (url, _), opened(browser, url) as page:
        page.get_by_text("The catalogue has no texts yet. Type: looksay describe").wait_for()
        library(tmp_path, 2)
        page.get_by_role("button", name="From the top").click()
        page.locator("#item").wait_for()
        first = shown(page)
        (tmp_path / "000.jpg").unlink()
        (tmp_path / "001.jpg").unlink()
        page.reload()
        page.get_by_text(f"The file {first} is not there any more.").wait_for()
        with looksay.Library(tmp_path) as opened_library:
            opened_library.scan()
        press(page, "Enter", "is not in the library any more, so it is left out")
    assert decisions(tmp_path) == []


def test_letters_can_be_turned_off(browser: Any, desk: Any) -> None:
    with opened(browser, desk[1]) as page:
        page.get_by_role("button", name="Settings").click()
        page.get_by_label("Single letters are keys").uncheck()
        page.keyboard.press("Escape")
        page.locator("#title").focus()
        before = shown(page)
        for letter in "rdeug":
            page.keyboard.press(letter)
        assert shown(page) == before
        assert page.locator("#editor").is_hidden()
        press(page, "Enter", "Accepted")
    assert [row.state for row in decisions(desk[0])] == ["reviewed"]


def test_korean(browser: Any, desk: Any) -> None:
    with opened(browser, desk[1]) as page:
        page.get_by_role("button", name="Settings").click()
        page.get_by_label("Language").select_option("ko")
        page.get_by_role("dialog").get_by_role("button", name="닫기").click()
        assert page.locator("html").get_attribute("lang") == "ko"
        assert page.get_by_role("button", name="받아들이기", exact=True).is_visible()
        assert "근거와 어긋남: “three dogs”" in page.locator("#risk").inner_text()
        assert not re.search(
            "[a-z]{4,}", page.locator("#actions").inner_text().replace("Enter", "")
        )


@pytest.mark.parametrize(
    ("scheme", "width"), [("light", 1280), ("dark", 1280), ("dark", 640), ("light", 320)]
)
def test_axe_finds_nothing_in_any_state(browser: Any, desk: Any, scheme: str, width: int) -> None:
    """640 is a window of 1280 at a zoom of 200 %, 320 one at 400 %, or a phone."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    folder, url = desk
    size = {"width": width, "height": max(480, width * 3 // 4)}
    with opened(browser, url, viewport=size, color_scheme=scheme) as page:

        def well(state: str) -> None:
            found = axe.run(page, options={"runOnly": RULES})
            assert found.violations_count == 0, f"{state}: {found.generate_report()}"
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{state}: {wide} px wide"

        page.locator("#photo").wait_for()
        well("a text")
        page.keyboard.press("e")
        well("editing")
        page.keyboard.press("Escape")
        for name in ("Filters", "Accept many", "Keys and help", "Settings"):
            page.get_by_role("button", name=name).click()
            page.get_by_role("dialog").wait_for()
            well(name)
            page.keyboard.press("Escape")
        with looksay.Library(folder) as other:
            other.decide(folder / "dogs.jpg", "edit", "Theirs.", page=str(folder / "walk.md"))
        page.locator("#title").focus()
        page.keyboard.press("Enter")
        page.get_by_role("dialog", name="Somebody decided meanwhile").wait_for()
        well("conflict")
        page.get_by_role("button", name="Leave theirs").click()
        page.get_by_role("heading", name="sea.jpg on walk.md").wait_for()
        page.locator("#status").get_by_text("sea.jpg").wait_for(state="attached")
        page.route("**/api/decide", lambda route: route.abort())
        press(page, "Enter", "The server cannot be reached.")
        well("no server")
        page.unroute("**/api/decide")
        page.get_by_role("button", name="Send again").click()
        page.get_by_role("heading", name="Nothing waits here").wait_for()
        well("nothing")


def test_every_control_shows_where_the_focus_is_and_is_large_enough(
    browser: Any, desk: Any
) -> None:
    with opened(browser, desk[1], viewport={"width": 360, "height": 740}) as page:
        page.locator("#photo").wait_for()
        page.locator("#skip").focus()
        seen = []
        for _ in range(40):
            page.keyboard.press("Tab")
            spot = json.loads(
                page.evaluate(
                    """() => {
                        const node = document.activeElement;
                        const box = node.getBoundingClientRect();
                        const over = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
                        return JSON.stringify({id: node.id || node.textContent, small: Math.min(box.width, box.height),
                            ring: getComputedStyle(node).outlineStyle, hit: node.contains(over),
                            body: node === document.body});
                    }"""
                )
            )
            if spot["body"]:
                break
            seen.append(spot["id"])
            assert spot["ring"] != "none", spot
            assert spot["hit"], f"{spot} is hidden behind something"
            assert spot["small"] >= 24 or spot["id"] == "group", spot
        assert {"open-filters", "accept", "start-edit", "next", "reject", "undo"} <= set(seen)
