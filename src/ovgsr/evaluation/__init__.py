"""Scoring predictions, of any system: the SWiG metrics under named profiles, and the open-vocabulary results."""
