"""Systems that serve readers otherwise, studied one file each: their own headline effect, then by smooth goodput."""
