"""What all tests share; lying here, it also lets them import `fixtures`, which lies beside it."""

import os

# Before anything imports code-loader, which would otherwise look for the network.
os.environ.setdefault("TL_DISABLE_ANALYTICS", "true")
