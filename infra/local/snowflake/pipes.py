"""Auto-ingest pipes: S3 tells an SNS topic, the topic our queue, the queue us.

Events may come twice, late and out of order. A file goes to every pipe whose stage
and path are a prefix of its key, and whose pattern the rest of the key matches.
"""

import json
import logging
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote_plus

import duckdb
from botocore.exceptions import BotoCoreError, ClientError
from snowflake.connector.errors import Error as SnowflakeError

from infra.local import aws
from infra.local.parts import LocalStack
from infra.local.snowflake.integrations import NOTIFICATION
from infra.local.snowflake.copy import location, read_copy, storage
from infra.local.snowflake.loads import Loads
from infra.local.snowflake.objects import Catalog
from infra.local.snowflake.reader import Name, Reader

_QUEUE = aws.SNOWPIPE_QUEUE_PREFIX + "local"
_REFRESH_DAYS = 7
_WORKERS = 3
_POLL_SECONDS = 2
_log = logging.getLogger(__name__)


class Pipes:
    """All pipes.

    Args:
        stack: The local stack.
        catalog: Where pipes are defined.
        loads: Loads their files.
    """

    def __init__(self, stack: LocalStack, catalog: Catalog, loads: Loads) -> None:
        self._stack = stack
        self._catalog = catalog
        self._loads = loads
        self._lock = threading.Lock()
        self._loading: set[tuple[Name, str]] = set()
        self._errors: dict[Name, str] = {}
        self._received_at = ""
        self._stop = threading.Event()
        self._poller: threading.Thread | None = None
        self._pool = ThreadPoolExecutor(_WORKERS, "load")

    def start(self) -> None:
        """Listen for files, if there is a pipe."""
        with self._lock:
            if self._poller is None and any(self._catalog.all("PIPE")):
                self._poller = threading.Thread(target=self._poll, daemon=True)
                self._poller.start()

    def stop(self) -> None:
        """Finish the loads under way and begin no others."""
        self._stop.set()
        self._pool.shutdown(cancel_futures=True)

    def create(self, name: Name, reader: Reader) -> None:
        """Make a pipe from the rest of CREATE PIPE."""
        options = reader.options("AS")
        reader.need("AS")
        text = reader.rest()
        topic = options.pop("AWS_SNS_TOPIC", "")
        auto = options.pop("AUTO_INGEST", False)
        comment = options.pop("COMMENT", "")
        told = options.pop("ERROR_INTEGRATION", "")
        if told:
            self._catalog.get(NOTIFICATION, Name("", "", told))
        if options or auto is not True or not topic:
            reader.refuse(
                "AUTO_INGEST = TRUE, AWS_SNS_TOPIC = '…', ERROR_INTEGRATION = …, "
                "COMMENT"
            )
        copy = read_copy(Reader(text, name.database, name.schema), self._catalog)
        if copy.files or copy.force or not copy.skip_file:
            reader.refuse("a pipe's COPY without FILES and FORCE, ON_ERROR = SKIP_FILE")
        if copy.table.database != name.database:
            reader.refuse("a table in the pipe's own database")
        self._loads.check(copy)
        definition = {
            "definition": text,
            "table": copy.table,
            "stage": copy.stage,
            "path": copy.path,
            "pattern": copy.pattern,
            "topic": topic,
            "notification_channel": self._subscribe(topic)[1],
            "paused": False,
            "error_integration": told,
            "comment": comment,
        }
        # A recreated pipe has forgotten what it loaded.
        self._loads.forget(name)
        self._errors.pop(name, None)
        self._catalog.put("PIPE", name, definition)
        self.start()

    def drop(self, name: Name) -> None:
        """Remove a pipe and its memory of files."""
        self._catalog.drop("PIPE", name)
        self._loads.forget(name)

    def pause(self, name: Name, paused: bool) -> None:
        """Let a pipe's files wait, or load them."""
        self._catalog.get("PIPE", name)
        self._catalog.update("PIPE", name, paused=paused)
        self._dispatch()

    def refresh(self, name: Name, prefix: str, after: str) -> list[dict[str, Any]]:
        """Queue what stands in the bucket and was never seen by the pipe.

        Args:
            name: The pipe.
            prefix: Only files below this folder of the pipe's path.
            after: Only files changed after this ISO time.
        """
        bucket, folder = self._place(name)
        oldest = datetime.now(UTC) - timedelta(days=_REFRESH_DAYS)
        if after:
            oldest = max(oldest, datetime.fromisoformat(after).astimezone(UTC))
        stage = Name(*self._catalog.get("PIPE", name)["stage"])
        pages = storage(stage, self._catalog, self._stack).get_paginator(
            "list_objects_v2"
        )
        found = pages.paginate(Bucket=bucket, Prefix=folder + prefix)
        keys = [
            item["Key"]
            for page in found
            for item in page.get("Contents", [])
            if item["LastModified"] >= oldest
        ]
        sent = [key for key in keys if self._register(name, key)]
        self._dispatch()
        return [{"File": key.removeprefix(folder), "Status": "SENT"} for key in sent]

    def status(self, name: Name) -> str:
        """Return what SYSTEM$PIPE_STATUS tells."""
        pipe = self._catalog.get("PIPE", name)
        shown = {
            "executionState": "PAUSED" if pipe["paused"] else "RUNNING",
            "pendingFileCount": len(self._loads.pending(name)),
            "notificationChannelName": pipe["notification_channel"],
        }
        if self._received_at:
            shown["lastReceivedMessageTimestamp"] = self._received_at
        if name in self._errors:
            shown["error"] = self._errors[name]
        return json.dumps(shown)

    def _place(self, name: Name) -> tuple[str, str]:
        """Return bucket and key prefix of a pipe's files."""
        pipe = self._catalog.get("PIPE", name)
        return location(Name(*pipe["stage"]), pipe["path"], self._catalog)

    def _register(self, name: Name, key: str) -> bool:
        pipe = self._catalog.get("PIPE", name)
        below = key.removeprefix(self._place(name)[1])
        if pipe["pattern"] and not re.fullmatch(pipe["pattern"], below):
            return False
        url = str(self._catalog.get("STAGE", Name(*pipe["stage"]))["URL"])
        return self._loads.register(name, Name(*pipe["table"]), url, key)

    def _subscribe(self, *more: str) -> tuple[str, str]:
        """Let the pipes' topics reach our queue; return its URL and ARN.

        Repeated at every start, it also mends what was lost in the cloud.
        """
        topics = {pipe["topic"] for _, pipe in self._catalog.all("PIPE")} | set(more)
        sqs = aws.client(self._stack, "sqs", "snowflake")
        url = str(sqs.create_queue(QueueName=_QUEUE)["QueueUrl"])
        told = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        arn = str(told["Attributes"]["QueueArn"])
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": sorted(topics)}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        sns = aws.client(self._stack, "sns", "snowflake")
        for topic in more or topics:
            sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        return url, arn

    def _poll(self) -> None:
        sqs = aws.client(self._stack, "sqs", "snowflake")
        url = ""
        while not self._stop.is_set():
            try:
                url = url or self._subscribe()[0]
                self._dispatch()
                answer = sqs.receive_message(
                    QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=_POLL_SECONDS
                )
                for message in answer.get("Messages", []):
                    self._receive(message["Body"])
                    handle = message["ReceiptHandle"]
                    sqs.delete_message(QueueUrl=url, ReceiptHandle=handle)
            except (BotoCoreError, ClientError, duckdb.Error) as error:
                _log.warning("cannot receive events: %s", error)
                url = ""
                self._stop.wait(_POLL_SECONDS)

    def _receive(self, body: str) -> None:
        self._received_at = datetime.now(UTC).isoformat()
        for bucket, key in _created(body):
            for name, _ in self._catalog.all("PIPE"):
                try:
                    own_bucket, folder = self._place(name)
                    if bucket == own_bucket and key.startswith(folder):
                        self._register(name, key)
                except SnowflakeError as error:
                    # Its stage is gone: the pipe misses the file, as Snowflake's.
                    self._errors[name] = str(error)

    def _dispatch(self) -> None:
        """Begin to load what is pending; what is under way already is left alone."""
        for name, pipe in self._catalog.all("PIPE"):
            for key in () if pipe["paused"] else self._loads.pending(name):
                with self._lock:
                    if (name, key) in self._loading or self._stop.is_set():
                        continue
                    self._loading.add((name, key))
                self._pool.submit(self._load, name, key)

    def _load(self, name: Name, key: str) -> None:
        error = ""
        try:
            # Since it was seen pending, another worker may have loaded it.
            if key in self._loads.pending(name):
                text = self._catalog.get("PIPE", name)["definition"]
                reader = Reader(text, name.database, name.schema)
                copy = read_copy(reader, self._catalog)
                error = self._loads.load(name.sql, copy, key)[1]
        except Exception as failure:
            # The file stays pending and comes again: S3 may only be away.
            error = str(failure)
        finally:
            with self._lock:
                self._loading.discard((name, key))
        if error:
            _log.warning("pipe %s, file %s: %s", name.sql, key, error)
            self._errors[name] = error
        else:
            self._errors.pop(name, None)


def _created(body: str) -> Iterator[tuple[str, str]]:
    """Yield bucket and key of every object that a queue's message says is new.

    S3 sends a test event without records; anything else is not for us.
    """
    try:
        records = json.loads(json.loads(body)["Message"]).get("Records", [])
        for record in records:
            if record["eventName"].startswith("ObjectCreated:"):
                entity = record["s3"]
                yield entity["bucket"]["name"], unquote_plus(entity["object"]["key"])
    except (ValueError, KeyError, TypeError, AttributeError):
        _log.warning("message is no S3 event: %s", body[:200])
