"""The pilot study's name for `pipeline mask`: same options, same work."""

import sys

from pipeline.cli import app
from pipeline.command import run_app

if __name__ == "__main__":
    run_app(app, ["mask", *sys.argv[1:]])
