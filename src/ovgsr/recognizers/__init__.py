"""Recognizers: whatever turns a picture and a vocabulary into situations, behind one protocol."""
