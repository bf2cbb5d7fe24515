"""How the miniature's tiny models are made: seeded, checkpointed trainings. The weights live in ../models."""
