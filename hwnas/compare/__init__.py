"""Several strategies, seeds and budgets on one space: a matrix of searches, and what their differences are."""
