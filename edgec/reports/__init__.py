"""What a compile has to say: the report and its renderers, the manifest, and the comparison of two runs."""
