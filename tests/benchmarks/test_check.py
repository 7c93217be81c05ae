import json
import sys

import pytest

from benchmarks import check

KEY = ("resnet20, none", "keras_norms", "step", "s")
PEER = ("resnet20, none", "keras", "step", "s")


def compared(made_up, before, now, unit="s"):
    """Returns what is found where ours was and is so many times the peer, on a machine half as fast now."""
    ours, peer = (*KEY[:3], unit), (*PEER[:3], unit)
    tracked = made_up({ours: [before, before, 99.0], peer: [1.0, 1.0, 1.0]})
    return check.compare({"step": made_up({ours: [2 * now] * 2, peer: [2.0] * 2})}, {"step": tracked})


def test_finds_a_fifth_more_and_not_a_tenth_more(made_up):
    assert compared(made_up, 0.5, 0.6) == (
        1,
        ["step: resnet20, none, step, keras_norms over keras: 0.50 before, 0.60 now"],
        [],
    )
    assert compared(made_up, 0.5, 0.55) == (1, [], [])
    assert compared(made_up, 0.5, 0.3) == (1, [], [])


def test_worse_in_each_round_is_worse(made_up):
    tracked = made_up({KEY: [1.0, 9.0], PEER: [1.0, 9.0]})
    fresh = {KEY: [1.3, 1.6, 1.3], PEER: [1.0, 1.5, 1.1]}
    assert len(check.compare({"step": made_up(fresh)}, {"step": tracked})[1]) == 1
    fresh[KEY][1] = 1.4  # as noisy as the machine
    assert check.compare({"step": made_up(fresh)}, {"step": tracked}) == (1, [], [])


def test_seconds_that_were_taken_once_are_not_compared(made_up):
    once = made_up({KEY: [1.0], PEER: [1.0]})
    assert check.compare({"step": made_up({KEY: [2.0], PEER: [1.0]})}, {"step": once}) == (0, [], [])
    bytes_ = [made_up({(*KEY[:3], "B"): [ours], (*PEER[:3], "B"): [1.0]}) for ours in (1.0, 2.0)]
    assert len(check.compare({"step": bytes_[1]}, {"step": bytes_[0]})[1]) == 1


def test_of_images_a_second_less_is_worse(made_up):
    assert compared(made_up, 2.0, 2.4, "images/s")[1] == []
    assert len(compared(made_up, 2.0, 1.6, "images/s")[1]) == 1


def test_says_what_could_not_be_compared(made_up):
    torch, other = ("resnet20, none", "torch", "step", "s"), ("resnet50, none", "keras_norms", "step", "s")
    fresh = {
        "step": made_up({KEY: [1.0] * 2, PEER: [1.0] * 2}, absent={"torch": "not installed: No module named 'torch'"}),
        "scaling": made_up({KEY: [1.0]}),
    }
    tracked = {"step": made_up({KEY: [1.0] * 2, torch: [1.0] * 2, other: [1.0] * 2}), "layers": made_up({})}
    assert check.compare(fresh, tracked) == (
        0,
        [],
        [
            "layers: no fresh results",
            "step: resnet20, none, step, keras_norms over keras: not in the tracked results",
            "step: resnet20, none, step, keras_norms over torch: not measured now",
            "step: torch: not installed: No module named 'torch'",
            "scaling: no tracked results",
        ],
    )


@pytest.mark.parametrize(("now", "status"), [(1.1, 0), (1.2, 1)])
def test_command_ends_with_one_where_something_got_worse(made_up, tmp_path, monkeypatch, capsys, now, status):
    for folder, ours in [("fresh", now), ("tracked", 1.0)]:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "step.json").write_text(json.dumps(made_up({KEY: [ours] * 2, PEER: [1.0] * 2})))
    monkeypatch.setattr(sys, "argv", ["check", f"{tmp_path}/fresh", "--tracked", f"{tmp_path}/tracked"])
    with pytest.raises(SystemExit) as ended:
        check.main()
    assert ended.value.code == status
    assert ("1.00 before, 1.20 now" in capsys.readouterr().out) == bool(status)
