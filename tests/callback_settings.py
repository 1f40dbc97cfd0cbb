"""Every callback of Keras with settings to try, and the words that configure one."""

MEAN = ["+optimizer.use_ema=true", "+optimizer.ema_momentum=0.9"]  # for SwapEMAWeights


def halve(epoch, learning_rate):
    return learning_rate * 0.5


def ignore(epoch, logs):
    """Does nothing at the end of an epoch."""


def own(name):
    return {"_target_": "hydra.utils.get_method", "path": f"{__name__}.{name}"}


# Class → settings to try, FOLDER being a folder of the test. Every one must be restored.
RESTORED = {
    "Callback": [{}],
    "CSVLogger": [
        # Without `append`, Keras begins the file anew at every start.
        {"filename": "FOLDER/a.csv"},
        {"filename": "FOLDER/a.csv", "append": True, "separator": ";"},
    ],
    "EarlyStopping": [
        {},
        {"patience": 2, "min_delta": 0.05},
        {"monitor": "loss", "patience": 2, "min_delta": 0.2, "restore_best_weights": True},
        {"monitor": "val_token_accuracy", "mode": "max", "patience": 3, "min_delta": 0.01},
        # No epoch is better than the first one: its weights are needed to the end.
        {"patience": 9, "min_delta": 10, "restore_best_weights": True},
        {"patience": 2, "baseline": 0.1, "start_from_epoch": 1, "restore_best_weights": True},
    ],
    "History": [{}],
    "LambdaCallback": [{}, {"on_epoch_end": own("ignore")}],
    "LearningRateScheduler": [{"schedule": own("halve")}],
    "ModelCheckpoint": [
        {"filepath": "FOLDER/a.weights.h5", "save_weights_only": True},
        {
            "filepath": "FOLDER/{epoch}.weights.h5",
            "save_weights_only": True,
            "save_best_only": True,
            "monitor": "loss",
            "save_freq": 2,
        },
        {
            "filepath": "FOLDER/a.weights.h5",
            "save_weights_only": True,
            "save_best_only": True,
            "initial_value_threshold": 2.0,
        },
    ],
    "BackupAndRestore": [
        {"backup_dir": "FOLDER/b"},
        {"backup_dir": "FOLDER/b", "save_freq": 2, "double_checkpoint": True},
    ],
    "ProgbarLogger": [{}],
    "ReduceLROnPlateau": [
        {},
        {"patience": 1, "min_delta": 0.05, "factor": 0.5},
        {"monitor": "loss", "patience": 2, "min_delta": 0.1, "cooldown": 2, "min_lr": 1e-3},
        {"monitor": "val_token_accuracy", "mode": "max", "patience": 1, "min_delta": 0.02},
    ],
    "SwapEMAWeights": [{}, {"swap_on_epoch": True}],
    "TerminateOnNaN": [{}, {"raise_error": True}],
}
# Classes that touch no file and no network, so that a run folder from elsewhere may name them.
# Functions among their arguments are code of one's own.
HARMLESS = {
    *("Callback", "EarlyStopping", "History", "LearningRateScheduler", "ProgbarLogger"),
    *("ReduceLROnPlateau", "SwapEMAWeights", "TerminateOnNaN"),
}


def needs_trust(name, arguments):
    return name not in HARMLESS or any(isinstance(one, dict) for one in arguments.values())


def settings_of(target, arguments, folder):
    text = {k: v.replace("FOLDER", str(folder)) if isinstance(v, str) else v
            for k, v in arguments.items()}  # fmt: skip
    return {"_target_": target, **text}


def as_options(settings, prefix="+callbacks.extra.a"):
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from as_options(value, f"{prefix}.{name}")
        else:
            yield (
                f"{prefix}.{name}='{value}'"
                if isinstance(value, str)
                else (f"{prefix}.{name}={value}")
            )
