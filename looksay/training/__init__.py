"""Examples → batch → losses → step: one loop, stages, recipes."""
