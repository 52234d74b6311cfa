"""Language models from nothing: the architecture, its recipes, its objective, and its export."""
