"""The small training in a process that may not have more than 8 GB of addresses."""

import pathlib
import resource
import runpy

resource.setrlimit(resource.RLIMIT_AS, (8 * 10**9, 8 * 10**9))
runpy.run_path(str(pathlib.Path(__file__).parent / "small.py"), run_name="__main__")
