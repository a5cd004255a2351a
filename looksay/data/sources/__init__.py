"""One format a file: each reads it (`Source`), and writes it where others should be able to read ours."""
