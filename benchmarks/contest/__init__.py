"""Entrants measured in turns, each in a process of its own, and the record of what was measured."""
