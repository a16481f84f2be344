"""What every package may use: identifiers, errors, limits, clocks. Imports nothing of keephold."""
