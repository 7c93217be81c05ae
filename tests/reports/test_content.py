import dataclasses
import json

import pytest

pytest.importorskip("scipy")

from keras_norms.reports import blocks, content, results
from tests.reports import made_up


def page(found):
    return content.page(found, lambda name: made_up.CURVE)


def tables(found):
    """Returns the lines of each table of a page, dicts by the titles of their columns, by caption."""
    return {
        block.caption: [dict(zip([column.title for column in block.columns], row, strict=True)) for row in block.rows]
        for block in page(found).blocks
        if isinstance(block, blocks.Table)
    }


def table(found, beginning):
    (lines,) = (lines for caption, lines in tables(found).items() if caption.startswith(beginning))
    return lines


def sentences(found):
    texts = [block.text for block in page(found).blocks if isinstance(block, (blocks.Paragraph, blocks.Heading))]
    return [
        *texts,
        *(item for block in page(found).blocks if isinstance(block, blocks.Bullets) for item in block.items),
    ]


def test_main_table_has_a_line_a_row_in_order(found):
    a, b, c, d = table(found, "Test accuracy")
    assert [line["Row"].code for line in (a, b, c, d)] == ["a", "b", "c", "d"]
    assert b["Row"].text == made_up.PUBLISHED["b"].label
    assert (a["Published accuracy"], a["Measured accuracy"], a["Seeds"]) == ("0.500", "0.6000 ± 0.1000", "3")
    assert (a["Measured − published"], a["Against the baseline"], a["p"]) == ("+0.1000", "baseline", "–")


def test_main_table_compares_and_says_what_is_missing(found):
    _, b, c, d = table(found, "Test accuracy")
    assert (b["Published, against baseline"], b["Measured, against baseline"]) == ("+0.0500", "+0.0450")
    # Differences 0.05 and 0.04: t = 9, of one degree of freedom.
    assert (b["p"], b["p (Holm)"]) == ("0.070", "0.070")
    assert b["Against the baseline"] == "cannot be told apart; seed 2 failed: The loss was | <nan> & more."
    assert (c["Measured accuracy"], c["Against the baseline"]) == ("–", "failed: All of it failed. (each seed)")
    assert (d["Published accuracy"], d["Against the baseline"]) == ("–", "not run (each seed)")
    assert c["Published, against baseline"] == "−0.0500"


def test_sentences_on_what_can_be_told(found):
    told = sentences(found)
    assert (
        "4 rows on imagenette128, 12 runs: 5 ended, 4 failed and 3 missing. The training took 15.8 minutes in all."
        in told
    )
    assert any(text.startswith("With 2 seeds 0 of 1 differences in accuracy") for text in told)
    assert any("binomial standard error of up to 0.0050" in text for text in told)
    assert any(text.startswith("The rows were trained on other data") for text in told)
    assert "Not one epoch to draw: Row c and Row d." in told


def test_further_table(found):
    a, _, c, _ = table(found, "Also measured")
    assert a["Training loss"] == "0.6667 ± 0.0000"
    assert (a["Seconds per epoch"], a["Milliseconds per step"]) == ("101.0", "640.0")
    assert (a["Published log-loss"], a["Trainable parameters"]) == ("2.50", "1,234,567")
    assert (c["Training loss"], c["Seconds per epoch"], c["Trainable parameters"]) == ("–", "–", "–")


def test_other_protocols(found):
    (line,) = table(found, "The same networks")
    assert (line["Row"].code, line["Tested how"]) == ("b", "statistics of each batch of 20")
    assert (line["Test accuracy"], line["Minus that of the first table"], line["Minus published"]) == (
        "0.5200", "−0.0300", "−0.0300",
    )  # fmt: skip


def test_a_further_test_that_failed_is_reported(folder):
    made_up.write_failure(folder / "b" / "0", "No memory.")
    _, b, *_ = table(results.read(folder, made_up.STUDY, made_up.PUBLISHED), "Test accuracy")
    assert b["Against the baseline"].startswith("cannot be told apart; seed 0 not tested further: No memory.; seed 2")


