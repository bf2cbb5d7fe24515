"""Curation: raw formats, filters, corrections, training-set assembly. Pure polars: no Dagster, no torch."""
