"""Every command in README and docs runs, in its order, as a reader would type it.

Servers that a reader would have (Ollama, a server on port 8000, OpenAI) are scripted ones on loopback;
the hub's cache holds tiny checkpoints under the names that the text uses.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import forking
import pytest
from conftest import need
from faulty import Faulty, Received, Reply, openai_models, openai_text

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
SAID = "Two boats lie at a quay."


def blocks(page: Path, kind: str) -> list[str]:
    return [body for language, body in FENCE.findall(page.read_text("utf-8")) if language == kind]


def commands(page: Path) -> list[str]:
    return [line for body in blocks(page, "sh") for line in body.splitlines() if line.strip()]


@pytest.fixture
def reader(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """(folder, environment) of somebody who reads along: `site`, a photo, and servers that answer.

    The hub's cache is empty, and in the same place for every page, so that one process forks for all (`forking`).
    """
    pytest.importorskip("rapidocr", reason="the extra facts is not installed")
    folder, hub = tmp_path / "reader", tmp_path_factory.getbasetemp() / "hub"
    shutil.rmtree(hub, ignore_errors=True)
    shutil.copytree(ROOT / "examples" / "site", folder / "site")
    shutil.copytree(ROOT / "examples" / "site", folder / "photos")
    shutil.copytree(ROOT / "examples" / "score", folder / "score")
    return (
        folder,
        os.environ
        | {
            "OPENAI_API_KEY": "sk-test",
            "HF_HUB_CACHE": str(hub),
            "HF_HUB_OFFLINE": "1",
            "PYTHONUTF8": "1",
        },
    )


def answer(received: Received) -> str:
    asked = str(received.body)
    if "Answer FIRST, SECOND or SAME" in asked:  # a judge of docs/comparing.md
        return "SAME"
    if "You grade alternative text" in asked:
        seen = {"named": 2, "objects": 3, "mood": True, "repetition": False, "grammar": False}
        return json.dumps(seen | {"hallucinations": 0})
    return "부두에 배 두 척이 있다." if re.search("Write Korean|in Korean:", asked) else SAID


def stands(line: str) -> bool:
    """It is a server, which stands while the rest of its page is typed."""
    _, *words = shlex.split(line)
    return (
        words[:1] == ["review"]
        or "--grade" in words
        or (words[:1] == ["serve"] and "--plan" not in words)
    )


@contextmanager
def ports_of_its_own(typed: list[str], shared: Path) -> Iterator[None]:
    """Pages name ports, so those with servers take turns, whichever process of pytest tests them."""
    if not any(":8000/" in line or stands(line) for line in typed):
        yield
        return
    taken = shared / "ports-of-the-pages"
    for _ in range(2400):
        with suppress(FileExistsError):
            taken.touch(exist_ok=False)
            break
        time.sleep(0.5)
    else:
        pytest.fail(f"{taken} stands for 20 minutes; the process that made it must have died")
    try:
        yield
    finally:
        taken.unlink()


@contextmanager
def servers(typed: list[str]) -> Iterator[dict[str, str]]:
    """The servers that the commands talk to; their addresses as environment variables."""
    about = {
        "name": "llama3.2-vision:latest",
        "model": "llama3.2-vision:latest",
        "size": 1,
        "digest": "d1",
    }
    sees = {"capabilities": ["completion", "vision"]}

    def chat(received: Received) -> Reply:
        return Reply(
            {
                "message": {"role": "assistant", "content": answer(received)},
                "done": True,
                "done_reason": "stop",
            }
        )

    def openai(received: Received) -> Reply:
        from data.scripted import answer as scripted  # needs numpy, as all this does

        return openai_text(scripted(received.body)[0] or answer(received))

    with ExitStack() as running:
        ollama = running.enter_context(
            Faulty(chat, pages={"/api/tags": Reply({"models": [about | sees]})})
        )
        cloud = running.enter_context(Faulty(openai, pages=openai_models("gpt-4o")))
        own = any(line.startswith("looksay serve") for line in typed)
        if any(":8000/" in line for line in typed) and not own:
            try:
                running.enter_context(Faulty(openai, pages=openai_models("my-model"), port=8000))
            except OSError:
                need(None, "port 8000, which pages name, is taken on this machine")
        yield {"OLLAMA_HOST": f"127.0.0.1:{ollama.port}", "TEST_OPENAI_URL": f"{cloud.url}/v1"}


@contextmanager
def served(command: list[str], where: Path, environment: dict[str, str]) -> Iterator[None]:
    """A server of looksay that stands while the rest of the page is typed; it says where, with a path or a space."""
    process = subprocess.Popen(
        command, cwd=where, env=environment, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )
    assert process.stderr is not None
    try:
        said = ""
        while not re.search(r"/v1|http://127\.0\.0\.1:\d+/ ", said):
            line = process.stderr.readline()
            said += line
            if not line:
                pytest.fail(f"{command}\n{said}")
        rest = threading.Thread(target=process.stderr.read, daemon=True)
        rest.start()
        yield
        process.terminate()
        rest.join(60)
    finally:
        process.terminate()
        process.wait(60)
        process.stderr.close()


RUN = (
    "import os, sys, looksay.backends.openai as o; o.OPENAI_URL = os.environ['TEST_OPENAI_URL']\n"
    "sys.argv[0] = 'looksay'; from looksay.cli import main; main()"
)
SCRIPT = (
    "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
)


def cache_checkpoints(cache: Path) -> None:
    from backends.test_encoders import clip
    from checkpoints import blip

    for name, build in (
        ("Salesforce--blip-image-captioning-large", blip.build),
        ("openai--clip-vit-base-patch32", clip),
    ):
        home = cache / f"models--{name}"
        commit = "0123456789abcdef0123456789abcdef01234567"
        (home / "refs").mkdir(parents=True)
        (home / "refs" / "main").write_text(commit)
        (home / "snapshots" / commit).mkdir(parents=True)
        build(home / "snapshots" / commit)


@pytest.mark.slow
@pytest.mark.local
@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_the_commands_run(
    page: Path, reader: tuple[Path, dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, environment = reader
    typed = commands(page)
    if any("hub:" in line for line in typed):
        need(importlib.util.find_spec("torch"), "the extra local is not installed")
        cache_checkpoints(Path(environment["HF_HUB_CACHE"]))
    if page.name == "experts.md":
        from experts.page import prepare

        need(importlib.util.find_spec("scipy"), "the extra experts is not installed")
        prepare(folder, Path(environment["HF_HUB_CACHE"]))
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    with (
        ports_of_its_own(typed, shared),
        servers(typed) as addresses,
        ExitStack() as standing,
    ):
        environment |= addresses
        if page.name != "README.md":
            forking.run(["scan", "site"], code=RUN, cwd=folder, env=environment).check_returncode()
        for line in typed:
            program, *words = shlex.split(line)
            if program in ("make", "pip", "pytest", "python3", "."):
                continue  # test_make.py runs these
            if stands(line):
                command = [sys.executable, "-c", RUN, *words]
                standing.enter_context(served(command, folder, environment))
                continue
            code, where = {"looksay": (RUN, folder), "python": (SCRIPT, ROOT)}[program]
            done = forking.run(words, code=code, cwd=where, env=environment)
            assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


def test_what_pip_is_to_install_is_there() -> None:
    """Of a checkout: looksay is on no index. Every extra that a page names exists."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    pages = [*PAGES, *sorted((ROOT / "examples").glob("*.[mi][dp]*"))]
    named = 0
    for page in pages:
        text = page.read_text("utf-8").replace('\\"', '"')
        assert not re.findall(r'pip install[^`\n]*[ "]looksay', text), page.name
        for extras in re.findall(r'pip install[^`\n]* "\.\[([^\]]+)\]"', text):
            named += 1
            assert set(extras.split(",")) <= set(project["optional-dependencies"]), page.name
    assert named >= 10


