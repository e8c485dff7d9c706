import ast
import errno
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from infra import bundle
from runtime.contract.errors import ConfigError
from runtime.contract.settings import CHECKER, HANDLER
from tests.factories import make_table
from tests.infra.conftest import CONFIG
from tests.infra.recording import packed, run_recording

THIS_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
TARGET = bundle.Target(python="3.13", machine="x86_64")
# Everything that may stand at the top of the zip; a new package is a decision.
TOP = frozenset("""
    aws_lambda_powertools boto3 botocore bundle.json certifi charset_normalizer config
    dateutil hvac idna jmespath msgspec psycopg2 psycopg2_binary.libs requests runtime
    s3transfer six.py typing_extensions.py tzdata ulid urllib3
    """.split())
# Lambda takes at most 50 MB by direct upload.
LARGEST_MB = 40


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's bundle for the interpreter that runs the tests."""
    output = tmp_path_factory.mktemp("bundle") / "exporter.zip"
    return bundle.build(CONFIG, output, python=THIS_PYTHON, platform=None)


@pytest.fixture(scope="module")
def unpacked(built: Path) -> Path:
    folder = built.parent / "unpacked"
    with zipfile.ZipFile(built) as archive:
        archive.extractall(folder)
    return folder


def names(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def test_our_own_files_are_contract_functions_and_config(tmp_path):
    own = names(packed(CONFIG, tmp_path))
    folders = {name.rpartition("/")[0] for name in own}
    assert folders == {
        "",
        "runtime",
        "runtime/checker",
        "runtime/contract",
        "runtime/exporter",
        "config",
        "config/contracts",
        "config/certs",
    }
    assert "config/contracts/public.orders.json" in own
    assert not [name for name in own if "schema.json" in name]
    assert not [name for name in own if name.endswith(".pyc")]


def test_contracts_of_other_tables_stay_behind(with_tables):
    settings = with_tables([make_table()])
    config = Path(settings["sync_config"])
    (config.parent / "contracts" / "public.left_over.json").write_text("{}")
    contracts = [name for name in bundle.project_files(config) if "/contracts/" in name]
    assert contracts == ["config/contracts/public.orders.json"]


def test_the_same_files_give_the_same_bytes(tmp_path):
    files = {"b.py": b"2", "a/c.py": b"1"}
    first = bundle.write(files, tmp_path / "first.zip").read_bytes()
    os.utime(tmp_path, (0, 0))
    again = bundle.write(dict(reversed(files.items())), tmp_path / "again.zip")
    assert again.read_bytes() == first
    assert names(again) == ["a/c.py", "b.py"]
    assert bundle.write(files | {"b.py": b"3"}, again).read_bytes() != first


@pytest.mark.slow
def test_a_full_disk_leaves_no_half_zip(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    with pytest.raises(OSError):
        bundle.write({"a": b"1"}, tmp_path / "exporter.zip")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the cloud gets, built from a copy of the tree by a stranger.

    Another folder, another umask, other times of files, another time zone and locale,
    and packages that are installed anew.
    """
    tree = tmp_path_factory.mktemp("a copy") / "tree"
    for name in ("infra", "runtime", "config", "requirements"):
        shutil.copytree(
            bundle.ROOT / name,
            tree / name,
            ignore=shutil.ignore_patterns("__pycache__"),
            copy_function=shutil.copy,
        )
    for path in tree.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
        if path.is_file():
            path.chmod(0o600)
    stranger = {"TZ": "Asia/Kathmandu", "LC_ALL": "C", "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-m", "infra.bundle", "--output", "there.zip"],
        cwd=tree,
        env=os.environ | stranger,
        umask=0o077,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    return tree / "there.zip"


@pytest.mark.slow
def test_two_builds_are_identical_wherever_and_whenever(elsewhere, tmp_path):
    here = bundle.build(CONFIG, tmp_path / "here.zip")
    assert (elsewhere.parent / "build").is_dir(), "the packages were installed there"
    assert here.read_bytes() == elsewhere.read_bytes()


@pytest.mark.slow
def test_the_wheels_are_those_of_lambdas_python_and_processor(elsewhere):
    """Whatever interpreter builds: here it is another one."""
    wanted = bundle.PYTHON.replace(".", "")
    compiled = [
        name
        for name in names(elsewhere)
        if name.endswith(".so") and not name.startswith("psycopg2_binary.libs/")
    ]
    assert len(compiled) > 3
    form = rf"cpython-{wanted}-x86_64-linux-gnu\.so|abi3\.so"
    assert [name for name in compiled if not re.search(form, name)] == []
    with zipfile.ZipFile(elsewhere) as archive:
        assert json.loads(archive.read("bundle.json")) == {
            "python": "3.13",
            "machine": "x86_64",
        }
        for name in compiled:
            # The ELF header's machine: 0x3e is x86-64.
            assert archive.read(name)[18:20] == b"\x3e\x00", name


@pytest.mark.slow
def test_the_bundle_holds_what_is_allowed_and_no_more(built):
    top = {name.partition("/")[0] for name in names(built)}
    info = {name for name in top if name.endswith(".dist-info")}
    assert top - info == TOP
    kept = {name.split("/")[1] for name in names(built) if name.split("/")[0] in info}
    assert kept <= {"METADATA", "licenses"}
    forbidden = ("/tests/", "__pycache__", "runtime/ops", "infra/", "RECORD")
    assert not [name for name in names(built) for part in forbidden if part in name]
    assert built.stat().st_size < LARGEST_MB * 1_000_000


@pytest.mark.slow
def test_botocore_knows_the_services_that_the_functions_call(built):
    """Their descriptions are in the bundle, the other four hundred are not."""
    called = set()
    folders = [bundle.ROOT / "runtime" / name for name in ("checker", "exporter")]
    for path in (path for folder in folders for path in folder.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in ("client", "resource")
                and node.args
                and isinstance(node.args[0], ast.Constant)
            ):
                called.add(str(node.args[0].value))
    assert called and called <= bundle.SERVICES
    data = [name.split("/") for name in names(built) if name.startswith("botocore/da")]
    described = {parts[2] for parts in data if len(parts) > 3}
    assert described == bundle.SERVICES
    general = {parts[2] for parts in data if len(parts) == 3}
    assert {"endpoints.json", "partitions.json", "_retry.json"} <= general


@pytest.mark.slow
@pytest.mark.parametrize("handler", [HANDLER, CHECKER])
def test_a_handler_runs_on_the_bundle_alone(unpacked, handler):
    """Neither site-packages nor the checkout is on the path, as in Lambda."""
    module, _, function = handler.rpartition(".")
    code = (
        f"import sys; sys.path.insert(0, {str(unpacked)!r})\n"
        f"import {module} as handler\n"
        "import boto3, json\n"
        f"assert callable(handler.{function})\n"
        "session = boto3.Session(region_name='eu-west-1')\n"
        "session.client('s3'); session.resource('dynamodb')\n"
        "print(json.dumps([m.__file__ for m in sys.modules.values()"
        " if getattr(m, '__file__', None)]))"
    )
    process = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert process.returncode == 0, process.stderr
    loaded = json.loads(process.stdout)
    foreign = [path for path in loaded if "site-packages" in path]
    assert foreign == []
    assert [path for path in loaded if path.startswith(str(unpacked / "runtime"))]


@pytest.mark.slow
def test_the_packed_configuration_loads_from_the_bundle(unpacked):
    code = (
        f"import sys; sys.path.insert(0, {str(unpacked)!r})\n"
        "from pathlib import Path\n"
        "from runtime.contract.loader import load_tables\n"
        f"config = Path({str(unpacked)!r}) / 'config' / 'sync_config.json'\n"
        "print(*sorted(t.spec.table_name for t in load_tables(config)))"
    )
    process = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code],
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    assert process.stdout.split() == [
        "public.customers",
        "public.order_items",
        "public.orders",
    ]


def test_a_missing_bundle_says_how_to_build_it(settings, tmp_path):
    settings["bundle"] = str(tmp_path / "none.zip")
    graph, error = run_recording(settings)
    assert graph.resources == []
    assert error.startswith("ConfigError: ") and error.endswith("run make bundle")


def test_a_stale_bundle_is_refused(with_tables):
    settings = with_tables([make_table()])
    config = Path(settings["sync_config"])
    entry = json.loads(config.read_text())
    entry["tables"][0]["schedule"] = "daily"
    config.write_text(json.dumps(entry))
    graph, error = run_recording(settings)
    assert graph.resources == []
    assert "older than the files" in error and "config/sync_config.json" in error


@pytest.mark.parametrize("change", [{"python": "3.11"}, {"machine": "arm64"}])
def test_a_bundle_for_another_runtime_is_refused(tmp_path, change):
    path = packed(CONFIG, tmp_path, **change)
    with pytest.raises(ConfigError, match="built for another runtime"):
        bundle.check(path, CONFIG, TARGET)


def test_a_bundle_without_the_named_certificate_is_refused(tmp_path):
    path = packed(CONFIG, tmp_path)
    bundle.check(path, CONFIG, TARGET, needed=("config/certs/eu-west-1-bundle.pem", ""))
    with pytest.raises(ConfigError, match="lacks a file that the settings name"):
        bundle.check(path, CONFIG, TARGET, needed=("config/certs/other.pem",))


def test_a_broken_bundle_is_refused(tmp_path):
    path = tmp_path / "exporter.zip"
    path.write_bytes(b"PK")
    with pytest.raises(ConfigError, match="cannot be read"):
        bundle.check(path, CONFIG, TARGET)


def test_certificates_beside_the_config_travel_with_it(with_tables):
    config = Path(with_tables([make_table()])["sync_config"])
    (config.parent / "certs").mkdir()
    (config.parent / "certs" / "aurora.pem").write_text("certificate")
    assert bundle.project_files(config)["config/certs/aurora.pem"] == b"certificate"


@pytest.mark.slow
def test_packages_that_are_not_to_be_had_are_told(tmp_path):
    with pytest.raises(ConfigError, match="cannot be installed") as caught:
        bundle.build(CONFIG, tmp_path / "e.zip", platform="plan9_aarch64")
    told = str(caught.value)
    assert "Could not find a version" in told or "No matching distribution" in told
    assert "got 'Python 3.13, plan9_aarch64'" in told and "make lock" in told
    assert not list((bundle.ROOT / "build").glob("packages-*.*"))
