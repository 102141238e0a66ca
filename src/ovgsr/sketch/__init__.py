"""SketchSWiG: the embedded default world, drawn by the package itself and written in the SWiG layout."""
