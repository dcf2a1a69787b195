"""Known faults of TFLite files that older tools left behind: found, explained, mended."""

from edgec.doctor.examine import Diagnosis, examine, mend

__all__ = ["Diagnosis", "examine", "mend"]
