"""How fast it is: wall-clock of every formulation, and what the machine could do."""
