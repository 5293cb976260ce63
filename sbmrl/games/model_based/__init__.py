"""What model-based RL is in every kind of world: its formulations, their knobs, and which combinations are void."""
