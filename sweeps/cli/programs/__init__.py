"""The output of verbs with `--json`: pydantic models, and how they are filled. Described in docs/for-programs.md."""
