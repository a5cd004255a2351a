"""The chat page in a real browser, before a server that answers by script: what a person can do with it."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from pictures import jpeg, put
from PIL import Image as Pillow
from web.hand import announced, answer, field, focused, photos, said, send, visit
from web.opened import page, stub
from web.stub import Stub, pictures

__all__ = ["page", "stub"]

pytestmark = pytest.mark.slow


def test_an_answer_is_shown_as_it_comes_and_read_out_when_it_has_ended(
    page: Any, stub: Stub
) -> None:
    send(page, "hold on")
    shown = answer(page, ends=False)
    shown.get_by_text("First words", exact=True).wait_for()
    assert shown.locator("> .text").get_attribute("aria-busy") == "true"
    assert "First" not in page.get_by_role("status").inner_text()
    assert focused(page) == "question"
    stub.release.set()
    assert said(page) == "First words and the last."
    announced(page, "mini answers: First words and the last.")
    assert shown.locator("> .text").get_attribute("aria-busy") == "false"
    assert page.title() == "hold on – looksay"
    assert stub.asked[0]["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("way", ["Escape", "button"])
def test_stop_ends_the_work_and_keeps_what_was_said(page: Any, stub: Stub, way: str) -> None:
    send(page, "hold on")
    answer(page, ends=False).get_by_text("First words", exact=True).wait_for()
    if way == "Escape":
        page.keyboard.press("Escape")
    else:
        page.get_by_role("button", name="Stop").click()
    assert said(page) == "First words"
    assert answer(page).get_by_text("Stopped.").is_visible()
    assert stub.left.wait(240), "the server goes on for nobody"
    assert focused(page) == "question"
    send(page, "and now")
    assert said(page, 2) == "mini saw 0 pictures: and now"
    assert [m["role"] for m in stub.asked[1]["messages"]] == ["user", "assistant", "user"]


def test_a_question_that_failed_can_be_asked_again(page: Any, stub: Stub) -> None:
    stub.refuse = 1
    send(page, "hello")
    failed = answer(page)
    assert failed.get_by_text("The model is being loaded.").is_visible()
    assert failed.get_by_text("Retry in a moment.").is_visible()
    announced(page, re.compile("mini did not answer.*Retry in a moment"))
    failed.get_by_role("button", name="Retry").press("Enter")
    answer(page).get_by_role("button", name="Copy").wait_for()
    assert said(page) == "mini saw 0 pictures: hello"
    assert answer(page).locator(".failure").count() == 0
    assert focused(page) == "question"


def test_a_question_is_edited_with_its_pictures(page: Any, stub: Stub, tmp_path: Path) -> None:
    page.set_input_files("#files", photos(tmp_path, "cat.jpg"))
    page.get_by_alt_text("cat.jpg").wait_for()
    send(page, "first")
    answer(page)
    send(page, "second")
    answer(page, 2)
    field(page).fill("a draft")
    page.get_by_role("button", name="Edit: question 1").press("Enter")
    assert focused(page) == "question"
    assert field(page).input_value() == "first"
    page.get_by_role("button", name="Cancel").press("Enter")
    assert focused(page) == "edit-1"
    assert field(page).input_value() == "a draft"
    page.get_by_role("button", name="Edit: question 1").press("Enter")
    send(page, "first, better")
    page.get_by_text("mini saw 1 pictures: first, better", exact=True).wait_for()
    assert page.get_by_role("heading", name="Question 2").count() == 0
    assert page.get_by_role("heading", name="first, better", exact=True).count() == 1
    assert field(page).input_value() == "a draft"
    assert len(stub.asked[-1]["messages"]) == 1


def test_several_pictures_arrive_as_they_were_chosen(page: Any, stub: Stub, tmp_path: Path) -> None:
    files = photos(tmp_path, "cat.jpg", "dog.jpg", "owl.jpg")
    page.set_input_files("#files", files)
    page.get_by_alt_text("Picture 3: owl.jpg, 96 by 72 pixels").wait_for()
    announced(page, "Pictures added: 3. In all: 3.")
    page.get_by_role("button", name="Remove picture 2: dog.jpg").press("Enter")
    assert page.evaluate("document.activeElement.ariaLabel") == "Remove picture 2: owl.jpg"
    send(page, "")
    assert said(page) == "mini saw 2 pictures: What is in this picture?"
    assert pictures(stub.asked[0]) == [files[0].read_bytes(), files[2].read_bytes()]
    assert page.locator("article img").count() == 2
    send(page, "and now?")
    assert said(page, 2) == "mini saw 2 pictures: and now?", (
        "earlier pictures stay in the conversation"
    )


def test_after_a_picture_is_picked_one_types_on(page: Any, stub: Stub, tmp_path: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Add pictures").press("Enter")
    chooser.value.set_files(photos(tmp_path, "cat.jpg"))
    page.get_by_alt_text("Picture 1: cat.jpg").wait_for()
    assert focused(page) == "question"
    page.keyboard.type("what is it\n")
    assert said(page) == "mini saw 1 pictures: what is it"


def test_the_last_picture_removed_leaves_the_focus_on_the_button_that_adds(
    page: Any, tmp_path: Path
) -> None:
    page.set_input_files("#files", photos(tmp_path, "cat.jpg"))
    page.get_by_role("button", name="Remove picture 1").press("Enter")
    assert focused(page) == "pick"
    assert page.locator("#pictures").is_hidden()


def test_a_picture_is_pasted(page: Any, stub: Stub) -> None:
    page.evaluate(
        """async () => {
            const canvas = new OffscreenCanvas(40, 30);
            canvas.getContext("2d").fillRect(0, 0, 20, 30);
            const blob = await canvas.convertToBlob({type: "image/png"});
            await navigator.clipboard.write([new ClipboardItem({"image/png": blob})]);
        }"""
    )
    field(page).focus()
    page.keyboard.press("Control+v")
    page.get_by_alt_text("Picture 1: pasted picture, 40 by 30 pixels").wait_for()
    send(page, "what is it")
    assert said(page) == "mini saw 1 pictures: what is it"
    assert pictures(stub.asked[0])[0].startswith(b"\x89PNG")


def drop(page: Any, name: str, kind: str, data: bytes) -> None:
    page.evaluate(
        """([name, type, bytes]) => {
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([new Uint8Array(bytes)], name, {type}));
            for (const step of ["dragover", "drop"])
                document.body.dispatchEvent(
                    new DragEvent(step, {dataTransfer, bubbles: true, cancelable: true}));
        }""",
        [name, kind, list(data)],
    )


def test_files_are_dropped(page: Any, stub: Stub) -> None:
    drop(page, "cat.jpg", "image/jpeg", jpeg(3))
    page.get_by_alt_text("Picture 1: cat.jpg").wait_for()
    drop(page, "notes.txt", "text/plain", b"no picture")
    page.get_by_text("notes.txt is no picture that this browser can read.").first.wait_for()
    drop(page, "phone.heic", "", b"what a phone writes")
    page.get_by_role("img", name="Picture 2: phone.heic, not shown by this browser").wait_for()
    send(page, "both")
    answer(page)
    assert pictures(stub.asked[0]) == [jpeg(3), b"what a phone writes"]
    assert "data:image/heic;base64," in json.dumps(stub.asked[0])


def test_a_large_picture_is_made_smaller_before_it_is_sent(
    page: Any, stub: Stub, tmp_path: Path
) -> None:
    page.set_input_files("#files", [put(tmp_path / "wide.jpg", jpeg(1, (4096, 1024)))])
    page.get_by_alt_text("Picture 1: wide.jpg, 2048 by 512 pixels").wait_for()
    send(page, "what is it")
    answer(page)
    sent = Pillow.open(io.BytesIO(pictures(stub.asked[0])[0]))
    assert (sent.format, sent.size) == ("JPEG", (2048, 512))


def test_two_models_answer_side_by_side_and_each_keeps_its_own_thread(
    page: Any, stub: Stub
) -> None:
    page.set_viewport_size({"width": 1280, "height": 800})
    page.get_by_label("Compare with").select_option("other")
    send(page, "one")
    assert said(page, 1, 0) == "mini saw 0 pictures: one"
    assert said(page, 1, 1) == "other saw 0 pictures: one"
    left, right = (answer(page, 1, column).bounding_box() for column in (0, 1))
    assert left["y"] == right["y"]
    assert left["x"] + left["width"] <= right["x"]
    send(page, "two")
    for column, name in enumerate(["mini", "other"]):
        answer(page, 2, column)
        asked = next(one for one in stub.asked[2:] if one["model"] == name)
        assert asked["messages"][1]["content"] == f"{name} saw 0 pictures: one"
    answer(page, 2, 1).get_by_role("button", name="Retry").click()
    page.get_by_role("button", name="Send").wait_for()
    assert [one["model"] for one in stub.asked[4:]] == ["other"], "the good answer was asked anew"


def test_what_a_model_says_is_text_whatever_it_says(page: Any) -> None:
    evil = '<img src=x onerror="document.title=1"><script>document.title=2</script> & <b>bold</b>'
    fence = "````html\n<p>\n```\n</p>\n````"
    send(page, f"say: {evil}\nsecond line\n{fence}\nthe end\n```py\nopen = 1")
    answer(page)
    assert page.locator("article img, article script, article b").count() == 0
    assert said(page).startswith(f"{evil}\nsecond line\n")
    assert [one.inner_text() for one in page.locator("pre").all()] == ["<p>\n```\n</p>", "open = 1"]
    assert page.locator("pre").first.get_attribute("aria-label") == "Code, html"
    assert page.title().endswith("looksay")
    page.get_by_role("button", name="Copy code").first.click()
    announced(page, "Copied.")
    page.evaluate("document.getElementById('status').textContent = ''")
    assert page.evaluate("navigator.clipboard.readText()") == "<p>\n```\n</p>"
    page.get_by_role("button", name="Copy: answer of mini to question 1").click()
    announced(page, "Copied.")
    assert page.evaluate("navigator.clipboard.readText()").startswith(evil)


REFUSALS = [
    ("error 400", "Refused <b>400</b>.", "Change the question or the settings"),
    ("error 404", "Refused <b>404</b>.", "Choose another model"),
    ("error 413", "Refused <b>413</b>.", "Use fewer or smaller pictures."),
    ("error 422", "Refused <b>422</b>.", "Change the question or the settings"),
    ("error 429", "Refused <b>429</b>.", "Retry in 7 seconds."),
    ("error 500", "Refused <b>500</b>.", "Something broke in the server"),
    ("broken in the middle", "The model ran out of memory.", "Something broke in the server"),
    ("cut in the middle", "saw 0 pictures: cut in the middle", "The connection ended before"),
    ("long story", "long story", "Cut off after 6 tokens."),
    ("say:", "", "The model answered with nothing."),
]


def test_what_went_wrong_is_told_with_what_to_do(page: Any) -> None:
    for question, words, advice in REFUSALS:
        page.get_by_role("button", name="New conversation").click()
        send(page, question)
        assert words in answer(page).inner_text(), question
        assert advice in answer(page).inner_text(), question


def test_a_server_that_is_gone(page: Any) -> None:
    page.route("**/v1/chat/completions", lambda route: route.abort())
    send(page, "hello")
    assert "The server cannot be reached." in answer(page).inner_text()
    page.unroute("**/v1/chat/completions")
    answer(page).get_by_role("button", name="Retry").click()
    page.get_by_text("mini saw 0 pictures: hello", exact=True).wait_for()


def test_the_key_is_asked_for_and_kept_for_this_tab_only(page: Any, stub: Stub) -> None:
    stub.key = "right"
    send(page, "hello")
    dialog = page.get_by_role("dialog", name="This server asks for a key")
    dialog.wait_for()
    assert focused(page) == "key-field"
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    page.get_by_text("The server did not accept this key.").wait_for()
    page.keyboard.type("right")
    page.keyboard.press("Enter")
    page.get_by_text("mini saw 0 pictures: hello", exact=True).wait_for()
    page.reload()
    page.locator("#model option").first.wait_for(state="attached")
    assert "right" not in page.evaluate("JSON.stringify({...localStorage})")
    fresh = page.context.new_page()
    fresh.goto(stub.url)
    fresh.get_by_role("dialog", name="This server asks for a key").wait_for()
    fresh.keyboard.press("Escape")
    send(fresh, "without a key")
    fresh.get_by_role("dialog", name="This server asks for a key").wait_for()
    fresh.keyboard.type("right")
    fresh.keyboard.press("Enter")
    fresh.locator("#model option").first.wait_for(state="attached")
    question = field(fresh)
    assert question.input_value() == "without a key", "what was written is lost"


def test_parameters_are_sent_and_kept(page: Any, stub: Stub) -> None:
    def set_up(**values: str) -> None:
        page.get_by_role("button", name="Settings", exact=True).click()
        for name, value in values.items():
            page.locator(f"#{name}").fill(value)
        page.get_by_role("dialog", name="Settings", exact=True).get_by_role(
            "button", name="Close"
        ).click()
        assert focused(page) == "open-settings"

    send(page, "as it is")
    answer(page)
    assert {k: stub.asked[0][k] for k in ("max_tokens", "temperature", "top_p")} == {
        "max_tokens": 300,
        "temperature": 0,
        "top_p": 1,
    }
    assert "seed" not in stub.asked[0]
    set_up(max_tokens="50", temperature="0.7", top_p="0.9", seed="5", system="Be brief.")
    set_up(max_tokens="-3")  # refused by the field, so the last good number holds
    visit(page, stub.url)
    send(page, "with settings")
    answer(page)
    asked = stub.asked[1]
    assert [asked[k] for k in ("max_tokens", "temperature", "top_p", "seed")] == [50, 0.7, 0.9, 5]
    assert asked["messages"][0] == {"role": "system", "content": "Be brief."}
    page.get_by_role("button", name="Settings", exact=True).click()
    page.get_by_role("button", name="Defaults").click()
    page.keyboard.press("Escape")
    send(page, "as at first")
    answer(page, 2)
    assert stub.asked[2]["temperature"] == 0


def test_the_page_says_what_models_are_good_for(page: Any) -> None:
    note = page.locator("#model-note")
    assert note.inner_text() == "mini: drawn scenes only", "a file that nobody can open here"
    page.get_by_label("Compare with").select_option("reader")
    assert "reader reads text only: it will not see pictures." in note.inner_text()
    assert page.locator("#model option").all_inner_texts()[1] == "other (loads when asked)"


def test_where_the_model_looked(page: Any, stub: Stub, tmp_path: Path) -> None:
    send(page, "no picture yet")
    assert answer(page).get_by_role("button", name="Where did it look?").count() == 0
    page.set_input_files("#files", photos(tmp_path, "cat.jpg"))
    page.get_by_alt_text("cat.jpg").wait_for()
    send(page, "what is it")
    answer(page, 2).get_by_role("button", name="Where did it look?").press("Enter")
    dialog = page.get_by_role("dialog", name="Where mini looked")
    dialog.get_by_alt_text("Picture 1 with the places the model looked at made bright").wait_for()
    assert dialog.get_by_text("Mostly the middle.").is_visible()
    assert dialog.get_by_text("one dog <i>left</i>").is_visible()
    asked = stub.explained[0]
    assert asked["model"] == "mini"
    assert asked["messages"][-1] == {"role": "assistant", "content": said(page, 2)}
    page.keyboard.press("Escape")
    assert "Where did it look" in page.evaluate("document.activeElement.ariaLabel")
    send(page, "an error")
    answer(page, 3).get_by_role("button", name="Where did it look?").click()
    dialog.get_by_text("This model cannot say where it looked.").wait_for()
    page.keyboard.press("Escape")
    page.get_by_label("Model", exact=True).select_option("plain")
    page.get_by_role("button", name="New conversation").click()
    page.set_input_files("#files", photos(tmp_path, "cat.jpg"))
    page.get_by_alt_text("cat.jpg").wait_for()
    send(page, "what is it")
    assert answer(page).get_by_role("button", name="Where did it look?").count() == 0
