"""Keras models and SavedModels → IR, by way of a float flatbuffer from TensorFlow's converter."""

from edgec.frontends.keras.importer import import_keras
from edgec.frontends.keras.load import KerasFile, load_keras
from edgec.frontends.keras.program import Program, open_program

__all__ = ["KerasFile", "Program", "import_keras", "load_keras", "open_program"]
