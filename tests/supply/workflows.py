"""What a workflow of GitHub must not do; each rule yields what it finds in one file."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

Job = Mapping[str, Any]

_PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}")
_USES = re.compile(r"^\s*(?:- )?uses: *(\S+)(.*)$", re.MULTILINE)
_EVENTS = {"push", "pull_request", "workflow_call"}
_WRITES = {"id-token"}
_CREDENTIALS = ("aws-actions/configure-aws-credentials", "hashicorp/vault-action")
_DEPLOYING = ".ci/pulumi "
_KEYS = re.compile(
    r"aws-access-key-id|aws-secret-access-key|AWS_SECRET_ACCESS_KEY|PULUMI_ACCESS_TOKEN"
    r"|PULUMI_CONFIG_PASSPHRASE|VAULT_TOKEN|private-?key",
    re.I,
)


def problems(text: str) -> Iterator[str]:
    """Find everything that is wrong with a workflow.

    Args:
        text: The file.
    """
    # YAML 1.1 reads the key `on` as true.
    flow = {("on" if key is True else key): value for key, value in _read(text).items()}
    yield from _unpinned(text)
    yield from _dangerous_events(flow)
    yield from _long_lived_secrets(text)
    if "permissions" not in flow:
        yield "the workflow does not say what it may do"
    yield from _too_many_rights("the workflow", flow)
    for name, job in flow["jobs"].items():
        yield from _job_problems(name, job)


def _read(text: str) -> dict[Any, Any]:
    return dict(yaml.safe_load(text))


def _unpinned(text: str) -> Iterator[str]:
    for action, rest in _USES.findall(text):
        if action.startswith("./"):
            continue
        if not _PINNED.fullmatch(action):
            yield f"{action} is not pinned by its commit"
        elif not re.fullmatch(r" +# v\d+(\.\d+)*", rest):
            yield f"{action} does not say which release it is"


def _dangerous_events(flow: Mapping[Any, Any]) -> Iterator[str]:
    events = flow["on"]
    named = {events} if isinstance(events, str) else set(events)
    for event in sorted(named - _EVENTS):
        yield f"it runs on {event}"


def _long_lived_secrets(text: str) -> Iterator[str]:
    code = re.sub(r"(?m)^\s*#.*$", "", text)
    if re.search(r"\$\{\{[^}]*\bsecrets\b", code) or "secrets: inherit" in code:
        yield "it takes a secret of the repository"
    if "github.token" in code or "GITHUB_TOKEN" in code:
        yield "it hands the token of the run to a step"
    for key in sorted({found.group() for found in _KEYS.finditer(code)}):
        yield f"it names a key that lives long: {key}"


def _too_many_rights(who: str, holder: Mapping[str, Any]) -> Iterator[str]:
    rights = holder.get("permissions", {})
    if isinstance(rights, str):
        yield f"{who} has {rights}"
        return
    for right, level in rights.items():
        if level == "write" and right not in _WRITES:
            yield f"{who} may write {right}"


def _job_problems(name: str, job: Job) -> Iterator[str]:
    yield from _too_many_rights(name, job)
    if "uses" in job:
        yield from _call_problems(name, job)
        return
    if not 0 < job.get("timeout-minutes", 0) <= 60:
        yield f"{name} has no timeout of at most an hour"
    steps = job["steps"]
    for step in steps:
        if "${{" in step.get("run", ""):
            yield f"{name} puts an expression into a script"
        if step.get("uses", "").startswith("actions/checkout@"):
            if step.get("with", {}).get("persist-credentials") is not False:
                yield f"{name} leaves the token in the checkout"
    yield from _credential_problems(name, job, steps)


def _credential_problems(
    name: str, job: Job, steps: list[Mapping[str, Any]]
) -> Iterator[str]:
    """Credentials come last, for the one script that needs them, behind an approval."""
    at = [n for n, step in enumerate(steps) if _takes_credentials(step)]
    if not at:
        if "id-token" in job.get("permissions", {}):
            yield f"{name} may have a token and does not need it"
        return
    if "environment" not in job:
        yield f"{name} takes credentials without an environment"
    if "concurrency" not in job:
        yield f"{name} may run twice at once on one stack"
    for step in steps[at[0] :]:
        if not _takes_credentials(step) and not step.get("run", "").startswith(
            _DEPLOYING
        ):
            yield f"{name} runs something else with credentials"
    for step in steps[: at[0]]:
        if any("vars." in str(value) for value in step.get("env", {}).values()):
            yield f"{name} tells a step about places before it is their turn"


def _takes_credentials(step: Mapping[str, Any]) -> bool:
    return step.get("uses", "").startswith(_CREDENTIALS)


def _call_problems(name: str, job: Job) -> Iterator[str]:
    if "id-token" not in job.get("permissions", {}):
        return
    given = job.get("with", {})
    wanted = given["stack"] if given["command"] == "up" else f"{given['stack']}-preview"
    if given.get("environment") != wanted:
        yield f"{name} does not run in the environment {wanted}"
    if given["command"] == "preview" and "matrix" in str(given["stack"]):
        if "head.repo.full_name == github.repository" not in job.get("if", ""):
            yield f"{name} runs the code of forks with credentials"
