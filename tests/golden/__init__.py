"""Generated files: read their diff as part of a change."""
