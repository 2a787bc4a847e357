"""What `gpuwarden doctor` looks at: one file a check, one line here. Each is a function from a Place to what it found.

Checks read; none changes anything, asks for a clock, or connects where a connection would displace somebody.
"""

from typing import Final

# Name to module, whose `check` is the check. A module is imported only as its check runs: one that cannot be says so alone.
CHECKS: Final = {
    "software": "software",
    "config": "config_files",
    "names": "node_names",
    "keys": "node_keys",
    "floors": "floors",
    "limiter socket": "limiter_socket",
    "nvml": "nvml",
    "other setters": "other_setters",
    "slurm": "slurm",
    "kafka": "kafka_topics",
    "controller": "controller_health",
    "metrics": "metrics_pages",
    "units": "units",
    "disk": "disk_space",
    "open files": "open_files",
    "boot clock": "boot_clock",
}
