"""What a stream keeps: the write-ahead log it is fed from, and the hot windows in columns."""
