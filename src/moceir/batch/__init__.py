"""Many files: which ones, under what names, in stages that overlap, with a report."""
