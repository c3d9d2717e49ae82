"""A trained IDM labels every transition of recordings, however long they are."""
