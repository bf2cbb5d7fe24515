"""What leaves a home for other tools: the data set with its cards, and events of its tables. No Dagster, no
torch."""
