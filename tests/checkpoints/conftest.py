"""The builders are imported by the tests that use them; they need torch, which collecting must not."""

collect_ignore_glob = ["*.py"]
