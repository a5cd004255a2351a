"""The command line as a user has it: a process of its own, its output and its exit code."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "site"


def looksay(
    *words: str | Path, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "looksay", *map(str, words)],
        cwd=cwd,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        env=os.environ | environment,
    )


def photo(path: Path, number: int) -> None:
    """A picture unlike the others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", (64, 48))
    image.putdata(
        [
            ((x * number) % 256, (y * 7 + number) % 256, (x * y + number) % 256)
            for y in range(48)
            for x in range(64)
        ]
    )
    image.save(path)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    copy = tmp_path / "site"
    shutil.copytree(EXAMPLES, copy)
    return copy


def test_the_whole_job(site: Path) -> None:
    original = {p: p.read_bytes() for p in site.rglob("*") if p.is_file()}
    scanned = looksay("scan", site)
    assert scanned.returncode == 0, scanned.stderr
    assert "Photos: 8" in scanned.stdout
    assert "Next: looksay describe" in scanned.stdout
    described = looksay("describe", site, "--model", "echo")
    assert described.returncode == 0, described.stderr
    assert "described 11" in described.stdout
    assert looksay("describe", site, "--model", "echo").stdout.count("described 0") == 1

    before = looksay("apply", site)
    assert "Drafts left out (11 of echo)" in before.stdout
    assert {p: p.read_bytes() for p in original} == original

    nothing = looksay("decide", site, "--all", "--accept").stdout
    assert "Decided on nothing: 11 texts of echo wait" in nothing
    named = looksay("decide", site, "--all", "--accept", "-m", "echo")
    assert "Decided on 11 places" in named.stdout
    dry = looksay("apply", "--dry-run", site)
    assert "+![Echo " in dry.stdout
    assert "Nothing was written" in dry.stdout
    assert {p: p.read_bytes() for p in original} == original
    assert "Wrote 3 files, 11 texts" in looksay("apply", site).stdout
    assert "Echo " in (site / "index.md").read_text("utf-8")
    again = looksay("scan", site, "--json")
    assert json.loads(again.stdout)["changed"] == 0
    assert "Put back 3 files" in looksay("undo", site).stdout
    assert {p: p.read_bytes() for p in original} == original


def test_json_is_for_programs(site: Path) -> None:
    lines = looksay("describe", site, "-m", "echo", "--json").stdout.splitlines()
    events = [json.loads(line) for line in lines]
    assert [e["model"] for e in events[:-1]] == ["echo"] * 11
    assert events[-1]["summary"]["described"] == 11
    status = json.loads(looksay("status", site, "--json").stdout)
    assert {m["language"]: m["generations"] for m in status["models"]} == {"en": 9, "ko": 2}
    history = json.loads(looksay("show", site / "images" / "fish-sign.jpg", "--json").stdout)
    assert history[0]["event"] == "generation"
    assert json.loads(looksay("estimate", site, "-m", "echo", "--json").stdout)[0]["requests"] == 0


def test_describe_ends_with_what_to_type_next(site: Path, tmp_path: Path) -> None:
    photo(tmp_path / "my scene.png", 3)
    one = looksay("describe", "my scene.png", "-m", "echo", cwd=tmp_path)
    summary, words, following = one.stdout.splitlines()
    assert summary.startswith("echo: described 1 in ")
    assert words.startswith("echo: Echo ")
    assert following == 'Next: looksay decide "my scene.png" --accept  or  --edit "BETTER WORDS"'
    made, loading = one.stderr.splitlines()
    assert made.startswith("Made a new catalogue: looksay.db.")
    assert loading == "Loading echo"
    decided = looksay("decide", "my scene.png", "--accept", cwd=tmp_path)
    assert "Decided on 1 place." in decided.stdout, decided.stderr

    scanned = looksay("scan", site, "--db", tmp_path / "site.db")
    assert scanned.returncode == 0, scanned.stderr
    for _ in range(2):  # also where nothing was left to ask
        several = looksay("describe", site, "-m", "echo", "--db", tmp_path / "site.db")
        assert f"Next: looksay review {site}" in several.stdout
        assert "echo: Echo " not in several.stdout
        assert several.stderr == "Loading echo\n"
    quiet = looksay(
        "describe", site, "-m", "echo", "--again", "--db", tmp_path / "site.db", "--json"
    )
    assert len([json.loads(line) for line in quiet.stdout.splitlines()]) == 12
    assert quiet.stderr == ""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["scan", "nowhere"], "is not there"),
        (["status", "."], "looksay scan"),
        (["describe", ".", "-m", "ecko"], "Did you mean 'echo'?"),
        (["describe", ".", "-m", "openai:gpt-4o"], "--allow-remote"),
        (["describe", ".", "-m", "openai:gpt-4o", "--allow-remote"], "OPENAI_API_KEY"),
        (["describe", ".", "-m", "http://192.0.2.1/v1#m"], "--allow-remote"),
        (["decide"], "--accept"),
        (["export", "x.pdf"], "looksay scan"),
        (["undo", "."], "looksay scan"),
    ],
)
def test_mistakes_get_an_answer_and_no_traceback(
    tmp_path: Path, words: list[str], expected: str
) -> None:
    done = looksay(*words, cwd=tmp_path, OPENAI_API_KEY="")
    assert done.returncode == 2
    assert expected in " ".join((done.stdout + done.stderr).split())
    assert "Traceback" not in done.stderr


