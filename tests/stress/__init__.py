"""Many processes on one cache: a random tester whose every byte read is compared; see ``rig``."""
