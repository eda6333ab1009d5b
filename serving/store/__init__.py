"""Object storage behind one small port: get, fetch, put, put-if-absent, list, level, delete.

Laws every store keeps (``tests/unit/serving/test_store.py`` holds them against each kind):

- a reader sees an object whole, old or new, never a part of it; when ``put`` returns, the object survives a power cut;
- ``fetch`` tells which version of the object it read: a listing that shows that etag shows those bytes;
- of any number of writers of one key, ``put_if_absent`` answers ``True`` to at most one;
- ``list`` gives keys in code point order, which is the byte order of their UTF-8 and therefore S3's;
- ``prefix`` is a string prefix, not a folder: ``raw/pu`` lists ``raw/pumps/a``;
- ``delete`` of what is not there is no error, so that it can be repeated.

::

    port.py     the port, and what a listing and a reading give
    keys.py     which keys a store can hold
    folder.py   a store in a local folder
    opening.py  from a URI to a store
"""

from serving.store.folder import FolderStore, sync_folder
from serving.store.keys import check_key, check_readable
from serving.store.opening import open_store
from serving.store.port import PART_BYTES, Entry, Fetched, Level, Ranged, Remote, Store

__all__ = [
    "PART_BYTES",
    "Entry",
    "Fetched",
    "FolderStore",
    "Level",
    "Ranged",
    "Remote",
    "Store",
    "check_key",
    "check_readable",
    "open_store",
    "sync_folder",
]
