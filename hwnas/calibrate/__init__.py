"""How far each estimator can be trusted on a user's own space and data, and what it costs there."""
