"""Models: vision tower × connector × language model, and what they share. Families are plug-ins."""
