"""Models run forward: BLIP-2, AU estimators, CLIP, VAE, FineFace generation. No Dagster, no training."""
