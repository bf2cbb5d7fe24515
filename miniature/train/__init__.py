"""How the miniature's tiny models are made, each by a seeded, checkpointed training. The weights live in ../models."""
