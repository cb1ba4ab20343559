"""Results folders: writing, reading, scoring."""
