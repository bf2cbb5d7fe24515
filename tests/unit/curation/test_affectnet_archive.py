"""AffectNet's RAR parts: read in place, large pictures kept as files, damage and escapes named."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
import rar_files
import rarfile
from hypothesis import given, settings
from hypothesis import strategies as st
from rar_files import NORMAL, Link, archive
from tiny_raw import affectnet, affectnet_line, picture, shuffled_disk, write
from told import TOLD, counts

from curation import resolution
from curation.frames import RawDataError
from curation.sources import affectnet as source
from curation.sources import affectnet_archive, rar
from store import Store
from store.hashing import hash_bytes, hash_files

LARGE, SMALL = {"width": 64, "height": 64, "noise": True}, {"width": 40, "height": 64}
IMAGES = "Manually_Annotated_Images"


def pictures(count: int = 12) -> dict[str, bytes]:
    """Every third is too small."""
    return {
        f"{i % 3}/{i:02d}.{'JPG' if i % 2 else 'png'}": picture(i, **(LARGE if i % 3 else SMALL))
        for i in range(count)
    }


def packed(folder: Path, members: dict, listed=None, **settings) -> list[Path]:
    affectnet(folder, map(affectnet_line, members if listed is None else listed))
    inside = {f"{IMAGES}/{name}" if isinstance(name, str) else name: data for name, data in members.items()}
    return archive(folder, inside, **settings)


def read(folder, home, **settings):
    return source.read(folder, hash_files, min_side=64, store=Store(home), **settings)


def dropped(table: pl.DataFrame) -> dict[str, str]:
    return dict(table.filter(~pl.col("keep")).select("sample_id", TOLD).iter_rows())


@pytest.mark.parametrize("version", [5, 3])
def test_parts_give_the_table_of_the_unpacked_tree(tmp_path, version):
    members = pictures()
    parts = packed(tmp_path / "packed", members, part_bytes=20_000, version=version)
    affectnet(tmp_path / "tree", map(affectnet_line, members), pictures=members)
    found, tree = read(tmp_path / "packed", tmp_path / "home"), read(tmp_path / "tree", tmp_path / "home")
    assert len(parts) == 5 and found["keep"].all()
    assert found.drop("path").equals(tree.drop("path"))
    for name, path in found.select(pl.col("sample_id").str.strip_prefix("affectnet/"), "path").iter_rows():
        large = int(name[2:4]) % 3 > 0
        assert (path is not None) == large
        if large:
            stored = Path(path)
            assert stored.read_bytes() == members[name]
            assert stored.name == hash_bytes(members[name]) + stored.suffix and stored.suffix in (
                ".jpg",
                ".png",
            )
    assert len(list((tmp_path / "home" / "files" / "affectnet").rglob("*.*"))) == 8
    judged = resolution.apply(found, 64)
    assert counts(judged) == {"too_small": 4}


def test_what_was_read_is_not_read_again(tmp_path, monkeypatch):
    members = pictures()
    packed(tmp_path / "raw", members, part_bytes=20_000)
    first = read(tmp_path / "raw", tmp_path / "home")
    asked, contents = [], rar.contents
    monkeypatch.setattr(
        rar,
        "contents",
        lambda parts, files, wanted: asked.append(len(wanted)) or contents(parts, files, wanted),
    )
    monkeypatch.setattr(rar, "_part", lambda path: pytest.fail(f"parsed {path} again"))
    assert read(tmp_path / "raw", tmp_path / "home").equals(first)
    (Store(tmp_path / "home").files("affectnet").path(Path(first["path"].drop_nulls()[0]).name)).unlink()
    assert read(tmp_path / "raw", tmp_path / "home").equals(first)  # a lost file comes back
    lower = source.read(tmp_path / "raw", hash_files, min_side=40, store=Store(tmp_path / "home"))
    assert lower["path"].null_count() == 0  # and a lower limit reads the four that were too small
    assert asked == [0, 1, 4]


def test_a_stored_picture_that_is_damaged_is_read_again(tmp_path):
    packed(tmp_path / "raw", pictures(), part_bytes=20_000)
    first = read(tmp_path / "raw", tmp_path / "home")
    stored = Path(first["path"].drop_nulls()[0])
    sound = stored.read_bytes()
    stored.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    assert read(tmp_path / "raw", tmp_path / "home").equals(first) and stored.read_bytes() == sound


def test_a_member_that_points_outside_is_never_written(tmp_path):
    members = {"1/a.png": picture(1, **LARGE), "1/link.png": Link("../../secret.png")}
    evil = {
        f"{IMAGES}/../../up.png": picture(2, **LARGE),
        "/etc/abs.png": picture(3, **LARGE),
        "C:\\abs.png": picture(4, **LARGE),
        "1/unlisted.png": Link("/etc/passwd"),
    }
    affectnet(tmp_path / "raw", map(affectnet_line, [*members, "../../up.png"]))
    inside = {f"{IMAGES}/{name}": data for name, data in members.items()} | evil
    archive(tmp_path / "raw", inside)
    table = read(tmp_path / "raw", tmp_path / "home")
    part, link = "Manually_Annotated.part01.rar", f"{IMAGES}/1/link.png"
    assert table.filter("keep")["sample_id"].to_list() == ["affectnet/1/a.png"]
    assert dropped(table) == {
        "affectnet/1/link.png": "missing_file: training.csv:3 lists 1/link.png",
        "affectnet/../../up.png": "missing_file: training.csv:4 lists ../../up.png",
        f"affectnet/{link}#{part}:2": f"link: member {link} of {part} is not unpacked",
        f"affectnet/{IMAGES}/../../up.png#{part}:3": (
            f"points_outside: member {IMAGES}/../../up.png of {part} is not unpacked"
        ),
        f"affectnet//etc/abs.png#{part}:4": f"points_outside: member /etc/abs.png of {part} is not unpacked",
        f"affectnet/C:/abs.png#{part}:5": f"points_outside: member C:/abs.png of {part} is not unpacked",
        f"affectnet/1/unlisted.png#{part}:6": f"link: member 1/unlisted.png of {part} is not unpacked",
    }
    written = [path for path in (tmp_path / "home" / "files").rglob("*") if path.is_file()]
    assert [path.stem for path in written] == [hash_bytes(members["1/a.png"])]
    assert not list(tmp_path.glob("*.png"))


@pytest.mark.parametrize("version", [5, 3])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.999])
def test_a_truncated_part_costs_only_what_lies_in_it(tmp_path, version, share):
    members = {f"1/{i:02d}.png": picture(i, **LARGE) for i in range(8)}
    members["1/two.png"] = picture(9, width=120, height=120, noise=True)  # longer than two parts
    parts = packed(tmp_path, members, part_bytes=20_000, version=version)
    whole = rar.members(parts, rar.read_headers(parts))
    cut = parts[2].read_bytes()
    parts[2].write_bytes(cut[: int(len(cut) * share)])
    table = read(tmp_path, tmp_path / "home")
    touched = {
        row["name"].removeprefix(f"{IMAGES}/")
        for row in whole.iter_rows(named=True)
        for piece in row["pieces"]
        if piece["part"] == 2 and piece["offset"] + piece["packed"] > int(len(cut) * share)
    }
    assert touched and set(dropped(table)) == {f"affectnet/{name}" for name in touched}
    for reason in dropped(table).values():
        assert reason.startswith(("damaged_archive: ", "missing_file: ")) and parts[2].name in reason
    parts[2].write_bytes(cut)  # downloaded again: only the missing ones are read
    assert read(tmp_path, tmp_path / "home")["keep"].all()


def test_a_flipped_bit_costs_one_picture(tmp_path):
    members = pictures(3)
    (part,) = packed(tmp_path, members)
    content = bytearray(part.read_bytes())
    content[content.index(members["1/01.JPG"]) + 100] ^= 1
    part.write_bytes(content)
    table = read(tmp_path, tmp_path / "home")
    assert dropped(table) == {
        "affectnet/1/01.JPG": f"damaged_archive: {part.name}: {IMAGES}/1/01.JPG is not what its checksum says"
    }


def test_a_missing_part_is_one_error_that_names_it(tmp_path):
    parts = packed(tmp_path, pictures(), part_bytes=20_000)
    kept = {part: part.read_bytes() for part in parts}
    for number in (0, 2):
        parts[number].unlink()
        with pytest.raises(RawDataError, match=rf"{parts[number].name} is missing; found 4 "):
            read(tmp_path, tmp_path / "home")
        parts[number].write_bytes(kept[parts[number]])
    parts[-1].unlink()
    with pytest.raises(RawDataError, match=rf"the part after .*{parts[-2].name} is missing"):
        read(tmp_path, tmp_path / "home")


def test_bad_pictures_and_names_inside_an_archive_keep_their_row(tmp_path):
    members = {"1/empty.jpg": b"", "1/text.jpg": b"no picture", "1/cut.png": picture(1, **LARGE)[:30]}
    parts = packed(tmp_path, members | {b"1/\xe9.jpg": picture(2)}, [*members, "1/gone.jpg"])
    table = read(tmp_path, tmp_path / "home")
    assert not table["keep"].any() and counts(table)["missing_file"] == 1
    assert table.height == 4 and "empty_file" in counts(table)
    assert dropped(table)["affectnet/1/text.jpg"].endswith(f"({IMAGES}/1/text.jpg in {parts[0].name})")


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(rar, "MAX_BYTES", 20_000)
    members = {"1/bomb.png": b"\0" * 50_000, "1/good.png": picture(1, **LARGE)}
    (part,) = packed(tmp_path, members)
    assert dropped(read(tmp_path, tmp_path / "home")) == {
        "affectnet/1/bomb.png": f"too_many_bytes: {part.name}: {IMAGES}/1/bomb.png unpacks to 50000"
    }


def test_a_stored_member_that_holds_more_than_it_says_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(rar, "MAX_BYTES", 20_000)
    affectnet(tmp_path, [affectnet_line("1/liar.png")])
    liar = rar_files._Block(f"{IMAGES}/1/liar.png".encode(), 10, 0, bytes(50_000), False, False, None)
    part = write(tmp_path / f"{rar_files.STEM}.part01.rar", rar_files._rar5([liar], 0, True, 0))
    assert dropped(read(tmp_path, tmp_path / "home")) == {
        "affectnet/1/liar.png": f"too_many_bytes: {part.name}: {IMAGES}/1/liar.png unpacks to 50000"
    }


@given(random=st.randoms(use_true_random=False))
@settings(max_examples=5, deadline=None)
def test_whatever_the_order_of_files_on_disk_the_tables_are_the_same(tmp_path_factory, random):
    top, members = tmp_path_factory.mktemp("raw"), pictures(6)
    lines = map(affectnet_line, [*members, "1/gone.png"])
    affectnet(top / "tree", lines, map(affectnet_line, members), members)
    packed(top / "packed", members, part_bytes=9_000)
    before = [read(top / name, top / f"{name}-1") for name in ("tree", "packed")]
    with shuffled_disk(random):
        after = [read(top / name, top / f"{name}-2") for name in ("tree", "packed")]
    for one, other in zip(before, after, strict=True):
        assert one.drop("path").equals(other.drop("path")) and one["keep"].any()


def test_without_a_store_headers_say_what_is_there(tmp_path, monkeypatch):
    packed(tmp_path, {"1/a.png": picture(1), "1/link.png": Link("x")}, ["1/a.png", "1/gone.png"])
    monkeypatch.setattr(rar, "contents", lambda *rest: pytest.fail("read data"))
    said = []
    table = source.read(tmp_path, hash_files, min_side=64, say=said.append)
    assert table.filter("keep").select("sample_id", "path", "width", "content_hash").rows() == [
        ("affectnet/1/a.png", None, None, None)
    ]
    assert counts(table) == {"link": 1, "missing_file": 1}
    assert said == [
        "1 RAR parts: 2 members, 1 of them in the lists; how large they are is known once they are read"
    ]


def tool(folder: Path, output: bytes) -> str:
    """A program that "unpacks" every archive to `output`."""
    write(folder / "output", output)
    path = write(folder / "unrar", f'#!/bin/sh\nif [ "$1" = p ]; then cat {folder}/output; fi\n')
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("prints_links", [True, False])
def test_a_compressed_archive_is_unpacked_by_one_process_and_split(tmp_path, monkeypatch, prints_links):
    members = pictures(7)
    link = {"1/link.png": Link("../../elsewhere")}
    inside = dict([*members.items()][:3]) | link | dict([*members.items()][3:])
    packed(tmp_path, inside, members, version=3, method=NORMAL, part_bytes=20_000)
    pieces = [data.target.encode() if isinstance(data, Link) else data for data in inside.values()]
    output = b"".join(pieces if prints_links else members.values())
    monkeypatch.setattr(rarfile, "UNRAR_TOOL", tool(tmp_path / "bin", output))
    table = read(tmp_path, tmp_path / "home")
    assert table.filter("keep").height == 7 and counts(table) == {"link": 1}
    broken = output[: len(output) // 2] + output[len(output) // 2 + 1 :]  # one byte lost on the way
    monkeypatch.setattr(rarfile, "UNRAR_TOOL", tool(tmp_path / "bin", broken))
    again = read(tmp_path, tmp_path / "other")
    assert 0 < again.filter("keep").height < 7
    assert (
        again.filter("keep")
        .drop("path")
        .equals(table.join(again.filter("keep"), on="sample_id", how="semi").drop("path"))
    )
    assert set(counts(again)) == {"damaged_archive", "link"}


def test_without_a_tool_a_compressed_archive_is_one_error_that_names_the_tools(tmp_path, monkeypatch):
    packed(tmp_path, pictures(2), method=NORMAL, part_bytes=5_000)
    for name in ("UNRAR", "UNAR", "SEVENZIP", "SEVENZIP2", "BSDTAR"):
        monkeypatch.setattr(rarfile, f"{name}_TOOL", "/nowhere")
    with pytest.raises(RawDataError, match=r"is compressed: reading it needs unrar, unar or 7z .*none"):
        read(tmp_path, tmp_path / "home")
    monkeypatch.setattr(rarfile, "UNRAR_TOOL", tool(tmp_path / "bin", b""))  # 7z without its RAR part
    with pytest.raises(RawDataError, match=r"unrar could not read .*part01\.rar"):
        read(tmp_path, tmp_path / "home")


KILLED = """
import sys, time
from pathlib import Path
from curation.sources import affectnet, affectnet_archive
from store import Store
from store.hashing import hash_files

