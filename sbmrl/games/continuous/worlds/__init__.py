"""The worlds themselves: a file of equations for each."""
