"""One backend in two processes of Ray: answers as in one process, kill -9 of a replica and of the command, Ctrl-C, loads that fail.

One cluster for all of it but the last tests; each connects to it (Ray takes seconds to start).
"""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from conftest import need
from pictures import jpeg, put

import looksay
from looksay.backends import _ray, load, spread
from looksay.backends._spread_ends import Fault, Reader, Replica
from looksay.backends.base import LoadOptions
from looksay.errors import BackendError, LooksayError, UnknownName
from looksay.images import load_rgb
from looksay.types import Conversation, Image, Options

WAIT_S = 600.0
PHOTOS = 60
ODD = '''
"""A backend that writes a line for each request: what the requests of killed processes were, nobody else can say."""
import os, signal, time
from looksay.backends.base import Profile, as_they_finish
from looksay.types import Completion
END = b"ends the process"

class Odd:
    name, fingerprint, profile = "odd", "odd-1", Profile(concurrency=2)
    def complete(self, conversations, options):
        def one(conversation):
            data = conversation.images[0].source
            with open(os.environ["ODD_NOTES"], "ab") as notes:
                notes.write(f"{os.getpid()} {len(data)}\\n".encode())
            if data.endswith(END):
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(0.05)
            return f"A picture of {len(data)} bytes on a wall."
        for index, text in as_they_finish(one, conversations, 2):
            yield Completion(index, text)
    def stream(self, conversation, options):
        yield ""

def load(model, options):
    if model == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    return Odd()
'''


