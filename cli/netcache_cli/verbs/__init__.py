"""The verbs, a module each; every module has its `command`."""
