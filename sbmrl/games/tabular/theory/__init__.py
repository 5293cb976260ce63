"""What can be proved: the two theorems with constants, certificates, random instances, exact equilibria."""
