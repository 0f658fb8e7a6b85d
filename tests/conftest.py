"""What holds for every test."""

from hypothesis import settings

# The first call of a kernel compiles it, or loads it from the cache; a deadline would measure that.
settings.register_profile("house", deadline=None, max_examples=60)
settings.load_profile("house")
