"""Methods and seeds in one table."""
