"""Rules: which repositories go where, and with what."""

import re

from hypothesis import given
from hypothesis import strategies as st

from octopull.config.replication import RemoteSettings, RuleSettings, RulesSettings
from octopull.replication.rules import Route, Rules

REMOTES = ("eu", "us", "asia")
PARTS = st.sampled_from(["team", "web", "app", "lib"])
REPOSITORIES = st.lists(PARTS, min_size=1, max_size=3).map("/".join)
PATTERNS = st.sampled_from([".*", "team/.*", "web", ".*/app", "team|web/lib", "lib.*"])
RULES = st.lists(
    st.builds(
        RuleSettings, match=PATTERNS, remotes=st.lists(st.sampled_from(REMOTES), max_size=3),
        deletes=st.booleans(), referrers=st.booleans(),
    ),
    max_size=5,
)  # fmt: skip


def rules(*given: RuleSettings) -> Rules:
    remotes = [RemoteSettings(name=name, url=f"https://{name}.example") for name in REMOTES]
    return Rules(RulesSettings(remotes=remotes, rules=list(given)))


@given(listed=RULES, repository=REPOSITORIES)
def test_the_first_rule_that_matches_and_names_a_remote_counts_for_it(
    listed: list[RuleSettings], repository: str
) -> None:
    expected: dict[str, Route] = {}
    for rule in reversed(listed):
        if re.fullmatch(rule.match, repository):
            expected |= dict.fromkeys(rule.remotes, Route(rule.deletes, rule.referrers))
    found = rules(*listed)
    assert found.routes(repository) == expected
    for remote in REMOTES:
        assert found.route(repository, remote) == expected.get(remote)


def test_the_whole_name_of_a_repository_must_match() -> None:
    found = rules(RuleSettings(match="team|web", remotes=["eu"]))
    assert found.routes("team") == found.routes("web") == {"eu": Route(False, False)}
    assert not found.routes("team/app")
    assert not found.routes("ateam")
