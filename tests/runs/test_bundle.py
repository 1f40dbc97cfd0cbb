"""Bundles: one file that every command takes for a run; damage and hostile files."""

import copy
import hashlib
import json
import os
import random
import shutil
import zipfile

import pytest
from project import ROOT

from seq2seq import bundle as door
from seq2seq import export as export_door
from seq2seq.config.user_cache import VARIABLE
from seq2seq.errors import UserError
from seq2seq.inference.predictor import Predictor
from seq2seq.runs import RunDir, bundle
from seq2seq.runs.bundle import pack, unpack

FIXTURES = ROOT / "tests" / "fixtures"
ANSWERS = [json.loads(line) for line in (FIXTURES / "run_0_1_answers.jsonl").open()]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache" / "bundles"


@pytest.fixture
def run(tmp_path):
    return shutil.copytree(FIXTURES / "run_0_1", tmp_path / "run")


@pytest.fixture
def file(run, tmp_path):
    pack([run], tmp_path / "model.seq2seq")
    return tmp_path / "model.seq2seq"


def rewritten(file, change):
    """Writes the members of a bundle again after `change(members)`."""
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def test_the_command_writes_a_file_that_is_the_run(run, tmp_path, command, capsys):
    assert command(door.main, "bundle", f"run={run}") == 0
    name = f"{RunDir(run).load_config().name}.seq2seq"
    digest = hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    assert capsys.readouterr().out == f"{digest}  {name}\n"
    assert command(door.main, "bundle", f"run={run}") == 2
    assert capsys.readouterr().err == f"error: output={name} already exists; name another file\n"

    shutil.rmtree(run)
    predictor = Predictor.load(RunDir.find_all(str(tmp_path / name)))
    found = predictor.predict([one["source"] for one in ANSWERS])
    assert [one.text for one in found] == [one["predictions"][0]["text"] for one in ANSWERS]


def test_what_commands_make_of_a_bundle_lies_beside_it(file, command, cache):
    assert command(export_door.main, "export", f"run={file}") == 0
    assert (file.parent / "model" / "export" / "numpy" / "model.json").is_file()
    [unpacked] = cache.iterdir()
    assert sorted(path.name for path in unpacked.iterdir()) == ["1"]
    assert not (unpacked / "1" / "export").exists()
    assert RunDir.open(file).short_name == f"{file.parent.name}/model"


def test_several_runs_are_an_ensemble(run, tmp_path):
    pack([run] * 11, tmp_path / "many")
    found = RunDir.find_all([str(tmp_path / "many"), str(run)])
    assert [one.path.name for one in found] == [*map(str, range(1, 12)), "run"]
    with pytest.raises(UserError, match=r"^run=.*many is an ensemble of 11 runs, not a run$"):
        RunDir.open(tmp_path / "many")


def test_a_bundle_is_unpacked_once(file, cache):
    [first] = unpack(file)
    times = [path.stat().st_mtime_ns for path in first.iterdir()]
    [second] = unpack(shutil.copy(file, file.with_name("copy")))
    assert second == first
    assert [path.stat().st_mtime_ns for path in second.iterdir()] == times
    assert [path.name for path in cache.iterdir()] == [first.parent.name]


def test_only_the_last_bundles_stay_unpacked(file, cache, monkeypatch):
    monkeypatch.setattr("seq2seq.runs.bundle._KEPT", 2)
    found = []
    for number in range(4):
        bundle._used.clear()  # as in another process
        rewritten(file, lambda members: members)
        file.write_bytes(file.read_bytes() + bytes([number]))  # ZIP files may have a tail.
        found.append(unpack(file)[0].parent)
    assert {*cache.iterdir()} == {*found[-2:]}


def test_an_unfinished_run_is_no_bundle(run, tmp_path):
    (run / "best.weights.h5").unlink()
    with pytest.raises(UserError, match=r"has no best.weights.h5; has the run finished an epoch\?"):
        pack([run], tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_a_cache_that_cannot_be_written_is_done_without(file, monkeypatch, tmp_path):
    (tmp_path / "no_folder").write_text("")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "no_folder"))
    [run] = unpack(file)
    assert RunDir.open(run).load_config().name


