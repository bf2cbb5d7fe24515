"""The `fineface` command, a file a verb. What verbs share lives in `options`, what a run does in
`pipelines.runs`; heavy imports wait inside functions.
"""

import typer

from pipelines.command import (
    accept,
    annotators,
    check,
    compare,
    diff,
    draw,
    edit,
    environment,
    export,
    forget,
    held_out,
    impact,
    inspect,
    label,
    miniature,
    prune,
    repair,
    run,
    schedule,
    status,
    study,
    ui,
    web_app,
    why,
)
from pipelines.command.options import OneLine

EXAMPLES = """\
fineface run                                   the embedded world, no data needed

fineface draw "a man in a park" AU12=4         a face, by a trained model

fineface edit photo.jpg --au AU12=4            the expression of a face in a photograph

fineface check --profile paper                 what the paper's scale needs, and how to get it

fineface run --select captions+                a stage and what follows

fineface why affectnet/3/ab12.jpg              where a label came from

fineface compare fineface sd                   which of two experiments is better, and on what
"""
WORK, LOOK, SET_UP = "Work", "Look", "Set up"

app = typer.Typer(
    cls=OneLine,
    help="From raw face data to a measured action-unit model for Stable Diffusion.",
    epilog=EXAMPLES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command(rich_help_panel=WORK)(run.run)
app.command(rich_help_panel=WORK)(draw.draw)
app.command("held-out", rich_help_panel=WORK)(held_out.held_out)
app.command(rich_help_panel=WORK)(edit.edit)
app.command(rich_help_panel=WORK)(export.export)
app.command(rich_help_panel=WORK)(label.label)
app.command(rich_help_panel=WORK)(accept.accept)
app.command(rich_help_panel=WORK)(ui.ui)
app.command(rich_help_panel=WORK)(web_app.app)
app.command(rich_help_panel=LOOK)(check.check)
app.command(rich_help_panel=LOOK)(status.status)
app.command(rich_help_panel=LOOK)(inspect.inspect)
app.command(rich_help_panel=LOOK)(why.why)
app.command(rich_help_panel=LOOK)(impact.impact)
app.command(rich_help_panel=LOOK)(diff.diff)
app.command(rich_help_panel=LOOK)(compare.compare)
app.command(rich_help_panel=SET_UP)(repair.repair)
app.command(rich_help_panel=SET_UP)(forget.forget)
app.command(rich_help_panel=SET_UP)(prune.prune)
app.add_typer(schedule.app, name="schedule", rich_help_panel=WORK)
app.add_typer(annotators.app, name="annotators", rich_help_panel=LOOK)
app.add_typer(study.app, name="study", rich_help_panel=LOOK)
app.add_typer(environment.app, name="environment", rich_help_panel=SET_UP)
app.add_typer(miniature.app, name="miniature", rich_help_panel=SET_UP)
