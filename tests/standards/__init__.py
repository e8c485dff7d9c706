"""The standards of .github/CODING_STANDARDS.md that a machine can hold."""