def test_damage_is_refused_or_changes_nothing(file, cache):
    [run] = unpack(file)
    whole = {path.name: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    content, draw = file.read_bytes(), random.Random(1)
    messages = []
    for _ in range(150):
        changed = bytearray(content)
        if draw.random() < 0.2:
            del changed[draw.randrange(len(changed)) :]
        else:
            changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
        file.write_bytes(changed)
        try:
            [run] = unpack(file)
        except UserError as error:
            messages.append(str(error))
        else:
            assert {p.name: p.read_bytes() for p in run.rglob("*") if p.is_file()} == whole
    assert len(messages) > 100
    assert all(one.startswith(f"{file}: is not a bundle, or is damaged: ") for one in messages)
    assert not [*cache.glob(".tmp.*")]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../evil", "a run has no file ../evil"),
        ("1/../../evil", "a run has no file"),
        ("/evil", "a run has no file /evil"),
        ("1/train.py", "a run has no file 1/train.py"),
        ("1/best.weights.h5/x", "a run has no file"),
    ],
)
def test_foreign_members_are_refused(name, reason, file, cache):
    def add(members):
        members[name] = b"x"
        manifest = json.loads(members["bundle.json"])
        manifest["files"][name] = hashlib.sha256(b"x").hexdigest()
        members["bundle.json"] = json.dumps(manifest).encode()

    rewritten(file, add)
    with pytest.raises(UserError, match=f"is not a bundle, or is damaged: {reason}"):
        unpack(file)
    assert not [*cache.iterdir()]


def test_what_is_no_bundle_is_refused(file):
    def later_version(members):
        members["bundle.json"] = members["bundle.json"].replace(b'"version": 1', b'"version": 2')

    rewritten(file, later_version)
    with pytest.raises(UserError, match="its version is 2, not 1"):
        unpack(file)
    rewritten(file, lambda members: members.pop("1/config.yaml"))
    with pytest.raises(UserError, match="its"):
        unpack(file)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bundle.json", "{}" * 9)
    with pytest.raises(UserError, match="is compressed"):
        unpack(file)
    file.write_text("not a ZIP file")
    with pytest.raises(UserError, match="is not a bundle, or is damaged: File is not a zip file"):
        RunDir.open(file)


def test_one_command_may_take_many_bundles(file, cache, monkeypatch):
    monkeypatch.setattr("seq2seq.runs.bundle._KEPT", 2)
    names = []
    for number in range(4):
        another = file.with_name(f"copy{number}")
        another.write_bytes(file.read_bytes() + bytes([number]))
        names.append(str(another))
    runs = RunDir.find_all(names)
    assert len({run.path for run in runs}) == 4
    assert all(run.load_config().name for run in runs)


def test_a_file_of_1970_can_be_packed(run, tmp_path):
    os.utime(run / "config.yaml", (0, 0))
    pack([run], tmp_path / "old")
    [unpacked] = unpack(tmp_path / "old")
    assert (unpacked / "config.yaml").read_bytes() == (run / "config.yaml").read_bytes()


@pytest.mark.parametrize("files", [{}, [], ["1/config.yaml"], None])
def test_a_list_that_is_none_is_refused(files, file):
    def change(members):
        manifest = json.loads(members["bundle.json"])
        members["bundle.json"] = json.dumps({**manifest, "files": files}).encode()

    rewritten(file, change)
    with pytest.raises(UserError, match="is damaged: it lists no files"):
        RunDir.find_all(str(file))


def test_members_that_share_bytes_are_refused(file, cache):
    """A small file of which many members are the same bytes would fill the disk."""
    with zipfile.ZipFile(file) as archive:
        [weights] = [one for one in archive.infolist() if one.filename.endswith(".h5")]
        manifest = json.loads(archive.read("bundle.json"))
        members = {name: archive.read(name) for name in archive.namelist()}
    name = weights.filename
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(2, 60):
            manifest["files"][f"{number}/best.weights.h5"] = manifest["files"][name]
        members["bundle.json"] = json.dumps(manifest).encode()
        for member, bytes_ in members.items():
            archive.writestr(member, bytes_)
        [first] = [one for one in archive.filelist if one.filename == name]
        for number in range(2, 60):
            entry = copy.copy(first)
            entry.filename = entry.orig_filename = f"{number}/best.weights.h5"
            archive.filelist.append(entry)
            archive.NameToInfo[entry.filename] = entry
    with pytest.raises(UserError, match="its members are larger than it is"):
        unpack(file)
    assert not [*cache.iterdir()]
