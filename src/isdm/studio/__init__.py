"""The studio: a page on which people paint masks, see the pictures, and judge synthetic pairs.

Nothing else in this package needs it. The page is plain HTML and JavaScript from this folder; nothing is fetched
from elsewhere.
"""

from isdm.studio.server import serve

__all__ = ["serve"]
