"""The front door: OTLP in, validated, split by owner, durable, acknowledged."""
