"""`python -m pipelines.command`: the same as `fineface`."""

from pipelines.command import app

app(prog_name="fineface")
