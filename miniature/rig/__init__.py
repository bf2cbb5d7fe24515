"""A head of real geometry: its compact file, how it was made, and the linear algebra that moves it."""
