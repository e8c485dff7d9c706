"""One load by dlt, run by the peer's own interpreter: FOLDER DSN TABLE DESTINATION.

Written as dlt's documentation tells: the sql_database source with the connectorx
backend, an incremental cursor, and a merge by primary key.
"""

import importlib
import sys
from typing import Any

# Not in the project's environment.
dlt: Any = importlib.import_module("dlt")
sql_database: Any = importlib.import_module("dlt.sources.sql_database")


def main(folder: str, dsn: str, table: str, destination: str) -> None:
    """Load what is new; the pipeline's state stands in the folder."""
    schema, name = table.split(".")
    rows = sql_database.sql_table(
        credentials=dsn,
        schema=schema,
        table=name,
        backend="connectorx",
        incremental=dlt.sources.incremental("updated_at"),
    )
    to = dlt.destinations.filesystem(destination)
    if not destination.startswith("s3:"):
        rows.apply_hints(primary_key="id", write_disposition="merge")
        to = dlt.destinations.duckdb(destination)
    pipeline = dlt.pipeline(
        "peer", pipelines_dir=folder, destination=to, dataset_name="main"
    )
    pipeline.run(rows, loader_file_format="parquet")


if __name__ == "__main__":
    main(*sys.argv[1:])
