"""The part of a signature that a model and its tokenizer determine."""

from hf_core_bpb.distributed import process_group
from hf_core_bpb.models.language_model import LanguageModel
from hf_core_bpb.tokenization.encode import first_token_id


def sign_model(lm: LanguageModel, batch_tokens: int) -> dict[str, object]:
    """Return tokenizer, first token, context length, dtype and options of loading, by their names in signatures."""
    batches = {"batch-tokens": batch_tokens, "processes": process_group().num_processes}
    return {
        **({"tokenizer": lm.tokenizer_name} if lm.tokenizer_name != lm.name else {}),
        "first": describe_first_token(lm),
        "max-length": lm.max_length,
        "dtype": lm.dtype,
        **lm.loading,
        **(batches if lm.depends_on_batches else {}),
    }


def describe_first_token(lm: LanguageModel) -> str:
    """Return what every sequence begins with: bos, eos or none."""
    if first_token_id(lm.tokenizer) is None:
        return "none"
    return "bos" if lm.tokenizer.bos_token_id is not None else "eos"
