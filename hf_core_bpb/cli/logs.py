"""How much this package and its dependencies log."""

import logging

import datasets
import huggingface_hub
import transformers
from huggingface_hub.utils.tqdm import disable_progress_bars

from hf_core_bpb.distributed import process_group


def set_log_level(name: str) -> None:
    """Set the log level of this package and its dependencies; other processes than the main one log errors only."""
    level = getattr(logging, name.upper()) if process_group().is_main_process else logging.ERROR
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    for library in ("hf_core_bpb", "transformers", "datasets", "huggingface_hub", "accelerate"):
        logging.getLogger(library).setLevel(level)


def quiet_libraries(show_downloads: bool) -> None:
    """Hide the progress bars of the libraries, except those of downloads on request."""
    transformers.utils.logging.disable_progress_bar()
    # Rows are padded on the right only, after everything that is scored.
    logging.getLogger("transformers.modeling_utils").addFilter(
        lambda record: "may be padded" not in record.getMessage()
    )
    if not show_downloads:
        datasets.disable_progress_bars()
        disable_progress_bars()
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        # Offline, every dataset would log that it comes from the cache.
        datasets.logging.set_verbosity_error()
