"""Words, titles and number formats of the reports."""
