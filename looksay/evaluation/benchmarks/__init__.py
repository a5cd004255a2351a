"""Benchmarks, one file each, found by name; `looksay.evaluation.benchmark` says what such a file holds."""
