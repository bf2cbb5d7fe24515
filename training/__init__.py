"""Training of AU adapters: jobs, smoothing, data, loop, checkpoints. Sampling lives in `inference`."""
