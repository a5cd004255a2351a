"""Experts measure one thing each (text, faces, colours …) and say how sure they are. No torch.

An expert's module imports its libraries when it is imported, and is itself imported only when used.
"""
