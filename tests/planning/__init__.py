"""Plans: what a deployment would change, and what of it is refused."""
