"""What a board file may say; every field is one fact about the board.

rpi5.toml ──load──▶ Target ──profile──▶ constraints of its kernel library (edgec/legalize)
                      │
                      └──cpu, memory──▶ budgets, notes and the table of `edgec targets`
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, StringConstraints, model_validator

Precision = Literal["float32", "float16", "dynamic", "int8", "int16x8"]
Profile = Literal["litert_xnnpack", "tflm"]
# Only features that change which kernels run: SIMD width, int8 dot products, half-precision arithmetic.
Feature = Literal["neon", "fp16", "dotprod", "i8mm", "dsp", "fpu", "mve"]

Sentence = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
BoardName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]*$")]


class _Facts(BaseModel):
    """Frozen, and strict: a misspelt key or a number in quotes is an error, not a silent default."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Cpu(_Facts):
    """The processor. `clock_mhz` is the slowest model sold, so that estimates err on the safe side."""

    arch: Literal["any", "armv8-a", "armv8.2-a", "armv7e-m"]
    core: Sentence | None = None
    cores: int | None = Field(default=None, gt=0)
    clock_mhz: int | None = Field(default=None, gt=0)
    features: Annotated[tuple[Feature, ...], Field(strict=False)] = ()


class Memory(_Facts):
    """Memory in KiB of the smallest model sold; `tensor_arena_kib` is the largest arena that fits."""

    ram_kib: int | None = Field(default=None, gt=0)
    flash_kib: int | None = Field(default=None, gt=0)
    tensor_arena_kib: int | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _arena_fits(self) -> Memory:
        if self.ram_kib is not None and (self.tensor_arena_kib or 0) > self.ram_kib:
            raise ValueError(f"tensor_arena_kib {self.tensor_arena_kib} is more than ram_kib {self.ram_kib}")
        return self


class Target(_Facts):
    """A board, and the name of the kernel-library profile whose constraints its models must meet."""

    name: BoardName
    description: Sentence
    profile: Profile
    cpu: Cpu
    memory: Memory = Memory()
    dynamic_shapes: bool
    precisions: Annotated[tuple[Precision, ...], Field(strict=False, min_length=1)]
    notes: Annotated[tuple[Sentence, ...], Field(strict=False)] = ()
    sources: Annotated[dict[Sentence, HttpUrl], Field(strict=False)] = {}

    def has(self, feature: Feature) -> bool:
        """Say whether the processor has a feature, e.g. `has("dotprod")`."""
        return feature in self.cpu.features
