"""What a report says, a file for each matter.

A file that declares `PLACEMENTS` stands in the report; the others draw or word what several need.
"""
