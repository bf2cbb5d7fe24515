"""The page of borderline verdicts, to be gone through by eye. Which rows those are is said in `curation/`."""

import base64
import io
import shlex
from collections.abc import Mapping
from pathlib import Path

import jinja2
import polars as pl

import picture_files
from inference.images import ImageError, load
from store import file_system

SIDE = 256

PAGE = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string("""\
<!doctype html>
<html lang="en"><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>Borderline photographs</title>
<style>
  body { font: 14px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 70em; padding: 0 1em }
  main { display: grid; grid-template-columns: repeat(auto-fill, minmax(16em, 1fr)); gap: 1.5em }
  img { width: 100%; border: 4px solid } .keep { border-color: #2a7 } .drop { border-color: #c43 }
  figure { margin: 0 } figcaption, code { font-size: 12px; overflow-wrap: anywhere }
</style>
<h1>Borderline photographs</h1>
<p>The {{ rows|length }} verdicts that were closest, closest first; green is kept, red is dropped.
{% for name, text in questions.items() %}
“{{ text }}” {{ "drops" if name == "cartoon" else "keeps" }} from P(yes) {{ thresholds[name] }} on.
{% endfor %}
Overrule one with the line below it; <code>fineface run --select photorealism+</code> applies it.</p>
<main>
{% for row in rows %}
<figure><img class="{{ "keep" if row.keep else "drop" }}" alt="" src="{{ row.picture }}"><figcaption>
<b>{{ "kept" if row.keep else "dropped" }}</b>{{ ", overruled by " ~ row.overruled_by if row.override }},
margin {{ "%+.3f"|format(row.margin) }}<br>
{% for name in questions %}
{{ name }}: “{{ row[name ~ "_answer"] }}” {{ "%.3f"|format(row[name ~ "_score"]) }}<br>
{% endfor %}
<code>fineface label {{ row.quoted }} photorealism
{{ "drop" if row.keep else "keep" }} --reason "…"</code>
</figcaption></figure>
{% endfor %}
</main></html>
""")


def write(
    path: Path, rows: pl.DataFrame, questions: Mapping[str, str], thresholds: Mapping[str, float]
) -> Path:
    """Write the page of `rows` (a photorealism table with `margin`), pictures inside, in one step; `path`."""
    file_system.fetch(picture_files.parted(path)[0] for path in rows["path"])
    shown = [
        {**row, "picture": _inline(row["path"]), "quoted": shlex.quote(row["sample_id"])}
        for row in rows.to_dicts()
    ]
    return file_system.write(path, PAGE.render(rows=shown, questions=questions, thresholds=thresholds))


def _inline(path: str) -> str:
    """The picture as a data URL, at most SIDE px; nothing for one that is gone since it was judged."""
    try:
        picture = load(path)
    except ImageError:
        return ""
    picture.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
