"""Manifests are an unbroken chain: each link is written once and never changed."""

import msgspec
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from runtime.contract.errors import FencedError, LakeError
from runtime.contract.records import ExportedFile, Manifest
from runtime.exporter.lake import Lake
from tests.exporter.conftest import BUCKET
from tests.factories import make_table

TABLE = make_table()
FILE = ExportedFile(key="exports/a.csv", rows=1, bytes=2, stamp="s", columns=3)


@pytest.fixture
def lake(scene):
    return scene.lake(TABLE)


def manifest(seq: int, run: str = "run", **fields) -> Manifest:
    known = {"high": f"2026-01-{seq % 28 + 1:02d}", "low": None, "files": (FILE,)}
    return Manifest(
        table="public.orders",
        seq=seq,
        run=run,
        mode="incremental",
        generation=1,
        contract="c",
        source={"oid": 5},
        committed_at="2026-01-01T00:00:00+00:00",
        **known | fields,
    )


def test_what_is_committed_is_read_back_in_order(lake):
    links = [manifest(1, high=None), manifest(2, files=()), manifest(3)]
    for link in links:
        lake.commit(link)
    assert list(lake.after(0)) == links
    assert list(lake.after(1)) == links[1:]
    assert list(lake.after(3)) == []


def test_numbers_are_in_order_beyond_nine(lake):
    for number in range(8, 13):
        lake.commit(manifest(number))
    assert [link.seq for link in lake.after(8)] == [9, 10, 11, 12]


def test_a_ledger_far_behind_gets_all_that_it_missed(scene, lake):
    """More than are listed at once."""
    body = manifest(1)
    for number in range(1, 105):
        link = msgspec.structs.replace(body, seq=number)
        scene.around.s3.put_object(
            Bucket=BUCKET,
            Key=scene.keys(TABLE).manifest_key(number),
            Body=link.to_json(),
        )
    assert [link.seq for link in lake.after(2)] == list(range(3, 105))


def test_a_manifest_in_the_lake_names_the_one_before(scene, lake):
    lake.commit(manifest(7))
    found = scene.around.s3.get_object(
        Bucket=BUCKET, Key=scene.keys(TABLE).manifest_key(7)
    )
    raw = msgspec.json.decode(found["Body"].read())
    assert raw["prev"] == 6
    assert raw["seq"] == 7
    assert raw["files"] == [msgspec.to_builtins(FILE)]
    assert found["ContentType"] == "application/json"
    assert found["ServerSideEncryption"] == "aws:kms"
    assert found["SSEKMSKeyId"] == scene.around.settings.kms_key_arn


def test_a_link_that_exists_is_never_overwritten(lake):
    lake.commit(manifest(1, "first"))
    with pytest.raises(FencedError, match="another run committed") as caught:
        lake.commit(manifest(1, "second"))
    assert "nothing is lost" in caught.value.remedy
    (link,) = list(lake.after(0))
    assert link.run == "first"


def test_our_own_retry_finds_what_it_has_written(lake):
    """The answer to the first request got lost; the client sends again."""
    lake.commit(manifest(1))
    lake.commit(manifest(1))
    assert len(list(lake.after(0))) == 1


def test_tables_whose_names_begin_alike_have_chains_of_their_own(scene, lake):
    archive = scene.lake(make_table(table_name="public.orders_archive"))
    archive.commit(manifest(1, "archive"))
    assert list(lake.after(0)) == []
    lake.commit(manifest(1))
    assert [link.run for link in archive.after(0)] == ["archive"]


class Broken:
    """An S3 client that is refused one kind of request."""

    def __init__(self, s3, verb: str, error: Exception) -> None:
        self._s3, self._verb, self._error = s3, verb, error

    def __getattr__(self, name: str):
        def request(**arguments):
            if name == self._verb:
                raise self._error
            return getattr(self._s3, name)(**arguments)

        return request


REFUSED = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "x")
AWAY = EndpointConnectionError(endpoint_url="http://s3")


@pytest.mark.parametrize(("error", "told"), [(REFUSED, "AccessDenied"), (AWAY, "http")])
@pytest.mark.parametrize("verb", ["put_object", "get_object", "list_objects_v2"])
def test_what_s3_refuses_is_told_with_the_key(scene, lake, verb, error, told):
    lake.commit(manifest(1))
    broken = Lake(Broken(scene.around.s3, verb, error), BUCKET, "k", scene.keys(TABLE))
    with pytest.raises(LakeError) as caught:
        list(broken.after(0))
        broken.commit(manifest(2))
    assert f"refuses to {verb.split('_')[0]}" in str(caught.value)
    assert told in str(caught.value)
    assert f"s3://{BUCKET}/manifests/{scene.name}/public.orders/" in str(caught.value)
    assert caught.value.retryable


@pytest.mark.parametrize("body", [b"", b"{}", b"\xff", b'{"seq": "one"}'])
def test_what_is_no_manifest_is_told_with_its_key(scene, lake, body):
    key = scene.keys(TABLE).manifest_key(1)
    scene.around.s3.put_object(Bucket=BUCKET, Key=key, Body=body)
    with pytest.raises(LakeError, match="is not a manifest") as caught:
        list(lake.after(0))
    assert key in str(caught.value)
