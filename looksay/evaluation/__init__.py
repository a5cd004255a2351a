"""Examples → answers → scores → report."""
