"""PromQL over the windows: the grammar by promql-parser, the evaluation on matrices of series and steps."""
