"""What the evaluate modules bpb and core share, and installing them."""
