"""A pytest plugin: put torchvision within reach for one process, for types that have no other way.

The registry's torchvision is built for a CUDA torch: beside the CPU torch it imports only while its
registrations of fake kernels, which these tests never use, do nothing. It lies in a folder of its own
(`make test` puts it there), so that all other tests run without it, as most machines do.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch.library

FOLDER = Path(sys.prefix) / "torchvision"
_register_fake = torch.library.register_fake


def _only_ours(op: Any, *rest: Any, **named: Any) -> Any:
    if isinstance(op, str) and op.startswith("torchvision::"):
        return lambda function: function
    return _register_fake(op, *rest, **named)


def pytest_load_initial_conftests() -> None:
    # Only as a plugin (-p torchvision_here): looking for doctests imports this module everywhere, too.
    torch.library.register_fake = _only_ours
    sys.path.insert(0, str(FOLDER))