def test_the_python_of_the_readme_runs(reader: tuple[Path, dict[str, str]]) -> None:
    folder, environment = reader
    (code,) = blocks(ROOT / "README.md", "python")
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "images/fish-sign.jpg on harbour.html draft" in done.stdout


def test_the_shown_output_is_the_real_one(reader: tuple[Path, dict[str, str]]) -> None:
    folder, environment = reader
    shown = blocks(ROOT / "README.md", "text")[0]
    done = subprocess.run(
        [sys.executable, "-m", "looksay", "scan", "site"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    real = done.stdout.replace(str(folder / "site"), "/home/you/site")
    assert real.strip() == shown.strip()


def test_settings_in_the_docs_are_those_that_there_are(tmp_path: Path) -> None:
    from dataclasses import fields

    from looksay import settings

    examples = blocks(ROOT / "docs" / "library.md", "toml")
    for number, example in enumerate(examples):
        place = tmp_path / str(number)
        place.mkdir()
        (place / settings.FILE_NAME).write_text(example, "utf-8")
        settings.load(place)
    named = set(re.findall(r"^(\w+) = ", examples[-1], re.M)) | {"templates"}
    assert named == {f.name for f in fields(settings.Settings)}


def cards() -> dict[str, str]:
    """The cards of docs/models.md by family."""
    page = (ROOT / "docs" / "models.md").read_text("utf-8")
    found: list[Any] = [
        card.split("\n", 1) for card in page.split("\n## Families\n")[1].split("\n### ")[1:]
    ]
    return dict(found)


def tables(card: str, first: str) -> list[list[list[str]]]:
    """Cells of the rows of each table whose first column is called `first`."""
    found = re.findall(rf"^\| {first} \|.*\n\|[-|]+\n((?:\|.*\n)+)", card, re.M)
    return [[row.strip("| ").split(" | ") for row in table.splitlines()] for table in found]


def recipes(family: str) -> list[str]:
    return ["llava", "llava15"] if family == "llava" else [family]


@pytest.mark.slow
@pytest.mark.local
@pytest.mark.parametrize("family", sorted(cards()))
def test_the_stages_in_cards_of_models_are_those_of_the_recipes(family: str) -> None:
    pytest.importorskip("torch", reason="the extra local is not installed")
    import inspect

    from looksay import plugins
    from looksay.data.dataset import Part
    from looksay.data.sources import scenes as talks

    data = Part(talks.read(0), 0, 1_000_000)
    on_scenes, *published = tables(cards()[family], "stage")
    assert len(published) == len(recipes(family))
    for name, table in zip(recipes(family), published, strict=True):
        recipe = plugins.load("looksay.training.recipes", name, "recipe")
        asked = inspect.signature(recipe.paper).parameters
        sources = [k for k, p in asked.items() if p.kind is p.POSITIONAL_OR_KEYWORD and k[0] != "_"]
        lists = (
            (on_scenes, recipe.scenes("tiny")[1]),
            (table, recipe.paper(*[data] * len(sources))),
        )
        devices = asked["devices"].default
        for rows, stages in lists:
            assert {row[0] for row in rows} == {stage.name for stage in stages}
            told = {row[0]: row for row in rows}
            for stage in stages:
                _, trains, losses, *batch, length = told[stage.name]
                rates = re.findall(r"`(\w+)` ([\d.e-]+)", trains)
                assert {part: float(rate) for part, rate in rates} == dict(stage.trains)
                assert tuple(re.findall(r"`(\w+)`", losses)) == tuple(stage.objectives)
                number, _, unit = length.replace(",", "").partition(" ")
                steps = int(number)
                if batch:
                    size = int(batch[0].replace(",", ""))
                    assert stage.examples_per_batch * stage.accumulate * devices == size
                    if unit.startswith("epoch"):
                        steps = 1_000_000 * steps // size
                assert stage.steps == steps


@pytest.mark.slow
@pytest.mark.local
@pytest.mark.parametrize("family", sorted(cards()))
def test_the_sizes_in_cards_of_models_are_counted(family: str) -> None:
    pytest.importorskip("torch", reason="the extra local is not installed")
    from looksay import plugins

    told: dict[tuple[str, str], str] = {}
    for cells in tables(cards()[family], "size")[0]:
        *of, size = re.findall(r"`([^`]+)`", cells[0])
        told[of[0] if of else family, size] = cells[-1]
    for name in recipes(family):
        recipe = plugins.load("looksay.training.recipes", name, "recipe")
        assert {size for model, size in told if model == name} == set(recipe.PUBLISHED)
        for size in recipe.PUBLISHED:
            parts = recipe.outline(size).parts.values()
            count = sum(weight.numel() for part in parts for weight in part.parameters())
            wanted = f"{count / 1e9:.2f} B" if count >= 1e9 else f"{count / 1e6:.1f} M"
            assert told[name, size] == wanted, size


@pytest.mark.local
def test_every_family_has_a_card_on_the_page_of_models_and_its_python_fits() -> None:
    """Imports are run; what is called exists and takes such arguments (the weights are not there)."""
    pytest.importorskip("torch", reason="the extra local is not installed")
    import ast
    import inspect

    from looksay import plugins

    assert set(cards()) == set(plugins.names("looksay.models.families"))
    for family, card in cards().items():
        assert card.count("```mermaid\n") == 1, family
        for language, code in FENCE.findall(card):
            if language != "python":
                continue
            names: dict[str, Any] = {}
            tree = ast.parse(code)
            imports: list[ast.stmt] = [
                n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)
            ]
            exec(compile(ast.Module(imports, []), family, "exec"), names)
            for call in ast.walk(tree):
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
                    function = names[call.func.id]
                    given = {k.arg: None for k in call.keywords if k.arg}
                    inspect.signature(function).bind(*call.args, **given)


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(
            r"\]\(([^)#:]+)\)",
            re.sub(r"```.*?```|`[^`]*`", "", page.read_text("utf-8"), flags=re.S),
        ):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.local
def test_measured_tables_in_cards_are_those_of_the_committed_results() -> None:
    pytest.importorskip("torch", reason="the extra local is not installed")
    script = runpy.run_path(str(ROOT / "benchmarks" / "families.py"))
    results = sorted((ROOT / "docs" / "families").glob("*.json"))
    assert results
    for file in results:
        found = json.loads(file.read_text("utf-8"))
        assert found["share"] == 1
        card = cards()[script["TRIALS"][file.stem].family]
        assert script["table"](found) in card
        assert found["command"] in card
