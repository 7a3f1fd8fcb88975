"""The store on disk: sparse files, labels, room; the format of Linux cachefiles."""
