"""The local app of ``servesim ui``: a form made from the scenario's schema, and the report of what it asks for."""
