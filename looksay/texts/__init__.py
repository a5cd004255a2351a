"""What rules tell of a text, without any model: its words, sentences and language, its faults, what it names."""
