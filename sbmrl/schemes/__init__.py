"""How the follower comes to answer a leader. A new scheme is one file."""
