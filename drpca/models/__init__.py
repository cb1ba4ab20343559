"""Networks, one file a family. The registry finds a network in its file; nothing is imported from here."""
