"""Tables, the HTML report, picture grids, stage pictures."""
