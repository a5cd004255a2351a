"""Work shared out among threads, and how many of them torch takes in each."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

pytest.importorskip("torch", reason="the extra local is not installed")

import torch

from looksay.models import sharing

pytestmark = pytest.mark.local


def test_a_fault_in_a_piece_is_raised_when_all_have_ended() -> None:
    done: list[int] = []

    def work(piece: int) -> None:
        assert torch.is_inference_mode_enabled()
        if piece == 3:
            raise ValueError("three")
        done.append(piece)

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with torch.inference_mode():
            with pytest.raises(ValueError, match="three"):
                sharing.share(work, range(8))
            assert torch.get_num_threads() == 2
            done.clear()
            sharing.share(done.append, range(8))
    finally:
        torch.set_num_threads(before)
    assert sorted(done) == list(range(8))


def test_a_thread_that_is_born_while_another_computes_alone_takes_as_many_as_others() -> None:
    counts: list[int] = []

    def born() -> None:
        with sharing.alone(False):
            pass
        sharing.share(lambda _: None, [0])
        counts.append(torch.get_num_threads())

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with sharing.alone(True):
            assert torch.get_num_threads() == 1
            thread = threading.Thread(target=born)
            thread.start()
            thread.join()
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
        sharing.count()
    assert counts == [3]


def test_each_thread_has_helpers_of_its_own_that_compute_alone() -> None:
    found: dict[int, set[int]] = {}
    together = threading.Barrier(4)  # two threads and a helper of each

    def begin() -> None:
        helpers: set[int] = set()

        def work(_: int) -> None:
            together.wait(60)
            if threading.get_ident() != own:
                helpers.add(threading.get_ident())
                assert torch.get_num_threads() == 1

        own = threading.get_ident()
        with sharing.limited(2):
            sharing.share(work, range(2))
        found[own] = helpers

    threads = [threading.Thread(target=begin) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(helpers) for helpers in found.values()] == [1, 1]
    assert len(set().union(*found.values())) == 2


def test_a_limit_ends_with_what_it_was_for_and_holds_in_what_is_within() -> None:
    before = torch.get_num_threads()
    with sharing.limited(3):
        assert (torch.get_num_threads(), sharing.count()) == (3, 3)
        with sharing.limited(2), sharing.alone(True):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 3
    assert (torch.get_num_threads(), sharing.count()) == (before, before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork there")
def test_a_forked_process_has_threads_of_its_own() -> None:
    code = (
        "import os, torch; torch.set_num_threads(2)\n"
        "from looksay.models import sharing\n"
        "sharing.share(lambda _: None, range(4))\n"
        "pid = os.fork()\n"
        "sharing.share(lambda _: None, range(4))\n"
        "os._exit(0) if pid == 0 else os.waitpid(pid, 0)\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=120)