def test_errors_are_printed_where_errors_are_published(folder):
    published = {
        name: made_up.published(name, made_up.reference(value, "test_error"))
        for name, value in {"a": 0.084473, "b": 0.09, "c": 0.08, "d": 0.07}.items()
    }
    a, b, *_ = table(results.read(folder, made_up.STUDY, published), "Test error")
    assert (a["Published error"], a["Measured error"]) == ("0.084473", "0.4000 ± 0.1000")
    assert (b["Published, against baseline"], b["Measured, against baseline"]) == ("+0.0055", "−0.0450")


def test_differences_from_the_recipes_are_said_once(folder):
    entries = {"normalization": "none", "batch_size": 64, "epochs": 3, "steps": None, "drops": [0.5, 0.75]}
    for run, extra in (("a/0", {"batch_size": 32}), ("b/0", {})):
        path = folder / run / "config.json"
        config = json.loads(path.read_text())
        path.write_text(json.dumps({**config, "settings": {**config["settings"], **entries, **extra}}))
    lines = table(results.read(folder, made_up.STUDY, made_up.PUBLISHED), "Entries")
    found = {(line["Entry"], line["Published"], line["Run"]): line["Rows"] for line in lines}
    assert found == {
        ("dataset", "imagenet2012", "imagenette128"): "All rows",
        ("normalization", "batch_norm_before", "none"): "All rows",
        ("batch_size", "64", "32"): "Row a",
        ("epochs", "64", "3"): "All rows",
    }


def test_steps_take_the_place_of_epochs(folder):
    published = {name: made_up.published(name, steps=1000) for name in "abcd"}
    lines = table(results.read(folder, made_up.STUDY, published), "Entries")
    assert ("steps", "1,000", "none") in {(line["Entry"], line["Published"], line["Run"]) for line in lines}
    assert ("epochs", "none", "3") in {(line["Entry"], line["Published"], line["Run"]) for line in lines}


def test_defects_and_what_no_recipe_does(folder):
    published = {
        name: made_up.published(
            name, made_up.reference(0.5, defects=("Known.", f"Only {name}.")), unlike=("Unlike.",)
        )
        for name in "abcd"
    }  # fmt: skip
    told = sentences(results.read(folder, made_up.STUDY, published))
    assert {"All rows: Unlike.", "All rows: Known.", "Row b: Only b."} <= set(told)
    assert told.count("All rows: Known.") == 1


def test_one_row_and_one_seed(tmp_path):
    made_up.write_study(tmp_path, 1)
    made_up.write_run(tmp_path / "a" / "0", [0.5])
    study = dataclasses.replace(made_up.STUDY, rows=("a",))
    found = results.read(tmp_path, study, made_up.PUBLISHED)
    (line,) = table(found, "Test accuracy")
    assert (line["Measured accuracy"], line["Seeds"]) == ("0.5000", "1")
    assert any("no difference between rows can be told" in text for text in sentences(found))


def test_nothing_has_run(tmp_path):
    made_up.write_study(tmp_path, 2)
    found = results.read(tmp_path, made_up.STUDY, made_up.PUBLISHED)
    assert {line["Against the baseline"] for line in table(found, "Test accuracy")} == {"not run (each seed)"}
    assert not [block for block in page(found).blocks if isinstance(block, blocks.Picture)]


def test_a_loss_that_is_no_number_is_called_so(folder):
    made_up.write_run(folder / "d" / "0", [0.5], test_loss=float("nan"))
    *_, d = table(results.read(folder, made_up.STUDY, made_up.PUBLISHED), "Also measured")
    assert d["Test log-loss"] == "not a number"


def test_origin(found):
    told = sentences(found)
    assert "Commit: 0123abc" in told
    assert "Changed in all recipes: dataset=imagenette128" in told
    assert "Machine: Linux-x86_64, cores 2, devices CPU:0" in told
    assert any(block == blocks.Code("python drivers/study.py made_up") for block in page(found).blocks)
