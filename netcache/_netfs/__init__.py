"""The request path: from a read or write of a resource to exchanges and cache operations."""
