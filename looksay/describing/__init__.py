"""Photos → captions: prompts, rules, and the run that joins the catalogue with a backend."""
