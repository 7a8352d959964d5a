"""Write the rows of this version anew: `python -m tests.versions`, after a row has changed."""

from tests.versions.life import CURRENT, write

write(CURRENT)
