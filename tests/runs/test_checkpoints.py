"""Checkpoints: saved arrays are read back; damage is found, and the former one is used."""

import hashlib
import io
import logging

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seq2seq.errors import UserError
from seq2seq.runs.checkpoints import Checkpoints, step_of


def arrays(number):
    return {"a/0": np.full((3, 4), number, np.float32), "n": np.array(number)}


def test_the_newest_comes_back_and_old_ones_go(tmp_path):
    checkpoints = Checkpoints(tmp_path / "c", keep=2)
    for step in (0, 9, 10, 100):
        checkpoints.save(step, arrays(step))
    assert [step_of(path) for path in checkpoints.paths()] == [100, 10]
    path, found = checkpoints.load_newest(dict)
    assert step_of(path) == 100
    np.testing.assert_array_equal(found["a/0"], arrays(100)["a/0"])
    assert found["n"] == 100


def test_the_same_step_again_replaces_it(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    checkpoints.save(1, arrays(1))
    checkpoints.save(5, arrays(5))
    checkpoints.save(5, arrays(6))
    assert [step_of(path) for path in checkpoints.paths()] == [5, 1]
    assert checkpoints.load_newest(dict)[1]["n"] == 6


def test_before_the_first_one_it_is_time(tmp_path):
    assert Checkpoints(tmp_path, keep=2).is_cheap()


def test_no_more_than_a_fiftieth_of_the_time(tmp_path):
    """Saving takes 0.5 s of this clock: the next one is cheap 25 s later."""
    now = iter([10.0, 10.5, 35.4, 35.5, 40.0, 41.0, 90.9, 91.1])
    checkpoints = Checkpoints(tmp_path, keep=2, clock=lambda: next(now))
    checkpoints.save(1, arrays(1))
    assert [checkpoints.is_cheap(), checkpoints.is_cheap()] == [False, True]
    checkpoints.save(2, arrays(2))
    assert [checkpoints.is_cheap(), checkpoints.is_cheap()] == [False, True]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_found_and_the_one_before_used(data, tmp_path, caplog):
    for old in tmp_path.iterdir():
        old.unlink()
    checkpoints = Checkpoints(tmp_path, keep=3)
    written = [checkpoints.save(step, arrays(step)) for step in (1, 2, 3)]
    damaged = data.draw(st.sets(st.sampled_from([0, 1, 2]), min_size=1))
    for i in damaged:
        content = bytearray(written[i].read_bytes())
        kind = data.draw(st.sampled_from(["cut", "flip", "delete", "empty", "append"]))
        position = data.draw(st.integers(0, len(content) - 1))
        if kind == "delete":
            written[i].unlink()
            continue
        if kind == "cut":
            content = content[:position]
        elif kind == "empty":
            content = b""
        elif kind == "append":
            content += b"\0"
        else:
            content[position] ^= 1 << data.draw(st.integers(0, 7))
        written[i].write_bytes(content)
    left = sorted({0, 1, 2} - damaged)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        if left:
            path, found = checkpoints.load_newest(dict)
            assert path == written[left[-1]]
            np.testing.assert_array_equal(found["a/0"], arrays(left[-1] + 1)["a/0"])
        else:
            with pytest.raises(UserError, match=r"no checkpoint|are damaged"):
                checkpoints.load_newest(dict)
    newer = [path for path in written[left[-1] + 1 if left else 0 :] if path.exists()]
    assert len(caplog.records) == len(newer)
    for path in newer:
        assert path.name in caplog.text


def test_a_file_that_is_swapped_for_another_is_found(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    one, two = checkpoints.save(1, arrays(1)), checkpoints.save(2, arrays(2))
    two.write_bytes(one.read_bytes())
    assert checkpoints.load_newest(dict)[0] == one


def forged(folder, save, **arrays):
    """A checkpoint from elsewhere, with the right checksum."""
    content = io.BytesIO()
    save(content, **arrays)
    digest = hashlib.sha256(content.getvalue()).hexdigest()[:16]
    (folder / f"step_0000000001.{digest}.npz").write_bytes(content.getvalue())
    return Checkpoints(folder, keep=2)


def test_a_pickle_is_not_opened(tmp_path, caplog):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    checkpoints = forged(tmp_path, np.savez, a=np.array([Evil()], dtype=object))
    with pytest.raises(UserError, match="are damaged"):
        checkpoints.load_newest(dict)
    assert "a holds objects" in caplog.text
    assert not (tmp_path / "executed").exists()


def test_what_is_compressed_is_not_expanded(tmp_path, caplog):
    checkpoints = forged(tmp_path, np.savez_compressed, a=np.zeros(2**25))
    with pytest.raises(UserError, match="are damaged"):
        checkpoints.load_newest(dict)
    assert "a is compressed" in caplog.text


def test_other_files_are_left_alone(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for name in ("step_1.npz", "step_0000000009.xyz.npz", "notes.txt"):
        (tmp_path / name).write_text("mine")
    for step in range(5):
        checkpoints.save(step, arrays(step))
    assert len(list(tmp_path.iterdir())) == 5
    checkpoints.drop_after(3)
    assert [step_of(path) for path in checkpoints.paths()] == [3]
