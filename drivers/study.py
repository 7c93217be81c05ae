"""Trains all rows of a study, and writes a report that puts them beside the published ones.

    python drivers/study.py bn_placement --dataset imagenette128 --epochs 8 --seeds 3

Flags are those of train.py and hold for all rows, which are trained one after the other. However the command was ended,
it goes on where it was and repeats nothing; a row that failed is reported so. With --parallel it prints the commands of
the rows that are neither trained nor failed, a line each, for several GPUs or machines:

    python drivers/study.py bn_placement --dataset imagenette128 --epochs 8 --parallel | xargs -P 2 -d '\\n' -n 1 sh -c

(or an array of Slurm); after they have run, the same command without --parallel tests and reports.
"""

import pathlib

import environment  # noqa: F401  # first: it sets what TensorFlow reads at its import
import options
import reporting
import rows
from absl import app, flags

from keras_norms import recipes, reports

flags.DEFINE_string("report_dir", None, "folder of the report; `report` in that of the study if not given")
flags.DEFINE_boolean("parallel", False, "print the commands of the rows that are not trained, and train none")
flags.adopt_module_key_flags(options)
flags.adopt_module_key_flags(rows)


def main(argv):
    with reporting.reported("study.py", argv[:1] + argv[2:]):
        name, given = recipes.study_name(argv[1] if argv[1:] else None), flags.FLAGS
        differences = options.overrides()
        folder = pathlib.Path(given.workdir or f"runs/{name}-{differences.get('dataset', 'published')}")
        jobs = rows.jobs(name, folder, differences)
        if given.parallel:
            return print(*rows.command_lines(jobs, name), sep="", end="")
        for number, job in enumerate(jobs, start=1):
            print(f"[{number}/{len(jobs)}] {job.row}, seed {job.seed}: {rows.carried_out(job, name)}", flush=True)
        if failed := sum(job.has_failed for job in jobs):
            print(f"{failed} of {len(jobs)} failed, why is in the report; --retry_failed tries again.")
        print(f"Report: {reports.write(folder, pathlib.Path(given.report_dir or folder / 'report'))}")


if __name__ == "__main__":
    app.run(main)
