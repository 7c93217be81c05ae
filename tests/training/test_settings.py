import json

import pytest

from keras_norms import training
from keras_norms.recipes import BASELINES

RECIPE = BASELINES["resnet20"]


@pytest.mark.parametrize(
    ("differences", "words"),
    [
        ({"checkpoint_minutes": 0.0}, "`checkpoint_minutes` must be above 0"),
        ({"replicas": 0}, "`replicas` must be at least 1"),
        ({"trackers": ("wandb",)}, "pip install wandb"),
    ],
)
def test_impossible_settings_are_refused(differences, words):
    with pytest.raises(ValueError, match=words):
        training.Settings(RECIPE, **differences).check()


def test_replicas_cannot_be_chosen_on_several_machines(monkeypatch):
    cluster = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(cluster))
    with pytest.raises(ValueError, match=r"`replicas` cannot be chosen.*Received: replicas=2 with 2 workers"):
        training.Settings(RECIPE, replicas=2).check()


def test_what_decides_the_result_is_json_and_leaves_out_the_rest():
    settings = training.Settings(RECIPE, seed=3, workdir="somewhere", checkpoint_minutes=1.0, probe_every=5)
    deciding = json.loads(json.dumps(settings.deciding()))
    assert deciding["seed"] == 3
    assert deciding["workers"] == 1
    assert not {"workdir", "data_dir", "checkpoint_minutes", "probe_every", "profile", "trackers"} & deciding.keys()
    assert set(RECIPE.__dataclass_fields__) <= deciding.keys()
