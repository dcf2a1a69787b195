"""Lowerings of builtins that are not taken as they are; modules are found by themselves."""
