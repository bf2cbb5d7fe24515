"""All experiments side by side."""
