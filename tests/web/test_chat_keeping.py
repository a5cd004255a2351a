"""What the chat page keeps, gives away and forgets; its languages; and its access for all, by axe's rules."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pictures import jpeg
from playwright.sync_api import expect
from web.hand import announced, answer, field, focused, photos, said, send, visit
from web.opened import page, stub
from web.stub import Stub, pictures

__all__ = ["page", "stub"]

pytestmark = pytest.mark.slow

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SMALLEST_PX = 24
"""WCAG 2.2, 2.5.8 Target Size (Minimum)."""


def kept(page: Any) -> list[int]:
    """How many conversations and pictures the browser holds."""
    counts: list[int] = page.evaluate(
        """() => new Promise((done) => {
            indexedDB.open("looksay").onsuccess = ({target: {result: base}}) => {
                const stores = ["conversations", "pictures"];
                const running = base.transaction(stores);
                const counted = stores.map((name) => running.objectStore(name).count());
                running.oncomplete = () => (base.close(), done(counted.map(({result}) => result)));
            };
        })"""
    )
    return counts


def test_a_conversation_outlives_the_page_until_it_is_deleted(
    page: Any, stub: Stub, tmp_path: Path
) -> None:
    page.set_input_files("#files", photos(tmp_path, "cat.jpg", "dog.jpg"))
    page.get_by_alt_text("dog.jpg").wait_for()
    send(page, "two of them")
    answer(page)
    page.reload()
    page.get_by_alt_text("Picture 2: dog.jpg, 96 by 72 pixels").wait_for()
    assert said(page) == "mini saw 2 pictures: two of them"
    page.locator("#model option").first.wait_for(state="attached")
    send(page, "and now")
    answer(page, 2)
    assert pictures(stub.asked[1]) == [jpeg(0), jpeg(1)]
    page.get_by_role("button", name="New conversation").press("Enter")
    assert focused(page) == "question"
    assert page.locator("article").count() == 0
    send(page, "another")
    answer(page)
    page.get_by_role("link", name="two of them").press("Enter")
    answer(page, 2)
    assert focused(page) == "title"
    assert page.locator("[aria-current]").inner_text() == "two of them"
    page.go_back()
    page.get_by_role("heading", name="another", exact=True).wait_for()
    page.go_forward()
    answer(page, 2)
    assert kept(page) == [2, 2]
    page.get_by_role("button", name="Delete: two of them").press("Enter")
    dialog = page.get_by_role("dialog", name="Delete this conversation?")
    page.keyboard.press("Escape")
    assert dialog.is_hidden()
    assert kept(page) == [2, 2]
    page.get_by_role("button", name="Delete: two of them").press("Enter")
    dialog.get_by_role("button", name="Delete").press("Enter")
    announced(page, "Deleted: two of them")
    assert page.evaluate("document.activeElement.textContent") == "another"
    assert kept(page) == [1, 0]
    assert page.locator("article").count() == 0


def test_editing_forgets_the_pictures_that_are_gone(page: Any, tmp_path: Path) -> None:
    page.set_input_files("#files", photos(tmp_path, "cat.jpg"))
    page.get_by_alt_text("cat.jpg").wait_for()
    send(page, "with a picture")
    answer(page)
    page.get_by_role("button", name="Edit: question 1").click()
    page.get_by_role("button", name="Remove picture 1").click()
    send(page, "without")
    page.get_by_text("mini saw 0 pictures: without", exact=True).wait_for()
    answer(page)
    page.reload()
    answer(page)
    assert kept(page) == [1, 0]


def test_an_answer_is_finished_while_another_conversation_is_read(page: Any, stub: Stub) -> None:
    send(page, "hold on")
    answer(page, ends=False).get_by_text("First words", exact=True).wait_for()
    page.get_by_role("button", name="New conversation").click()
    send(page, "meanwhile")
    assert said(page) == "mini saw 0 pictures: meanwhile"
    stub.release.set()
    announced(page, "mini answers: First words and the last.")
    page.get_by_role("link", name="hold on").click()
    page.get_by_text("First words and the last.", exact=True).wait_for()


def test_a_page_closed_in_the_middle_keeps_what_was_asked(page: Any, stub: Stub) -> None:
    send(page, "hold on")
    answer(page, ends=False).get_by_text("First words", exact=True).wait_for()
    page.get_by_role("link", name="hold on").wait_for()
    page.reload()
    assert answer(page).get_by_text("Stopped.").is_visible()
    page.locator("#model option").first.wait_for(state="attached")
    stub.release.set()
    answer(page).get_by_role("button", name="Retry").click()
    page.get_by_text("First words and the last.", exact=True).wait_for()


def downloaded(page: Any, name: str) -> str:
    with page.expect_download() as waiting:
        page.get_by_role("button", name=name).press("Enter")
    return str(Path(waiting.value.path()).read_text("utf-8"))


def test_exports_hold_everything(page: Any, stub: Stub, tmp_path: Path) -> None:
    page.get_by_label("Compare with").select_option("other")
    page.set_input_files("#files", photos(tmp_path, "a]cat.jpg"))
    page.get_by_alt_text("cat.jpg").wait_for()
    send(page, "say: <b>one</b>\n```\n<b>code</b>")
    answer(page, 1, 1)
    send(page, "two")
    answer(page, 2, 0)
    answer(page, 2, 1)
    found = json.loads(downloaded(page, "Export as JSON"))
    assert found["title"] == "say: <b>one</b>"
    assert [one["model"] for one in found["conversations"]] == ["mini", "other"]
    for one in found["conversations"]:
        asked = next(body for body in stub.asked[2:] if body["model"] == one["model"])
        assert one["messages"][:-1] == asked["messages"], "what is exported is what was asked"
        assert one["messages"][-1]["content"] == f"{one['model']} saw 1 pictures: two"
    text = downloaded(page, "Export as Markdown")
    assert "# say: \\<b>one\\</b>\n\n## Question 1\n" in text
    assert "![Picture 1: a\\]cat.jpg, 96 by 72 pixels](data:image/jpeg;base64," in text
    assert "### Answer of other\n\n\\<b>one\\</b>\n```\n<b>code</b>\n```\n\n## Question 2" in text
    assert pictures(stub.asked[0]) == [jpeg(0)]


def test_the_page_speaks_korean(stub: Stub, browser: Any, page: Any) -> None:
    context = browser.new_context(locale="ko-KR")
    korean = context.new_page()
    visit(korean, stub.url)
    assert korean.evaluate("document.documentElement.lang") == "ko"
    box = korean.get_by_role("textbox", name="질문")
    box.fill("say: 개 두 마리가 있어요")
    korean.keyboard.press("Enter")
    answer(korean)
    assert korean.get_by_role("heading", name="mini의 답변").is_visible()
    assert korean.locator(".answer > .text").get_attribute("lang") == "ko"
    announced(korean, "mini의 답변: 개 두 마리가 있어요")
    box.fill("초안")
    korean.get_by_label("언어").select_option("en")
    assert korean.get_by_role("heading", name="Answer of mini").is_visible()
    assert korean.get_by_role("button", name="Copy: answer of mini to question 1").is_visible()
    assert field(korean).input_value() == "초안"
    assert korean.evaluate("document.documentElement.lang") == "en"
    shown = korean.evaluate(
        'document.body.innerText + document.body.outerHTML.match(/(label|alt)="[^"]*/g)'
    )
    ours = [
        word
        for word in re.findall("[가-힣]+", shown)
        if word not in "say: 개 두 마리가 있어요 한국어"
    ]
    assert not ours
    visit(korean, stub.url)
    assert korean.evaluate("document.documentElement.lang") == "en", "the choice is kept"
    context.close()


def test_enter_that_ends_a_korean_syllable_sends_nothing(page: Any, stub: Stub) -> None:
    field(page).fill("안녕")
    page.evaluate(
        """document.getElementById("question").dispatchEvent(
            new KeyboardEvent("keydown", {key: "Enter", isComposing: true, bubbles: true}))"""
    )
    field(page).press("Shift+Enter")
    assert field(page).input_value() == "안녕\n"
    assert not stub.asked


def test_everything_is_done_by_keyboard(page: Any, stub: Stub) -> None:
    assert focused(page) == "question"
    page.locator("#skip").focus()
    # Who sees the page sees where they are, once it has moved there.
    expect(page.locator("#skip")).to_be_in_viewport(ratio=1)
    page.keyboard.press("Enter")
    assert focused(page) == "question"
    page.keyboard.type("say: hello\n")
    answer(page)
    page.locator("#edit-1").wait_for()
    seen = []
    page.locator("#skip").focus()
    for _ in range(60):
        page.keyboard.press("Tab")
        spot = page.evaluate(
            """() => {
                const node = document.activeElement;
                const box = node.getBoundingClientRect();
                const style = getComputedStyle(node);
                const over = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
                return {id: node.id || node.ariaLabel || node.textContent, width: box.width, height: box.height,
                        ring: style.outlineStyle, hit: node.contains(over), body: node === document.body};
            }"""
        )
        if spot.pop("body"):
            break
        seen.append(spot["id"])
        assert spot["hit"], f"{spot} is hidden behind something"
        assert spot["ring"] != "none", spot
        assert min(spot["width"], spot["height"]) >= SMALLEST_PX, spot
    assert len(seen) > 12
    assert {"new", "model", "second", "question", "pick", "send", "edit-1"} <= set(seen)
    assert "Copy: answer of mini to question 1" in seen


def test_on_a_phone_no_keyboard_opens_unasked(stub: Stub, browser: Any, tmp_path: Path) -> None:
    context = browser.new_context(has_touch=True, is_mobile=True, locale="en-GB")
    page = context.new_page()
    visit(page, stub.url)
    assert focused(page) == "BODY"
    page.set_input_files("#files", photos(tmp_path, "cat.jpg"))
    announced(page, "Pictures added: 1. In all: 1.")
    assert focused(page) == "BODY"
    page.keyboard.press("Tab")
    assert focused(page) == "skip"
    context.close()


def test_the_list_of_a_narrow_page_opens_and_closes(page: Any) -> None:
    page.set_viewport_size({"width": 320, "height": 640})
    send(page, "hello")
    answer(page)
    shows = page.get_by_role("button", name="Conversations")
    assert page.get_by_role("navigation").is_hidden()
    shows.press("Enter")
    assert shows.get_attribute("aria-expanded") == "true"
    page.get_by_role("button", name="New conversation").press("Enter")
    assert page.get_by_role("navigation").is_hidden()
    assert focused(page) == "question"


def test_an_idea_becomes_a_question(page: Any, stub: Stub) -> None:
    assert page.locator("#ideas button").count() == 8
    page.get_by_role("button", name="Count the dice").press("Enter")
    assert focused(page) == "question"
    page.keyboard.press("Enter")
    assert "How many dice are there" in said(page)
    assert page.locator("#ideas").is_hidden()


def test_colours_are_chosen_and_kept(page: Any, stub: Stub) -> None:
    def ground() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    page.emulate_media(color_scheme="light")
    light = ground()
    page.get_by_label("Colours").select_option("dark")
    dark = ground()
    assert dark != light
    page.reload()
    assert ground() == dark
    page.get_by_label("Colours").select_option("auto")
    assert ground() == light
    page.emulate_media(color_scheme="dark")
    assert ground() == dark


@pytest.mark.parametrize(
    ("scheme", "width"), [("light", 1280), ("dark", 1280), ("dark", 640), ("light", 320)]
)
def test_axe_finds_nothing_in_any_state(
    page: Any, stub: Stub, tmp_path: Path, scheme: str, width: int
) -> None:
    """640 is a window of 1280 at a zoom of 200 %, 320 one at 400 %."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page.set_viewport_size({"width": width, "height": width * 3 // 4})
    page.emulate_media(color_scheme=scheme)

    def well(state: str) -> None:
        found = axe.run(page, options={"runOnly": RULES})
        assert found.violations_count == 0, f"{state}: {found.generate_report()}"
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{state}: {wide} px wide"

    well("empty")
    page.set_input_files("#files", photos(tmp_path, "cat.jpg", "dog.jpg"))
    page.get_by_alt_text("dog.jpg").wait_for()
    well("pictures added")
    send(page, "hold on")
    answer(page, ends=False).get_by_text("First words", exact=True).wait_for()
    well("answering")
    stub.release.set()
    answer(page)
    page.get_by_label("Compare with").select_option("other")
    send(page, "say: " + "a_very_long_word_" * 20 + "\n```html\n" + "<p>" * 100 + "\n```")
    answer(page, 2, 0)
    answer(page, 2, 1)
    well("compared")
    page.get_by_role("button", name="Edit: question 1").click()
    well("editing")
    page.get_by_role("button", name="Cancel").click()
    send(page, "error 500")
    answer(page, 3, 0)
    answer(page, 3, 1)
    well("refused")
    answer(page, 1).get_by_role("button", name="Where did it look?").click()
    page.get_by_alt_text("the model looked at").wait_for()
    well("where it looked")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Settings").click()
    well("settings")
    page.keyboard.press("Escape")
    if width <= 640:
        page.get_by_role("button", name="Conversations").click()
    page.get_by_role("button", name="Delete: hold on").click()
    well("deleting")
    page.keyboard.press("Escape")
    stub.key = "needed"
    page.reload()
    page.get_by_role("dialog", name="This server asks for a key").wait_for()
    well("key")
