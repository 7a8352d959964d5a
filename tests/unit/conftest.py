"""How the properties are tried: no time limit for one example, since machines are busy."""

from hypothesis import settings

settings.register_profile("unit", deadline=None)
settings.load_profile("unit")
