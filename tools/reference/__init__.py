"""What docs/ takes from the code: tables and reference pages, written between markers and compared by a test.

    PYTHONPATH=tools python -m reference             writes them anew
    PYTHONPATH=tools python -m reference --check     says which are stale

A page holds `<!-- generated: NAME -->` and `<!-- end -->`; what stands between them is `SECTIONS[NAME]()`. The
rest of the page is its author's.
"""
