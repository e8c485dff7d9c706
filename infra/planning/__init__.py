"""What a deployment would change, found before it runs; nothing is changed here."""
