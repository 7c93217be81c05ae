"""The report of a study: Markdown, CSV and HTML from what its folder holds at this moment."""

import dataclasses
import os
import pathlib

from keras_norms import recipes
from keras_norms.recipes import curves
from keras_norms.reports import blocks, content, html, markdown, pictures, results, table

_NOTES = "notes.md"


def write(study_folder, report_folder):
    """Writes the report of a study, also of one that is not finished.

    `notes.md` in either folder, written by hand, becomes its observations.

    Args:
        study_folder: Path, where drivers/study.py has trained the rows.
        report_folder: Path, for `report.md`, its pictures, `results.csv` and `report.html`. Each file is complete or
            as it was before.

    Returns:
        Path of `report.md`.

    Raises:
        ValueError: `study_folder` does not hold a known study.
        OSError: Something cannot be written.
    """
    study_folder, report_folder = pathlib.Path(study_folder), pathlib.Path(report_folder)
    name = results.study_of(study_folder)
    if name not in recipes.STUDIES:
        raise ValueError(f"`study_folder` must hold one of {list(recipes.STUDIES)}. Received: the study {name!r}.")
    study = recipes.STUDIES[name]
    found = results.read(study_folder, study, recipes.PUBLISHED)
    found = dataclasses.replace(found, notes=_notes(report_folder, study_folder))
    report_folder.mkdir(parents=True, exist_ok=True)
    for file, content_of in files(found, curves.published).items():
        _replace(report_folder / file, content_of)
    return report_folder / "report.md"


def files(found, curve_of):
    """Returns the files of a report, a dict of bytes by name, `report.md` last.

    Args:
        found: `results.Results`.
        curve_of: Function of the name of a published curve that returns its points.
    """
    page = content.page(found, curve_of)
    drawn = {f"{one.name}.png": pictures.png(one) for one in page.blocks if isinstance(one, blocks.Picture)}
    return {
        **drawn,
        "results.csv": table.text(found).encode(),
        "report.html": html.render(page).encode(),
        "report.md": markdown.render(page).encode(),
    }


def _notes(*folders):
    return "\n\n".join((folder / _NOTES).read_text() for folder in folders if (folder / _NOTES).exists())


def _replace(path, content_of):
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_bytes(content_of)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
