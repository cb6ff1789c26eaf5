import base64
import json
from pathlib import Path

import pytest

from octopull.backends.credentials import Credentials, Helper, IdentityToken, read
from octopull.backends.registry_place import Place, place_of_upstream
from octopull.config.upstreams import UpstreamSettings
from octopull.kernel.errors import Misuse, Unavailable

SECRET = "s3cret:with:colons"


def settings(path: Path | str = "", name: str = "docker.io") -> UpstreamSettings:
    return UpstreamSettings(name=name, credentials=str(path))


def place(path: Path | str = "", name: str = "docker.io") -> Place:
    return place_of_upstream(settings(path, name))


def config(*keys: str, auth: str = "", **more: object) -> str:
    auth = auth or base64.b64encode(f"me:{SECRET}".encode()).decode()
    return json.dumps({"auths": {key: {"auth": auth} for key in keys}, **more})


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("docker.io", f"me:{SECRET}"),
        ("docker.io", f"me:{SECRET}\nmore\n"),
        ("docker.io", config("https://index.docker.io/v1/")),
        ("docker.io", config("docker.io")),
        ("docker.io", config("registry-1.docker.io")),
        ("quay.io", config("docker.io", "quay.io")),
        ("quay.io", config("https://quay.io")),
        ("quay.io", config("quay.io", credsStore="x", credHelpers={"other.io": "y"})),
        ("quay.io", json.dumps({"auths": {"quay.io": {"username": "me", "password": SECRET}}})),
    ],
)
def test_credentials_are_read_from_a_file(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / "file"
    path.write_text(content)
    found = read(place(path, name))
    assert found == Credentials("me", SECRET)
    assert SECRET not in repr(found)


def test_what_a_docker_config_does_not_name_is_asked_anonymously(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text(config("quay.io"))
    assert read(place(path)) is None
    assert read(place()) is None


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("docker.io", config(credsStore="x"), Helper("x", "https://index.docker.io/v1/")),
        ("quay.io", config("docker.io", credsStore="x"), Helper("x", "quay.io")),
        ("quay.io", json.dumps({"auths": {"quay.io": {}}, "credsStore": "x"}),
         Helper("x", "quay.io")),
        ("quay.io", config("quay.io", credsStore="x", credHelpers={"quay.io": "y"}),
         Helper("y", "quay.io")),
        ("quay.io", json.dumps({"auths": {"quay.io": {"auth": "bWU6", "identitytoken": SECRET}}}),
         IdentityToken(SECRET)),
    ],
)  # fmt: skip
def test_a_docker_config_may_name_helpers_and_hold_identity_tokens(
    tmp_path: Path, name: str, content: str, found: object
) -> None:
    path = tmp_path / "file"
    path.write_text(content)
    assert read(place(path, name)) == found
    assert SECRET not in repr(found)


def test_settings_may_name_a_helper() -> None:
    one = UpstreamSettings(name="x.io", url="https://mirror:5000", credential_helper="ecr-login")
    assert read(place_of_upstream(one)) == Helper("ecr-login", "mirror:5000")


@pytest.mark.parametrize(
    "content",
    ["", SECRET.replace(":", ""), f":{SECRET}", "\udcff", "{", "{}x", '{"auths": 1}',
     config("docker.io", auth=SECRET), config("docker.io", auth="AAAA"),
     json.dumps({"auths": {"docker.io": {}}})],
)  # fmt: skip
def test_what_is_malformed_is_told_without_its_words(tmp_path: Path, content: str) -> None:
    path = tmp_path / "file"
    path.write_text(content, errors="surrogateescape")
    with pytest.raises(Unavailable) as told:
        read(place(path))
    assert "s3cret" not in f"{told.value} {told.value.details} {told.value.__cause__}"


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="No such file"):
        read(place(tmp_path / "none"))


def test_credentials_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    one = UpstreamSettings(
        name="docker.io", username_variable="HUB_USER", password_variable="HUB_PASSWORD"
    )
    with pytest.raises(Unavailable, match="not set"):
        read(place_of_upstream(one))
    monkeypatch.setenv("HUB_USER", "me")
    monkeypatch.setenv("HUB_PASSWORD", SECRET)
    assert read(place_of_upstream(one)) == Credentials("me", SECRET)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "Docker.io"}, {"name": "a/b"}, {"name": ""}, {"url": "ftp://x"}, {"url": "x"},
        {"url": "https://"}, {"url": f"https://me:{SECRET}@x"}, {"url": "https://x?y"},
        {"url": "https://x:0"}, {"url": "https://x:99999"}, {"tag_ttl_s": -1}, {"timeout_s": 0},
        {"requests_max": 0}, {"username_variable": "X"},
        {"username_variable": "X", "password_variable": "Y", "credentials": "Z"},
        {"credential_helper": "x", "credentials": "Z"},
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    given: dict[str, object] = {"name": "docker.io", **wrong}
    with pytest.raises(Misuse) as told:
        UpstreamSettings(**given)  # type: ignore[arg-type]
    assert "s3cret" not in f"{told.value} {told.value.details}"


def test_addresses_have_defaults() -> None:
    assert settings().address == "https://registry-1.docker.io"
    assert settings(name="quay.io").address == "https://quay.io"
    assert (
        UpstreamSettings(name="x", url="http://mirror:5000/hub/").address
        == "http://mirror:5000/hub"
    )
