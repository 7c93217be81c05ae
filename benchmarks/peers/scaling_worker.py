"""A worker of a run (TF_CONFIG): reads numbers of steps, a line each, and writes a line when they are made."""

import sys
import tempfile

from benchmarks.peers import scaling_steps


def main():
    told, sys.stdout = sys.stdout, sys.stderr
    with tempfile.TemporaryDirectory() as folder:
        made = scaling_steps.chain_run(folder)
        for line in sys.stdin:
            made.advance(int(line))
            print("made", file=told, flush=True)


if __name__ == "__main__":
    main()
