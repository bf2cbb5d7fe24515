"""Readers of raw data sets; each returns one frames table (`curation.frames.SCHEMA`)."""
