"""`pytest tests/fuzz --hypothesis-profile=long` runs these for an hour, not seconds."""

from hypothesis import settings


settings.register_profile("long", deadline=None)
