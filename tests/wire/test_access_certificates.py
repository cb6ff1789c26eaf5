"""Clients that show certificates: their names are whom rules are about."""

from pathlib import Path

from support.access import shown
from support.client_certificates import asking_for_certificates, showing, upload_of
from support.registry import digest_of


async def test_a_certificate_pushes_and_who_has_none_is_asked_for_a_login(tmp_path: Path) -> None:
    async with asking_for_certificates(tmp_path) as url:
        async with showing(tmp_path, "known") as known:
            async with known.post(upload_of(url, b"blob"), data=b"blob") as answer:
                assert answer.status == 201
            async with known.get(f"{url}/v2/team/app/tags/list") as answer:
                assert answer.status == 401, "a login may help"
                told = (await answer.json())["errors"][0]["message"]
                assert told.startswith("the bearer of certificate known may not pull")
            # Who logs in besides is both.
            async with known.get(
                f"{url}/v2/team/app/blobs/{digest_of(b'blob')}", headers=shown("alice")
            ) as answer:
                assert answer.status == 200
        async with showing(tmp_path) as stranger:
            async with stranger.post(upload_of(url, b"blob"), data=b"blob") as answer:
                assert answer.status == 401
            async with stranger.post(
                upload_of(url, b"blob"), data=b"blob", headers=shown("alice")
            ) as answer:
                assert answer.status == 403


async def test_a_certificate_gets_a_token(tmp_path: Path) -> None:
    scope = "repository:team/app:pull,push"
    async with (
        asking_for_certificates(tmp_path, tokens=True) as url,
        showing(tmp_path, "known") as known,
    ):
        async with known.get(f"{url}/token?scope={scope}") as answer:
            token = (await answer.json())["token"]
        async with showing(tmp_path) as stranger:
            headers = {"Authorization": f"Bearer {token}"}
            async with stranger.post(
                upload_of(url, b"blob"), data=b"blob", headers=headers
            ) as answer:
                assert answer.status == 201
