"""Prices on disk: bundled datasets, imports of anybody's files, updates of what was imported.

::

    manifest        <ID>.toml: what is promised about a data file
    tables          a data file as columns of text, strictly: how a dataset is read back
    dataset         checked, read-only series, and where they are found
    oddities        what is allowed but worth a warning
    revisions       whether two versions of a series agree, and what a revision changed

    import_options  what the user says about a file
    dates           the readings that a column of dates allows
    number_forms    the readings that a column of numbers allows
    reading         anybody's bytes as a table: CSV, workbook, Parquet, Feather
    importer        a table becomes checked series, and those datasets
    update          sessions are appended to one, values of old ones revised
    refresh         the command that gets new sessions, and how it went
"""
