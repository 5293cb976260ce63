"""Running cells of many seeds, and keeping what they leave behind. Host side."""
