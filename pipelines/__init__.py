"""Definitions, jobs, automation, profiles and the `fineface` command: the top floor."""
