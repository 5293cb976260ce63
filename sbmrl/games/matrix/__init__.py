"""Iterated matrix games: a row player and a column player, either of whom leads."""
