import csv
import html.parser
import io
import itertools
import os
import re

import pytest

pytest.importorskip("scipy")
pytest.importorskip("matplotlib")

from keras_norms import recipes, reports
from keras_norms.recipes import curves
from keras_norms.reports import report
from tests.reports import made_up

ELEMENTS = ("table", "caption", "figure", "figcaption")
EMPTY = {"meta", "wbr", "br", "img", "link", "hr"}


class Reader(html.parser.HTMLParser):
    """Checks that elements are closed in order, and keeps them, their attributes and their text."""

    def __init__(self):
        super().__init__()
        self.open, self.elements, self.text = [], [], []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.text.append(data)


def know(patch):
    patch.setattr(recipes, "STUDIES", {"made_up": made_up.STUDY})
    patch.setattr(recipes, "PUBLISHED", made_up.PUBLISHED)
    patch.setattr(curves, "published", lambda name: made_up.CURVE)


@pytest.fixture
def known(monkeypatch):
    know(monkeypatch)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A report that no test changes."""
    folder = made_up.write(tmp_path_factory.mktemp("reports") / "study")
    (folder / "notes.md").write_text("## So\n\nA `word`, **bold** & <b>.\n\n- one\n- two\n")
    with pytest.MonkeyPatch.context() as patch:
        know(patch)
        return reports.write(folder, folder.parent / "report").parent


@pytest.fixture(scope="module")
def page(written):
    reader = Reader()
    reader.feed((written / "report.html").read_text())
    reader.close()
    assert reader.open == []
    return reader


def test_writes_these_files(written):
    assert {path.name for path in written.iterdir()} == {
        "report.md", "report.html", "results.csv", "curves.png", "published_test_accuracy.png", "norms_by_depth.png",
        "norms_by_step.png", "gradients_by_depth.png",
    }  # fmt: skip


def test_same_results_give_the_same_bytes(written, known, tmp_path):
    again = reports.write(written.parent / "study", tmp_path / "again").parent
    for path in written.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes(), path.name


def test_page_needs_nothing_else(page, written):
    assert not {"script", "link", "img", "iframe", "object", "image"} & {tag for tag, _ in page.elements}
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            if re.search(r"https?:|//", value or ""):
                assert (tag, name) == ("a", "href"), (tag, name, value)
    style = re.search("<style>(.*?)</style>", (written / "report.html").read_text(), re.S)[1]
    assert "url(" not in style
    assert "@import" not in style


def test_page_can_be_read_by_all(page):
    tags = dict(page.elements)
    assert tags["html"]["lang"] == "en"
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in page.elements
    for tag, attributes in page.elements:
        assert tag != "th" or attributes["scope"] in ("col", "row")
        assert tag != "svg" or len(attributes["aria-label"]) > 20
    counts = {
        name: sum(tag == name for tag, _ in page.elements) for name in ("table", "caption", "figure", "figcaption")
    }
    assert counts["table"] == counts["caption"] == 5
    assert counts["figure"] == counts["figcaption"] == 5


def test_names_inside_the_pictures_are_found_and_unique(page):
    names = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    used = {value[1:] for _, attributes in page.elements for name, value in attributes.items() if name == "xlink:href"}
    used |= {found for _, attributes in page.elements for found in re.findall(r"url\(#(.*?)\)", str(attributes))}
    assert len(names) == len(set(names))
    assert used <= set(names)


def test_text_is_not_markup(page, written):
    text = "".join(page.text)
    assert made_up.PUBLISHED["b"].label in text
    assert "The loss was | <nan> & more." in text
    assert "A word, bold & <b>." in text
    markdown = (written / "report.md").read_text()
    assert r"b \| &lt;i&gt; &amp; \`code\` \$x\$ `b`" in markdown
    assert r"The loss was \| &lt;nan&gt; &amp; more." in markdown
    assert "A `word`, **bold** & <b>." in markdown


def test_tables_of_markdown_are_rectangles(written):
    rows = [line for line in (written / "report.md").read_text().splitlines() if line.startswith("|")]
    widths = [len(re.findall(r"(?<!\\)\|", row)) for row in rows]
    rules = [place for place, row in enumerate(rows) if set(row) <= set("|-: ")]
    assert len(rules) == 5
    for first, last in itertools.pairwise([*rules, len(rows) + 1]):
        assert len(set(widths[first - 1 : last - 1])) == 1
    assert widths[:6] == [11] * 6


def test_pictures_of_markdown_are_there(written):
    names = re.findall(r"\]\((\S+\.png)\)", (written / "report.md").read_text())
    assert {*names} == {path.name for path in written.glob("*.png")}
    assert all((written / name).read_bytes().startswith(b"\x89PNG") for name in names)


def test_csv_has_a_line_a_row_and_seed(written):
    lines = list(csv.DictReader(io.StringIO((written / "results.csv").read_text())))
    assert [(line["recipe"], line["seed"]) for line in lines] == [
        (row, str(seed)) for row in "abcd" for seed in range(3)
    ]
    first, failed = lines[0], lines[5]
    assert (first["study"], first["test_accuracy"], first["published"], first["seconds"], first["commit"]) == (
        "made_up", "0.5", "0.5", "300.0", "0123abc",
    )  # fmt: skip
    assert (first["parameters"], first["steps"], first["status"], first["error"]) == ("1234567", "30", "ended", "")
    assert (failed["published"], failed["status"], failed["error"]) == (
        "0.55",
        "failed",
        "The loss was | <nan> & more.",
    )
    assert (failed["test_accuracy"], failed["seconds"], lines[-1]["status"]) == ("", "", "missing")


def test_notes_of_the_report_come_before_those_of_the_study(known, folder, tmp_path):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "notes.md").write_text("First.")
    (folder / "notes.md").write_text("Second.")
    text = reports.write(folder, tmp_path / "report").read_text()
    assert text.index("## Observations") < text.index("First.") < text.index("Second.") < text.index("## Results")


def test_a_file_that_cannot_be_written_stays_as_it_was(known, folder, tmp_path, monkeypatch):
    path = reports.write(folder, tmp_path / "report")
    before = path.read_bytes()
    monkeypatch.setattr(report, "files", lambda *_: {"report.md": b"half"})

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        reports.write(folder, tmp_path / "report")
    assert path.read_bytes() == before
    assert not list(path.parent.glob("*.tmp"))


def test_unknown_studies_are_refused(known, folder, tmp_path):
    made_up.write_study(folder, 1, "other")
    with pytest.raises(ValueError, match="Received: the study 'other'"):
        reports.write(folder, tmp_path / "report")
