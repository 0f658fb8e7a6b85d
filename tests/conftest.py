"""What holds for every test."""

import os

from hypothesis import settings

# The first call of a kernel compiles it, or loads it from the cache; a deadline would measure that. The examples
# are the same in every run, so that luck does not decide what lands; HYPOTHESIS_PROFILE=explore looks for new.
settings.register_profile("house", deadline=None, max_examples=100, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "house"))
