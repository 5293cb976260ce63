"""Model-based RL on linear-quadratic worlds: continuous states and actions, and everything in closed form."""
