"""Calibration: real samples in, value ranges out, both streamed.

    folder · npz · npy · module:function · iterable ──data──▶ SampleSet
    SampleSet ──watch──▶ Histograms ──choose──▶ Ranges ──▶ quantize        (`ranges` is the front door)
    SampleSet ──audit──▶ what the samples are worth

`instrument` makes the model that is run, `statistics` holds what is remembered of its tensors, `clipping` has
the rules that observers are named after, `saturation` ends ranges where readers saturate, `cache` finds
ranges again. Memory depends on the size of one sample, never on their number.
"""
