"""Where the lists are read that decide who can reach a VM."""

from shared.domain.ids import places_in
from shared.ports import Inventory, Listed

__all__ = ["Inventory", "Listed", "places_in"]
