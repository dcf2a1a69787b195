"""Calibration: real samples in, value ranges out, both streamed.

    folder · npz · npy · module:function ──data──▶ SampleSet ──float model──▶ Observer ──▶ (min, max)

`data` is the door to the samples (`open_samples`), `observers` holds what watches a tensor.
Memory depends on the size of one sample, never on their number.
"""
