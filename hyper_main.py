"""``python hyper_main.py --config c.yaml`` does what ``lightning-anneal search --config c.yaml`` does."""

import sys

from lightning_anneal.cli import main

if __name__ == "__main__":
    sys.exit(main(["search", *sys.argv[1:]]))
