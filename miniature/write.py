"""`fineface miniature write`: raw data of the embedded world in a folder, at any size."""

from __future__ import annotations

from pathlib import Path

import typer

from miniature.raw import write_raw, write_rendered

app = typer.Typer(add_completion=False)


@app.command()
def write(
    folder: Path = typer.Argument(help="Where affectnet/ and disfa/ go; what is there is left as it is."),
    size: int = typer.Option(64, min=16, help="Side of the smallest usable picture, px; 512: the paper's."),
    images: int = typer.Option(2000, min=1, help="Pictures in the AffectNet part."),
    subjects: int = typer.Option(4, min=1, max=27, help="Videos in the DISFA part, at most 27."),
    frames: int = typer.Option(300, min=1, help="Frames a video."),
    seed: int = typer.Option(0, help="Other people and expressions with another seed."),
    processes: int = typer.Option(2, min=1, help="Processes that render."),
    world: str = typer.Option("rendered", help="rendered, or drawn (64 px, its own numbers)."),
) -> None:
    """Write raw data in AffectNet's and DISFA's real formats, with the truth beside it."""
    if world == "drawn":
        if (size, images, subjects, frames, processes) != (64, 2000, 4, 300, 2):
            raise typer.BadParameter("--world drawn takes no option but --seed: its pictures are of 64 px")
        write_raw(folder, seed)
    elif world == "rendered":
        write_rendered(folder, seed, size, images, subjects, frames, processes)
    else:
        raise typer.BadParameter(f"--world is drawn or rendered, not {world}")
    typer.echo(f"{folder / 'affectnet'}\n{folder / 'disfa'}")
