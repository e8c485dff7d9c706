"""The checker, by itself: its clock stands still, its AWS is a stub."""
