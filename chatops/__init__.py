"""Where people meet the agent: the terminal first."""
