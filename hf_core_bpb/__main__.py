"""`python -m hf_core_bpb`, also under `accelerate launch -m` and `torchrun -m`."""

import os
import sys

from hf_core_bpb.cli.main import main

if __name__ == "__main__":
    code = main()
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        # Everything is written. Native threads of the libraries have been seen to abort the interpreter's
        # shutdown in one process of several, which a launcher reports as a failed run.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
