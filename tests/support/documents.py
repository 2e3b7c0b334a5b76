"""Documents with given bits per byte."""

import math

from hf_core_bpb.types import Scored


def scored_documents(*bits_per_byte, num_bytes=100):
    """Return the sums of one document for each value, all of the same size."""
    return [Scored(total_nats=b * num_bytes * math.log(2), num_tokens=10, num_bytes=num_bytes) for b in bits_per_byte]
