"""`demo`: a sample shop from Aurora to Snowflake, told step by step."""
