"""The window of Prometheus series: label index, recent samples in chunks, older ones in compressed blocks."""
