"""The rendered world: people, photographs and expressions on the head rig, as pictures."""
