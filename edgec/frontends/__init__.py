"""Front ends: one folder or file for each foreign vocabulary, all ending in the same IR."""
