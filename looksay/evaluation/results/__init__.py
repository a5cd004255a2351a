"""Kinds of scores, one file each, found by name; `looksay.evaluation.scoring` says what such a file holds."""
