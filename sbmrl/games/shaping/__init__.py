"""Reward shaping: a designer sets penalties, an agent answers by its entropy-regularised optimum."""