def until(true: Callable[[], Any]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def plugged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of processes that know `odd`; its notes stand in ODD_NOTES."""
    folder = tmp_path_factory.mktemp("plug")
    (folder / "odd.py").write_text(ODD)
    about = folder / "odd-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[looksay.backends]\nodd = odd\n")
    short = tmp_path_factory.getbasetemp() / "r"
    short.mkdir(exist_ok=True)
    return {
        "PYTHONPATH": str(folder),
        "ODD_NOTES": str(folder / "notes"),
        # The path of a socket has at most 107 bytes.
        "RAY_TMPDIR": str(short) if len(str(short)) < 40 else "/tmp",
    }


@pytest.fixture(scope="module")
def cluster(plugged: dict[str, str]) -> Iterator[dict[str, str]]:
    """A cluster with two cores, of another process; the environment of those who connect to it."""
    need(find_spec("ray"), "the extra ray is not installed")
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "ab" * 32}
    token["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # it is on loopback, and looked for there
    code = (
        "import sys; from looksay.backends import _ray; ray = _ray.started('a test', (2, 2))\n"
        "print(ray.get_runtime_context().gcs_address, flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | plugged | token,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        assert address
        yield plugged | token | {"RAY_ADDRESS": address}
    finally:
        process.stdin.close()
        process.wait(WAIT_S)
        process.stdout.close()


@pytest.fixture
def connected(cluster: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    Path(cluster["ODD_NOTES"]).unlink(missing_ok=True)
    for name, value in cluster.items():
        if name != "PYTHONPATH":
            monkeypatch.setenv(name, value)


def photos(folder: Path, number: int = PHOTOS) -> Path:
    """Photos of lengths that differ, which is how `odd` tells them apart."""
    for n in range(number):
        data = jpeg(n, (40, 30))
        put(folder / f"{n:03d}.jpg", data + b" " * (2000 + n - len(data)))
    return folder


def command(folder: Path, model: str, env: dict[str, str]) -> subprocess.Popen[str]:
    words = ["describe", str(folder), "--model", model, "--ray", "--replicas", "2"]
    return subprocess.Popen(
        [sys.executable, "-m", "looksay", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"} | env,
        start_new_session=True,  # Ctrl-C is sent to all of a group
    )


def generations(folder: Path) -> list[int]:
    """How many each described photo has."""
    with looksay.Library(folder) as library:
        rows = library.catalog.rows("SELECT count(*) FROM generation GROUP BY photo_id")
        return [row[0] for row in rows]


def requests(env: dict[str, str]) -> Counter[str]:
    """How often each photo was asked about."""
    return Counter(line.split()[1] for line in Path(env["ODD_NOTES"]).read_text().splitlines())


# -- without Ray


def test_a_reader_puts_the_bytes_in_the_place_of_the_path(tmp_path: Path) -> None:
    small, large = put(tmp_path / "s.jpg", jpeg(1, (40, 30))), tmp_path / "l.bmp"
    load_rgb(small).resize((400, 300)).save(large)
    gone = tmp_path / "gone.jpg"
    talk = Conversation.ask(Image(small), "and", Image(large), Image(gone), system="Look.")
    found = Reader().read(talk, None)
    assert [one.source for one in found.images] == [small.read_bytes(), large.read_bytes(), gone]
    assert [m.text for m in found.messages] == [m.text for m in talk.messages]
    shrunk = Reader().read(talk, 100)
    kept, fewer, _ = (one.source for one in shrunk.images)
    assert kept == small.read_bytes()  # 40 × 30 px of RGB are more
    assert fewer.tobytes() == load_rgb(large, max_side_px=100).tobytes()
    assert load_rgb(fewer, max_side_px=100) is fewer


def test_a_replica_answers_all_who_ask_at_once_and_each_with_its_options() -> None:
    async def ask() -> tuple[Any, list[Any]]:
        replica = Replica("echo:0.001", LoadOptions())
        about = await replica.load()
        talks = [Conversation.ask(f"{n}") for n in range(12)]
        asked = [
            replica.answer(talk, Options(max_tokens=1 + n // 3)) for n, talk in enumerate(talks)
        ]
        return about, await asyncio.gather(*asked)

    about, found = asyncio.run(ask())
    assert (about.name, about.fingerprint, about.pid) == ("echo:0.001", "echo-1", os.getpid())
    alone = load("echo").complete([Conversation.ask(f"{n}") for n in range(12)], Options())
    assert [one.text for one in found] == [one.text for one in alone]


def test_a_replica_that_cannot_load_says_why() -> None:
    found = asyncio.run(Replica("nobody", LoadOptions()).load())
    assert isinstance(found, Fault)
    with pytest.raises(UnknownName) as alone:
        load("nobody")
    there = pickle.loads(pickle.dumps(found)).error
    assert (type(there), str(there)) == (UnknownName, str(alone.value))


def test_a_ray_that_was_imported_before_is_not_opened_to_the_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("RAY_ADDRESS", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "ray", object())
    with pytest.raises(BackendError, match="loopback"):
        _ray.started("a test", (2, 2))


@pytest.mark.parametrize("address", ["127.0.0.1:{}", "ray://127.0.0.1:{}", "127.0.0.1:{}0000"])
def test_a_cluster_that_is_not_there_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        there = address.format(taken.getsockname()[1])
        monkeypatch.setenv("RAY_ADDRESS", there)
        with pytest.raises(BackendError, match=rf"No Ray cluster answers at {there} \(RAY_ADDRESS"):
            _ray.started("a test", (2, 2))


# -- with Ray


with_ray = pytest.mark.usefixtures("connected")
pytestmark_ray = [
    pytest.mark.slow,
    pytest.mark.local,
    pytest.mark.skipif(os.name == "nt", reason="no SIGKILL there"),
]


def on_ray(test: Any) -> Any:
    """Marks of a test that needs the cluster."""
    for mark in (*pytestmark_ray, with_ray):
        test = mark(test)
    return test


class Drawn:
    """Conversations, and how many were drawn at once whose answers had not come."""

    def __init__(self, talks: list[Conversation]) -> None:
        self.talks, self.open, self.most = talks, 0, 0

    def __iter__(self) -> Iterator[Conversation]:
        for talk in self.talks:
            self.open += 1
            self.most = max(self.most, self.open)
            yield talk


@on_ray
def test_answers_are_those_of_one_process_and_count_as_such(tmp_path: Path) -> None:
    """`mini` in fp32, greedily; one photo is gone, and is told of as it is without Ray."""
    folder = photos(tmp_path / "photos", 24)
    talks = Drawn(
        [Conversation.ask(Image(one), "Describe the picture.") for one in sorted(folder.iterdir())]
    )
    talks.talks.insert(3, Conversation.ask(Image(tmp_path / "gone.jpg"), "Describe it."))
    options = Options(max_tokens=16)
    mini = load("mini")
    alone = {one.index: one for one in mini.complete(talks.talks, options)}
    with spread.spread("mini", LoadOptions(), (2, 2)) as backend:
        assert (backend.name, backend.fingerprint) == (mini.name, mini.fingerprint)
        found = {}
        for one in backend.complete(talks, options):
            talks.open -= 1
            found[one.index] = one
        assert talks.most <= spread.AHEAD * backend.profile.concurrency
        assert found.keys() == alone.keys()
        for index, one in found.items():
            assert (one.text, one.completion_tokens) == (
                alone[index].text,
                alone[index].completion_tokens,
            )
            assert (one.error, one.finish_reason) == (
                alone[index].error,
                alone[index].finish_reason,
            )
        assert found[3].error
        assert "".join(backend.stream(talks.talks[0], options)) == alone[0].text
        with looksay.Library(folder) as library:
            library.scan()
            assert library.describe(backend, limit=10).described == 10
            report = library.describe("mini")
            assert (report.described, report.present) == (14, 10)
            report = library.describe(backend)
            assert (report.described, report.present) == (0, 24)


@on_ray
def test_a_replica_killed_under_load_loses_nothing_and_repeats_what_it_had_in_hand(
    tmp_path: Path, cluster: dict[str, str]
) -> None:
    folder, said = photos(tmp_path / "photos"), list[str]()
    killed = list[int]()
    with (
        spread.spread("odd", LoadOptions(), (2, 2), tell=said.append) as backend,
        looksay.Library(folder) as library,
    ):
        library.scan()

        def kill(event: Any) -> None:
            if len(generations(folder)) >= 20 and not killed:
                killed.append(backend.pids[0])
                os.kill(killed[0], signal.SIGKILL)

        report = library.describe(backend, on_event=kill)
        assert killed
        assert (report.described, report.failures) == (PHOTOS, [])
        until(lambda: "died" in "".join(said))
        in_hand = backend.asked_again
    assert generations(folder) == [1] * PHOTOS
    asked = requests(cluster)
    assert len(asked) == PHOTOS
    assert 0 < in_hand <= spread.AHEAD * 2  # what it had in hand, and `odd` answers two at once
    assert sum(asked.values()) - PHOTOS <= 2 + in_hand
    answered = {
        int(line.split()[0]) for line in Path(cluster["ODD_NOTES"]).read_text().splitlines()
    }
    assert len(answered) >= 2


@on_ray
def test_a_photo_that_ends_each_process_is_given_up_and_the_others_are_described(
    tmp_path: Path,
) -> None:
    folder = photos(tmp_path / "photos", 12)
    bad = folder / "005.jpg"
    bad.write_bytes(bad.read_bytes() + b"ends the process")
    with (
        spread.spread("odd", LoadOptions(), (2, 2)) as backend,
        looksay.Library(folder) as library,
    ):
        library.scan()
        report = library.describe(backend)
        failed = dict(report.failures)
        assert "no answer came" in failed["005.jpg"]
        assert report.described + len(failed) == 12
        assert len(failed) <= spread.AHEAD * 2  # others that were in hand at each death


@on_ray
@pytest.mark.parametrize("name", ["nobody", "odd:dies"])
def test_a_model_that_cannot_be_loaded_is_one_error(name: str) -> None:
    """Here it says so itself; and where its process dies of it, that is not tried for ever."""
    why = "no backend 'nobody'" if name == "nobody" else "died 3 times"
    with (
        pytest.raises(LooksayError, match=why),
        spread.spread(name, LoadOptions(), (2, 2)),
    ):
        pass


@on_ray
def test_ctrl_c_stores_what_is_in_flight(tmp_path: Path, cluster: dict[str, str]) -> None:
    folder = photos(tmp_path / "photos")
    with command(folder, "odd", cluster) as process:
        until(lambda: (folder / "looksay.db").exists() and len(generations(folder)) >= 5)
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=WAIT_S)
    assert process.returncode == 130, said
    assert "Interrupted" in said
    assert "Traceback" not in said
    found = generations(folder)
    assert set(found) == {1}
    assert requests(cluster) == Counter(dict.fromkeys(requests(cluster), 1))
    assert len(found) == len(requests(cluster)) < PHOTOS


@on_ray
def test_a_command_that_is_killed_is_gone_on_with_where_it_was(
    tmp_path: Path, plugged: dict[str, str]
) -> None:
    """Ray is its own here, and ends with it."""
    import psutil

    notes = plugged | {"ODD_NOTES": str(tmp_path / "notes")}
    folder = photos(tmp_path / "photos")
    with command(folder, "odd", notes) as process:
        until(lambda: (folder / "looksay.db").exists() and len(generations(folder)) >= 20)
        every = psutil.Process(process.pid).children(recursive=True)
        process.kill()
    _, alive = psutil.wait_procs(every, WAIT_S)
    assert not alive
    found = generations(folder)
    assert found == [1] * len(found)
    assert 20 <= len(found) < PHOTOS
    with (
        looksay.Library(folder) as library,
        spread.spread("odd", LoadOptions(), (1, 2)) as backend,
    ):
        report = library.describe(backend)
    assert (report.described, report.present) == (PHOTOS - len(found), len(found))
    assert generations(folder) == [1] * PHOTOS
