"""Values and decisions without I/O: no module here may touch disk, clock, loop or network."""
