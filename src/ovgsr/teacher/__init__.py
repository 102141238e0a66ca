"""The teacher, offline: a frozen multimodal LLM, its visual tokens on disk, and the rationales that an LLM writes."""
