"""XLA compiles once per bucket shape: counted in a real process, by what XLA itself writes down."""

import re

from project import ROOT, run_process

from seq2seq.runs.run_dir import RunDir

COUNTED = ("differentiate", "update", "search")


def test_a_run_compiles_once_per_bucket(tmp_path):
    flags = f"--xla_dump_to={tmp_path / 'xla'} --xla_dump_hlo_as_text"
    result = run_process(
        ROOT / "train.py",
        "run_dir=r",
        "data.train_examples=300",
        "data.dev_examples=70",
        "data.test_examples=50",
        "data.min_length=3",
        "data.max_length=14",
        "data.buckets=2",
        "model.units=4",
        "model.encoder.units=4",
        "training.epochs=3",
        "training.batch_size=32",
        "training.micro_batches=2",
        "decoding.batch_size=32",
        "decoding.max_length=4",
        "callbacks.tensorboard=false",
        cwd=tmp_path,
        XLA_FLAGS=flags,
    )
    assert result.returncode == 0, result.stderr.decode()
    layouts = {name: [] for name in COUNTED}
    for path in (tmp_path / "xla").glob("*before_optimizations.txt"):
        name = re.sub(r".*a_inference_(\w+?)_\d+__.*", r"\1", path.name)
        if name in COUNTED:
            head = path.read_text().split("\n", 1)[0]
            layouts[name].append(re.search(r"entry_computation_layout=.*", head)[0])
    assert all(len(set(shapes)) == len(shapes) for shapes in layouts.values())
    # Two buckets of training lengths; lengths 8 and 16 of what is decoded, always 32 rows.
    assert len(layouts["differentiate"]) == 2
    assert len(layouts["update"]) == 1
    assert len(layouts["search"]) == 2
    assert RunDir.open(tmp_path / "r").load_config().training.micro_batches == 2
