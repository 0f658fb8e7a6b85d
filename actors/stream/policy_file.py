"""The policy of metrics that a stream acts on, beside its log: after a restart it holds before the aggregator can
be asked, so that applying the log lets go of no block that a rule keeps.
"""

from __future__ import annotations

import os
from pathlib import Path

from agent.errors import CorruptLog, Malformed
from agent.telemetry.metric_policy import MetricPolicy
from agent.windows.log import sync_folder

NAME = "metric_policy.json"


def load_policy(folder: Path) -> MetricPolicy:
    """Without rules where none was saved. Raises ``CorruptLog`` for a file that is no policy."""
    try:
        return MetricPolicy.from_json((folder / NAME).read_bytes())
    except FileNotFoundError:
        return MetricPolicy()
    except Malformed as error:
        raise CorruptLog(f"{folder / NAME}: {error}; take it away to ask for the policy anew") from None


def save_policy(folder: Path, policy: MetricPolicy) -> None:
    """Written beside, synced, renamed. Raises OSError when the disk refuses; the old one stays then."""
    beside = folder / f"{NAME}.writing"
    with beside.open("wb") as file:
        file.write(policy.to_json())
        file.flush()
        os.fsync(file.fileno())
    beside.rename(folder / NAME)
    sync_folder(folder)
