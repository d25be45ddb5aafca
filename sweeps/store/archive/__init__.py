"""A store in one file: a zip archive that can be committed, sent or published, and read as any other store."""
