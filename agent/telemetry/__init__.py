"""The signals and their codecs: bytes in, columns out. No transport, no clock."""
