"""What `fineface inspect` asks for and prints. The counting lives in `curation.inventory`."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from curation import inventory, recipes
from curation.inventory import Inventory, Rules, Source
from pipelines import profiles
from settings.profile import Profile, SidecarCaptions, VouchedPhotorealism
from store import HashCache, Store

BAR = 30
"""Characters of a histogram's longest bar."""


def inspect(folder: Path, profile: str, home: Path | None) -> Inventory:
    """The inventory of `folder` under the rules of `profile`; with `home`, its content hashes are remembered.

    Raises ProfileError, and RawDataError for a folder in which nothing is recognised.
    """
    place = home.expanduser().absolute() if home else None
    rules = rules_of(profiles.load(profile, place or Path.cwd(), unset=lambda _: "not-set"))
    if place is None:
        return inventory.inspect(folder.expanduser(), rules)
    store = Store(place)
    return inventory.inspect(
        folder.expanduser(), rules, HashCache(store).hash_readable_files, store.memo("probes")
    )


def rules_of(profile: Profile) -> Rules:
    """What `profile` says about raw data."""
    asks = {
        "photorealism": not isinstance(profile.photorealism, VouchedPhotorealism),
        "au_annotation": True,
        "captions": not isinstance(profile.captions, SidecarCaptions),
    }
    return Rules(
        min_side=profile.resolution.min_side,
        inclusive=profile.resolution.inclusive,
        inclusive_height=recipes.named(profile.corrections.recipe).inclusive_height,
        cameras=tuple(profile.disfa.cameras),
        exclude_faulty=profile.disfa.exclude_faulty,
        first_frame=profile.disfa.first_frame,
        first_label=profile.disfa.first_label,
        no_au_share=profile.disfa.no_au_share,
        neutral_share_of=profile.disfa.neutral_share_of,
        seed=profile.disfa.seed,
        asks=tuple(stage for stage, asked in asks.items() if asked),
    )


def show(found: Inventory, profile: str, console: Console | None = None) -> None:
    """Print an inventory: each source, what is there twice, and the plan."""
    console = console or Console(highlight=False, markup=False, soft_wrap=True)
    for source in found.sources:
        console.print(
            Text(f"\n{source.layout}", style="bold").append(f"  {source.folder}", style="not bold dim")
        )
        if source.problem:
            console.print(Text(f"  refused: {source.problem}", style="red"))
            continue
        _source(source, found.rules, console)
    if found.compared:
        count, example = (f"{found.duplicates:,}", ", for example") if found.duplicates else ("none", "")
        console.print(f"\nof {found.compared:,} pictures, {count} repeats the content of another{example}")
    for ids in found.duplicate_examples:
        console.print(f"  {' = '.join(ids)}")
    _plan(found, profile, console)


def _source(source: Source, rules: Rules, console: Console) -> None:
    more = [f"{source.subjects:,} subjects"] * bool(source.subjects)
    more += [f"{source.captions:,} with a caption"] * bool(source.captions)
    console.print(f"  {', '.join([f'{source.rows:,} rows', f'{source.usable:,} usable', *more])}")
    for note in source.notes:
        console.print(f"  {note}")
    for code, count in source.unusable.items():
        console.print(Text(f"  {count:>9,} {code}", style="yellow"))
        for detail in source.examples.get(code, []):
            console.print(Text(f"{'':12}{detail}", style="dim"))
    pictures = sum(source.shorter_sides.values())
    share = f"{source.large_enough:,} of {pictures:,} reach {rules.min_side}"
    _bars(f"shorter side in pixels: {share}", source.shorter_sides, console)
    _bars("expression", source.expressions, console)
    if source.action_units:
        table = Table("frames by intensity", *map(str, range(6)), box=None, padding=(0, 0, 0, 2))
        for column in table.columns[1:]:
            column.justify = "right"
        for au, counts in source.action_units.items():
            table.add_row(au, *(f"{count:,}" for count in counts))
        console.print(table)


def _bars(title: str, counts: dict[str, int], console: Console) -> None:
    if not any(counts.values()):
        return
    console.print(f"  {title}")
    most, total, width = max(counts.values()), sum(counts.values()), max(map(len, counts))
    for name, count in counts.items():
        if not count:
            continue
        bar = "█" * -(-BAR * count // most)
        console.print(f"    {name:<{width}} {count:>9,} {100 * count / total:>5.1f} % {bar}")


def _plan(found: Inventory, profile: str, console: Console) -> None:
    if not found.plan:
        return
    console.print(Text(f"\nA run with the profile {profile}", style="bold"))
    for step in found.plan:
        dropped = ", ".join(f"{count:,} {code}" for code, count in step.dropped.items())
        console.print(
            f"  {step.stage:<14}{step.rows:>9,} rows, {step.kept:>9,} kept"
            + (f"; dropped: {dropped}" * bool(dropped))
        )
    for stage, pictures in found.calls.items():
        console.print(f"  {stage:<14}{pictures:>9,} pictures to ask a model about, at most")
