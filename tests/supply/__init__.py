"""What the project takes in: known vulnerabilities, secrets, workflows."""
