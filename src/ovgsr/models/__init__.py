"""The student: image and text encoders, the situation transformer, and its way in and out of files."""
