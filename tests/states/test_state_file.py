"""States that users write into files: read as they are, or refused with the reason."""

import json

import numpy as np
import pytest
from test_handover import make_predictor

from seq2seq.errors import UserError
from seq2seq.states.state_file import read_state

NAMES = ["bridge_output/0/state_h", "bridge_output/0/state_c"]
STATE = {NAMES[0]: [0.5, -1.0], NAMES[1]: [3.0, 0.25]}


@pytest.fixture(scope="module")
def bridge():
    return make_predictor("model.units=2")[0].model.bridge


def test_both_formats(bridge, tmp_path):
    (tmp_path / "s.json").write_text(json.dumps(STATE))
    np.savez(tmp_path / "s.npz", source=np.array(["a"]), **STATE)
    for name in ("s.json", "s.npz"):
        [layer] = read_state(tmp_path / name, bridge)
        np.testing.assert_array_equal(layer, list(STATE.values()))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "Expecting"),
        ("[1]", "not an object"),
        ("[" * 100_000, "recursion"),
        ("{}", r"holds no bridge_output.*starts from bridge_output/0/state_h, bridge_output/0/st"),
        (json.dumps({NAMES[0]: [0, 1]}), r"holds bridge_output/0/state_h; .*state_c"),
        (json.dumps(STATE | {NAMES[1]: [1, 2, 3]}), r"state_c has shape \(3,\).* 2 finite"),
        (json.dumps(STATE | {NAMES[1]: [1, float("nan")]}), "state_c .* 2 finite"),
        (json.dumps(STATE | {NAMES[1]: [1, 10**400]}), "state_c is not a list"),
        (json.dumps(STATE | {NAMES[1]: ["a", "b"]}), "state_c is not a list"),
    ],
)
def test_other_json_is_refused(content, words, bridge, tmp_path):
    path = tmp_path / "s.json"
    path.write_text(content)
    with pytest.raises(UserError, match=rf"(?s)^state=.*s\.json: .*{words}"):
        read_state(path, bridge)


def test_other_arrays_are_refused(bridge, tmp_path):
    path = tmp_path / "s.npz"
    with pytest.raises(UserError, match=r"s\.npz: .*No such file"):
        read_state(path, bridge)
    path.write_bytes(b"PK nothing")
    with pytest.raises(UserError, match=r"not a valid \.npz or \.json file of states"):
        read_state(path, bridge)
    np.savez_compressed(path, **STATE | {NAMES[1]: np.zeros(2**25)})
    with pytest.raises(UserError, match="is compressed"):
        read_state(path, bridge)
    np.savez(path, **STATE | {NAMES[1]: np.array([print, None])})
    with pytest.raises(UserError, match=r"s\.npz: .*state_c holds objects"):
        read_state(path, bridge)
