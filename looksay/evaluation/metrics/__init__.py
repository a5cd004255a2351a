"""Metrics as pure functions: texts in, numbers out."""
