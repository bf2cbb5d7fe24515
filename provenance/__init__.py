"""Questions to the tables: where a label came from. Reads stage tables only; computes and writes nothing."""
