"""How much memory answering took, as far as this process can tell."""

from __future__ import annotations

import sys


class Peak:
    """The most memory seen at the times of looking, in MB; None where nothing was looked at.

    `process`: what this process held in main memory (of a model behind a server, the server's is not known
    here). `device`: what torch had allocated on an accelerator since the start.
    """

    def __init__(self) -> None:
        self.process: float | None = None
        self.device: float | None = None
        try:
            import psutil
        except ImportError:  # the light core has none; the report then says "not measured"
            self._of = None
        else:
            self._of = psutil.Process()

    def look(self) -> None:
        if self._of is not None:
            self.process = max(self.process or 0.0, self._of.memory_info().rss / 2**20)
        torch = sys.modules.get("torch")  # never imported for this
        if torch is not None and torch.cuda.is_available():
            self.device = torch.cuda.max_memory_allocated() / 2**20