def slowly(progress):
    Path(sys.argv[3]).write_text(str(progress.done))
    time.sleep(0.2)

affectnet_archive.CHUNK = 64
affectnet.read(sys.argv[1], hash_files, min_side=64, store=Store(sys.argv[2]), progress=slowly)
"""


def test_a_killed_run_goes_on_and_ends_with_the_same_table(tmp_path, monkeypatch):
    members = {f"1/{i:03d}.png": picture(i, **(LARGE if i % 2 else SMALL)) for i in range(400)}
    packed(tmp_path / "raw", members, part_bytes=500_000)
    mark, home = tmp_path / "mark", tmp_path / "home"
    process = subprocess.Popen([sys.executable, "-c", KILLED, *map(str, (tmp_path / "raw", home, mark))])
    deadline = time.monotonic() + 300
    while not (mark.exists() and mark.read_text() not in ("", "64")) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    known = len(Store(home).memo("archive_members", affectnet_archive.MEMBER_SCHEMA))
    assert 128 <= known < 400
    asked, contents = [], rar.contents
    monkeypatch.setattr(
        rar,
        "contents",
        lambda parts, files, wanted: asked.append(len(wanted)) or contents(parts, files, wanted),
    )
    table = read(tmp_path / "raw", home)
    assert asked == [400 - known]
    whole = read(tmp_path / "raw", tmp_path / "fresh")
    assert table.drop("path").equals(whole.drop("path")) and table["keep"].all()
    assert all(Path(path).is_file() for path in table["path"].drop_nulls())