def test_one_bad_photo_never_stops_the_run(tmp_path: Path) -> None:
    photo(tmp_path / "good.png", 3)
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "empty.png").write_bytes(b"")
    scanned = looksay("scan", tmp_path)
    assert scanned.returncode == 1
    assert "Unreadable: 2" in scanned.stdout
    assert "empty (0 bytes)" in scanned.stderr
    described = looksay("describe", tmp_path, "-m", "echo")
    assert (described.returncode, "described 1" in described.stdout) == (1, True)
    assert "Unreadable: 2" in described.stdout, "who describes at once never sees the scan's words"
    assert "empty (0 bytes)" in described.stderr
    first, *_, last = looksay("describe", tmp_path, "-m", "echo", "--json").stdout.splitlines()
    assert set(json.loads(first)["unreadable"]) == {"bad.jpg", "empty.png"}
    assert json.loads(last)["summary"]["present"] == 1


@pytest.mark.skipif(
    sys.platform == "win32", reason="Ctrl-C is sent to a process by another way on Windows"
)
def test_ctrl_c_finishes_what_is_in_flight_and_the_same_command_goes_on(tmp_path: Path) -> None:
    for number in range(40):
        photo(tmp_path / f"{number}.png", number + 2)
    run = subprocess.Popen(
        [sys.executable, "-m", "looksay", "describe", str(tmp_path), "-m", "echo:0.05", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    assert run.stdout is not None
    for _ in range(3):
        assert run.stdout.readline()
    run.send_signal(signal.SIGINT)
    rest, errors = run.communicate(timeout=240)
    assert run.returncode == 130, errors
    assert "type the same again to go on" in errors
    done = 3 + len(rest.splitlines()) - 1
    assert 3 <= done < 40
    went_on = looksay("describe", tmp_path, "-m", "echo:0.05", "--json")
    assert json.loads(went_on.stdout.splitlines()[-1])["summary"]["described"] == 40 - done


def test_estimate_upgrade_and_languages(site: Path) -> None:
    estimated = looksay("estimate", site, "-m", "echo")
    assert "11 requests" in estimated.stdout
    looksay("describe", site, "-m", "echo")
    upgraded = looksay("upgrade", site, "--to", "echo:0.001")
    assert "described 11" in upgraded.stdout
    korean = looksay("describe", site, "-m", "echo", "-l", "ko").stdout
    assert "described 9" in korean  # the Korean page's two were described in its own language
    assert "2 were there already" in korean
    status = looksay("status", site).stdout
    assert "echo (ko): 11 texts" in status
    assert "Described: 7 of 8 photos" in status


def test_models_of_one_name_are_told_apart(site: Path) -> None:
    looksay("describe", site, "-m", "echo")
    assert "echo (en): 9 texts" in looksay("status", site).stdout
    others = {
        "hub:x": ("0123456789ab-bfloat16", "0123456789ab-int8"),
        "local:y": ("abcdef0123-bf", "1234567890-bf"),
    }
    with closing(sqlite3.connect(site / "looksay.db")) as catalogue, catalogue:
        for name, fingerprints in others.items():
            for fingerprint in fingerprints:
                (other,) = catalogue.execute(
                    "INSERT INTO model (name, fingerprint, draft) VALUES (?, ?, 0) RETURNING id",
                    (name, fingerprint),
                ).fetchone()
                catalogue.execute("INSERT INTO tally VALUES (?, 'en', 2, 0, 80000)", (other,))
        (echo,) = catalogue.execute(
            "INSERT INTO model (name, fingerprint, draft) VALUES ('echo', 'other', 0) RETURNING id"
        ).fetchone()
        catalogue.execute("INSERT INTO tally VALUES (?, 'en', 2, 0, 80000)", (echo,))
    status = looksay("status", site).stdout
    for kind in (
        "hub:x (en, bfloat16)",
        "hub:x (en, int8)",
        "local:y (en, abcdef01)",
        "local:y (en, 12345678)",
    ):
        assert f"{kind}: 2 texts, 0.00 USD, 40.0 s each" in status
    assert "echo (en, other): 2 texts" in status
    assert re.search(r"echo \(en, [^)]+\): 9 texts", status)


def test_help_names_every_verb() -> None:
    shown = looksay("--help").stdout
    for verb in (
        "scan",
        "describe",
        "estimate",
        "upgrade",
        "status",
        "show",
        "decide",
        "import",
        "apply",
        "undo",
        "export",
        "models",
    ):
        assert f" {verb} " in shown


def test_a_catalogue_elsewhere_knows_where_its_library_is(site: Path, tmp_path: Path) -> None:
    """`--db` alone is enough: from any folder, nothing but the library is looked at or written."""
    elsewhere, db = tmp_path / "elsewhere", tmp_path / "catalogue.db"
    elsewhere.mkdir()
    photo(elsewhere / "stranger.png", 4)
    assert looksay("scan", site, "--db", db).returncode == 0
    assert not (site / "looksay.db").exists()
    for words in (
        ["describe", "-m", "echo"],
        ["status"],
        ["decide", "--all", "--accept", "-m", "echo"],
    ):
        done = looksay(*words, "--db", db, cwd=elsewhere)
        assert done.returncode == 0, done.stderr
    assert (
        json.loads(looksay("status", "--json", "--db", db, cwd=elsewhere).stdout)["scan"]["files"]
        == 8
    )
    assert "Wrote 3 files, 11 texts" in looksay("apply", "--db", db, cwd=elsewhere).stdout
    assert "Put back 3 files" in looksay("undo", "--db", db, cwd=elsewhere).stdout
    assert sorted(p.name for p in elsewhere.iterdir()) == ["stranger.png"]
