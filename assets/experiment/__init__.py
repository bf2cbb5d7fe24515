"""One experiment from training to scores, one stage a file."""
