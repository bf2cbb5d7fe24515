"""Estimators of action units, tried where the truth is known."""
