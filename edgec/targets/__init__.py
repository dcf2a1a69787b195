"""Boards that edgec compiles for: facts about each, and the kernel library that runs there."""

from edgec.targets.load import list_targets, load_target
from edgec.targets.model import Cpu, Memory, Target
from edgec.targets.table import TargetRow, targets_table

__all__ = ["Cpu", "Memory", "Target", "TargetRow", "list_targets", "load_target", "targets_table"]
