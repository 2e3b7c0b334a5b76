"""How much this package and the libraries under it say."""

import logging

import datasets
import huggingface_hub
import transformers
from huggingface_hub.utils.tqdm import disable_progress_bars

from hf_core_bpb.distributed import process_group


def set_log_level(name: str) -> None:
    """Have this package and the libraries under it say what is of that level, each line once: on the main process."""
    level = getattr(logging, name.upper()) if process_group().is_main_process else logging.ERROR
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    for library in ("hf_core_bpb", "transformers", "datasets", "huggingface_hub", "accelerate"):
        logging.getLogger(library).setLevel(level)


def quieten_libraries(show_downloads: bool) -> None:
    """Have the libraries show no progress of their own, but of downloads where that is wanted."""
    transformers.utils.logging.disable_progress_bar()
    # Rows are padded on the right only, where nothing that is scored looks.
    logging.getLogger("transformers.modeling_utils").addFilter(lambda said: "may be padded" not in said.getMessage())
    if not show_downloads:
        datasets.disable_progress_bars()
        disable_progress_bars()
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        # The cache was asked for: no need to hear for every dataset that it is used.
        datasets.logging.set_verbosity_error()
