"""From what a user says to pure functions."""
