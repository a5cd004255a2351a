"""One family a file: the paper's model, its presets, and the key map from its released weights."""
