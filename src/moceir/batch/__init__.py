"""Many files: their names, stages that overlap, a report, and shots of a video."""
