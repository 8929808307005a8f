"""The forms a verdict is written in: JSON, JUnit, Markdown, terminal text."""
