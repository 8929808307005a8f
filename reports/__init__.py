"""What a stored run and its verdict look like to a reader: HTML, Markdown, JUnit, plain text."""
