"""Where a system's words are lost: by speaker, vocabulary, search, language model, acoustics and alignment."""
