"""GitHub's workflows: pinned, of few rights, and prod last and approved."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.supply.workflows import problems

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").iterdir())
NAMES = [path.name for path in WORKFLOWS]


def text_of(name: str) -> str:
    return (ROOT / ".github" / "workflows" / name).read_text()


@pytest.mark.parametrize("name", NAMES)
def test_a_workflow_does_nothing_that_it_must_not(name):
    assert list(problems(text_of(name))) == []


def test_these_are_all_workflows():
    assert NAMES == ["ci.yml", "deploy.yml", "preview.yml", "pulumi.yml"]


CHECKOUT = "actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683  # v4.2.2"


@pytest.mark.parametrize(
    ("name", "old", "new", "told"),
    [
        ("ci.yml", CHECKOUT, "actions/checkout@v4", "not pinned"),
        ("ci.yml", CHECKOUT, CHECKOUT.partition(" ")[0], "which release"),
        ("ci.yml", "  pull_request:", "  pull_request_target:", "pull_request_target"),
        ("ci.yml", "  pull_request:", "  workflow_run:", "workflow_run"),
        ("ci.yml", "permissions:\n  contents: read", "", "does not say"),
        ("ci.yml", "  contents: read", "  contents: write", "write contents"),
        ("ci.yml", "permissions:\n  contents: read", "permissions: write-all", "has"),
        ("ci.yml", "    timeout-minutes: 30\n", "", "no timeout"),
        ("ci.yml", "persist-credentials: false", "fetch-tags: true", "in the checkout"),
        ("ci.yml", "required", "${{ secrets.TOKEN }}", "a secret"),
        ("ci.yml", "required", "${{ github.token }}", "token of the run"),
        ("ci.yml", ".ci/run", "echo ${{ github.head_ref }}", "expression"),
        (
            "pulumi.yml",
            "    environment: ${{ inputs.environment }}\n",
            "",
            "without an",
        ),
        ("pulumi.yml", "- run: .ci/pulumi", "- run: make test", "something else"),
        ("pulumi.yml", "role-to-assume", "aws-access-key-id", "lives long"),
        (
            "pulumi.yml",
            "bundle\n",
            "bundle\n        env:\n          A: ${{ vars.B }}\n",
            "before it is",
        ),
        (
            "deploy.yml",
            "environment: prod\n",
            "environment: staging\n",
            "environment prod",
        ),
        (
            "deploy.yml",
            "      id-token: write",
            "      packages: write",
            "write packages",
        ),
        (
            "preview.yml",
            "github.event.pull_request.head.repo.full_name ==",
            "true ==",
            "forks",
        ),
        ("preview.yml", "-preview\n", "\n", "does not run in the environment"),
    ],
)
def test_each_rule_finds_a_seeded_violation(name, old, new, told):
    text = text_of(name)
    assert old in text
    found = list(problems(text.replace(old, new)))
    assert any(told in each for each in found), found


def jobs(name: str) -> dict:
    return yaml.safe_load(text_of(name))["jobs"]


def test_prod_comes_after_staging_and_after_its_preview():
    found = jobs("deploy.yml")
    assert [
        found[job].get("needs") for job in ("ci", "staging", "prod-preview", "prod")
    ] == [
        *(None, "ci", "staging", "prod-preview"),
    ]
    assert [
        found[job]["with"]["command"] for job in ("staging", "prod-preview", "prod")
    ] == [
        *("up", "preview", "up"),
    ]
    for each in found.values():
        # always() or failure() would go on where a step before has failed.
        assert "always" not in each.get("if", "") and "fail" not in each.get("if", "")


def test_every_stack_is_previewed():
    stacks = {path.name.split(".")[1] for path in ROOT.glob("Pulumi.*.yaml")}
    matrix = jobs("preview.yml")["preview"]["strategy"]["matrix"]["stack"]
    assert set(matrix) == stacks


def test_what_is_merged_is_audited_or_fails():
    (step,) = [each for each in jobs("ci.yml")["test"]["steps"] if "run" in each]
    assert step["run"] == ".ci/run" and step["env"] == {"AUDIT": "required"}


def test_one_action_has_one_release_and_pulumi_that_of_the_lock():
    found: dict[str, set[str]] = {}
    for name in NAMES:
        for action, commit in re.findall(r"uses: (\S+)@([0-9a-f]{40})", text_of(name)):
            found.setdefault(action, set()).add(commit)
    assert len(found) == 5
    assert {
        action: commits for action, commits in found.items() if len(commits) > 1
    } == {}
    (version,) = re.findall(r"pulumi-version: (\S+)", text_of("pulumi.yml"))
    lock = (ROOT / "requirements" / "all.txt").read_text()
    assert f"\npulumi=={version} " in lock
    guide = (ROOT / "docs" / "DEPLOYMENT.md").read_text()
    assert f"`pulumi` {version} or newer" in guide


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with the script, a stack, a policy pack, and programs that tell."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "pulumi", tmp_path / ".ci")
    (tmp_path / "Pulumi.dev.yaml").write_text("config: {}\n")
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "PulumiPolicy.yaml").write_text("runtime: python\n")
    for name, line in (
        ("bin/pulumi", 'echo "called: $*"; exit "${CODE:-0}"'),
        (".venv/bin/aurora-sync", 'echo "asked: $*"; exit "${PLANNED:-0}"'),
    ):
        program = tmp_path / name
        program.parent.mkdir(parents=True)
        program.write_text(f"#!/bin/sh\n{line}\n")
        program.chmod(0o755)
    for command in (["init", "--quiet"], ["add", "."]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True, timeout=60)
    return tmp_path


def deploy(
    checkout: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    known = {
        "PATH": f"{checkout / 'bin'}:{os.environ['PATH']}",
        "PULUMI_BACKEND_URL": "s3://state?region=eu-west-1",
        "GITHUB_STEP_SUMMARY": str(checkout / "summary.md"),
    }
    return subprocess.run(
        [str(checkout / ".ci" / "pulumi"), *arguments],
        env=known | environment,
        cwd=checkout,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(("command", "yes"), [("preview", False), ("up", True)])
def test_a_stack_is_handled_under_every_policy_pack(checkout, command, yes):
    done = deploy(checkout, command, "dev")
    assert done.returncode == 0, done.stderr
    assert f"called: {command} --stack dev --non-interactive" in done.stdout
    assert "--policy-pack policy" in done.stdout
    assert ("--yes" in done.stdout) == yes
    summary = (checkout / "summary.md").read_text()
    assert f"### pulumi {command} dev: done" in summary and "called: " in summary


def test_a_failure_is_one_and_is_in_the_summary(checkout):
    done = deploy(checkout, "up", "dev", CODE="255")
    assert done.returncode == 255
    assert "### pulumi up dev: failed" in (checkout / "summary.md").read_text()


@pytest.mark.parametrize(("command", "goes_on"), [("preview", True), ("up", False)])
def test_what_would_lose_data_is_shown_and_not_deployed(checkout, command, goes_on):
    done = deploy(checkout, command, "dev", PLANNED="1")
    assert done.returncode == 1
    assert "asked: plan --stack dev\n" in done.stdout
    assert ("called: " in done.stdout) == goes_on
    summary = (checkout / "summary.md").read_text()
    assert f"### pulumi {command} dev: failed" in summary and "asked: " in summary


def test_what_is_allowed_is_the_plans_to_judge(checkout):
    done = deploy(checkout, "up", "dev", "--allow", "target:public.orders")
    asked, called = done.stdout.splitlines()
    assert asked == "asked: plan --stack dev --allow target:public.orders"
    assert called.startswith("called: up --stack dev ")
    assert "--allow" not in called


@pytest.mark.parametrize(
    ("arguments", "environment", "told"),
    [
        ((), {}, "usage: .ci/pulumi preview|up STACK"),
        (("destroy", "dev"), {}, "usage: "),
        (("up", "dev", "--force"), {}, "usage: "),
        (("up", "dev", "--allow"), {}, "usage: "),
        (("up", "qa"), {}, "write Pulumi.qa.yaml"),
        (("up", "../dev"), {}, "has no settings"),
        (("up", "dev"), {"PULUMI_BACKEND_URL": ""}, "PULUMI_BACKEND_URL is not set"),
    ],
)
def test_a_wrong_call_is_refused_before_pulumi_is_called(
    checkout, arguments, environment, told
):
    done = deploy(checkout, *arguments, **environment)
    assert done.returncode == 2 and told in done.stderr
    assert done.stdout == ""


def test_nothing_is_deployed_without_a_policy_pack(checkout):
    command = ["git", "rm", "--quiet", "--cached", "policy/PulumiPolicy.yaml"]
    subprocess.run(command, cwd=checkout, check=True, timeout=60)
    done = deploy(checkout, "preview", "dev")
    assert done.returncode == 2 and "no policy pack" in done.stderr
