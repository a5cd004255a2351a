"""An OpenAI-compatible server in front of any backend."""
