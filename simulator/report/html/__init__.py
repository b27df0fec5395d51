"""The report: one HTML file that needs no network, and the document that it shows."""
