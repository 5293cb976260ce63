"""The kinds of games, a package each."""
