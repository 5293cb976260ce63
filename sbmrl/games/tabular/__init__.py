"""Model-based RL as a game: a policy and a world model, on a tabular world."""
