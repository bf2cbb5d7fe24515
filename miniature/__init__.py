"""The embedded world: a face renderer, writers of raw data in the real formats, tiny models.

Nothing but profiles and tests imports this package.
"""
