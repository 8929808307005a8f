"""Prices on disk: bundled datasets, imports of anybody's files, updates of what was imported.

::

    manifest    <ID>.toml: what is promised about a data file
    tables      a data file as columns of text, strictly: how a dataset is read back
    dataset     checked, read-only series, and where they are found
    oddities    what is allowed but worth a warning

    text        a cell as plain text; what stands for a missing value
    dates       the readings that a column of dates allows
    numbers     the readings that a column of numbers allows
    rows        which row is the header, where a table ends
    reading     anybody's bytes as a table: CSV, workbook, Parquet, Feather
    building    a table as checked series: missing values, order, units
    importer    a user's file becomes a dataset
    agreement   whether rows that two series share are the same
    update      sessions are appended to one, values of old ones revised
    revisions   what revisions changed
    refresh     the command that gets new sessions, and how it went
"""
