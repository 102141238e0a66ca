"""What a frozen teacher hands to the student: views, prompts and the signals they leave on disk."""
