"""Trees: make one side like the other, local folders and remote ones."""
