"""Pages for people: what the server shows in a browser."""
