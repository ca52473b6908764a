"""What all tests share: no network, one thread each, the embedded models once."""

import os


# Before anything imports torch or a hub client. A test run never reaches out, and two
# workers of one thread each finish sooner than two that fight for the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["WANDB_MODE"] = "disabled"
os.environ.setdefault("INTERP_PROGRESS", "off")
