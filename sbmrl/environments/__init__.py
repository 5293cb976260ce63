"""What the world is: environments, finite MDPs and their closed forms, the catalogue of named worlds."""
