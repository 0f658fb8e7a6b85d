"""What to do about a cause that was found."""

from agent.recommendations.rules import advise, recommend

__all__ = ["advise", "recommend"]
