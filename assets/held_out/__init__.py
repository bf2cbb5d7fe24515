"""The second set of prompts, which is opened once: no part of a run of everything."""
