"""A stream owns sources: it follows its write-ahead log, keeps the hot windows and answers from them."""
