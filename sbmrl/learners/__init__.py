"""How a player improves: pure `(init, update)` pairs."""
