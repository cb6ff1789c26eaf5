"""``octopull policy check``: the decision, the rule behind it, and the exit code."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from octopull.cli.policy import policy
from support.signing import Signer

RULES = {
    "groups": {"builders": ["certificate:*.build.internal"]},
    "rules": [
        {"who": ["group:builders"], "repositories": ["team/**"], "actions": ["push"], "name": "ci"},
        {"who": ["claim:github:repository=acme/*"], "repositories": ["acme/*"], "actions": ["push"]},
        {"who": ["group:staff"], "repositories": ["**"], "actions": ["pull"]},
    ],
}  # fmt: skip


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(yaml.safe_dump(RULES))
    return path


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("anyone push team/app --certificate ci.build.internal",
         ("allowed: rule 1 (ci) allows it to group:builders\n"
         "  anyone push team/app; groups: builders\n")),
        ("anyone push team/app", "denied: no rule allows it\n  anyone push team/app; groups: none\n"),
        ("x push acme/app --claim github:repository=acme/app",
         ("allowed: rule 2 allows it to claim:github:repository=acme/*\n"
         "  x push acme/app; groups: none\n")),
        ("alice pull * --group staff",
         "allowed: rule 3 allows it to group:staff\n  alice pull *; groups: staff\n"),
        ("alice delete team/app --group staff",
         "denied: no rule allows it\n  alice delete team/app; groups: staff\n"),
    ],
)  # fmt: skip
def test_a_decision_is_told_with_its_rule_and_ends_accordingly(
    rules: Path, words: str, told: str
) -> None:
    done = CliRunner().invoke(policy, ["check", *words.split(), "--policy", str(rules)])
    assert (done.output, done.exit_code) == (told, 0 if told.startswith("allowed") else 1)


def test_the_rules_are_those_that_a_configuration_names(rules: Path, tmp_path: Path) -> None:
    config = tmp_path / "proxy.yaml"
    config.write_text(yaml.safe_dump({"proxy": {"access": {"policy": str(rules)}}}))
    ask = ["check", "alice", "pull", "a", "--group", "staff"]
    assert CliRunner().invoke(policy, [*ask, "--config", str(config)]).exit_code == 0
    config.write_text(yaml.safe_dump({"proxy": {}}))
    done = CliRunner().invoke(policy, [*ask, "--config", str(config)])
    assert "no section has an access with a policy" in str(done.exception)
    assert CliRunner().invoke(policy, ask).exit_code == 2


def test_rules_that_are_wrong_are_told_with_their_file(rules: Path) -> None:
    rules.write_text("rules: [{who: [alice], repositories: [a], actions: [pull]}]")
    done = CliRunner().invoke(policy, ["check", "a", "pull", "a", "--policy", str(rules)])
    assert str(done.exception).startswith(f"{rules}: the rules of access are not usable:\nrule 1:")


def test_a_pull_that_demands_a_signature_is_told_with_its_keys(rules: Path, tmp_path: Path) -> None:
    for name in ("cosign.pub", "old.pub"):
        (tmp_path / name).write_bytes(Signer().public)
    demand = {"repositories": ["prod/**"], "keys": ["cosign.pub", "old.pub"]}
    rules.write_text(yaml.safe_dump({**RULES, "signatures": [demand]}))

    def told(action: str, repository: str) -> str:
        words = ["check", "alice", action, repository, "--group", "staff", "--policy", str(rules)]
        return CliRunner().invoke(policy, words).output

    line = "  only what is signed: prod/** demands it, by cosign.pub or old.pub\n"
    assert told("pull", "prod/app").endswith(line)
    for action, repository in (("pull", "team/app"), ("push", "prod/app")):
        assert line not in told(action, repository)
    (tmp_path / "old.pub").unlink()
    words = ["check", "alice", "pull", "prod/app", "--policy", str(rules)]
    assert "signatures 1: old.pub: No such file" in str(CliRunner().invoke(policy, words).exception)
