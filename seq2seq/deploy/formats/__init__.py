"""Formats of exported models: each is a file that is named like its word in `ExportFormat`."""
