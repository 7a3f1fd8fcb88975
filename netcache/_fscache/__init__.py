"""Identity and life of cached things, and the ports between the engine and a store on disk."""
