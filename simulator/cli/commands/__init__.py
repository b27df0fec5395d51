"""The commands of ``servesim``: one file each."""
