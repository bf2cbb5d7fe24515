"""From raw data to the latents of the training set, one stage a file."""
