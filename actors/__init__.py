"""Where the agent runs: Ray actors, each a thin shell round a class of ``agent``."""
