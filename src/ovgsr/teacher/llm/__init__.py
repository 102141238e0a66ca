"""Language models behind one interface: any OpenAI-compatible server, or a local Hugging Face model."""
