"""IR → TFLite flatbuffer."""

from edgec.emit.flatbuffer import Flatbuffer, emit

__all__ = ["Flatbuffer", "emit"]
