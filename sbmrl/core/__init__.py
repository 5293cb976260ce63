"""What all games share: the idea, and no concrete part of it."""
