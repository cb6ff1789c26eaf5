"""What the specification asks of clients, and what of it does not arise here."""

from support.requirements import IS, MAY, MUST, SHOULD, Level, Requirement, Untested


def _of_clients(section: str, level: Level, *texts: str) -> list[Requirement]:
    return [Requirement(section, level, text) for text in texts]


PUSHING = "Pushing Manifests"
SUBJECT = "Pushing Manifests with Subject"
REFERRERS = "Listing Referrers"
UNAVAILABLE = "Unavailable Referrers API"

OF_CLIENTS = [
    *_of_clients("Historical Context", SHOULD,
                 "Clients SHOULD NOT depend on Docker-specific headers and error codes"),
    *_of_clients("Pulling manifests", SHOULD,
                 "The client SHOULD include an Accept header",
                 "The client SHOULD ignore parameters on the Content-Type header",
                 "Clients SHOULD reject a manifest whose mediaType and Content-Type differ",
                 "Clients SHOULD verify that a manifest matches the digest it was asked for by"),
    *_of_clients("Pulling manifests", MUST,
                 "A client that uses Docker-Content-Digest MUST verify it against the manifest"),
    *_of_clients("Pulling blobs", MUST,
                 "A client that uses Docker-Content-Digest MUST verify it against the body"),
    *_of_clients("Pulling blobs", SHOULD,
                 "Clients SHOULD verify that the body matches the requested digest"),
    *_of_clients("POST then PUT", SHOULD,
                 "<location> SHOULD match exactly what POST gave",
                 "It SHOULD NOT be assembled manually"),
    *_of_clients("Single POST", SHOULD, "On 202, clients SHOULD proceed with a PUT request"),
    *_of_clients("Pushing a blob in chunks", MUST, "POST MUST include Content-Length: 0"),
    *_of_clients("Pushing a blob in chunks", SHOULD,
                 "Chunks SHOULD be at least OCI-Chunk-Min-Length long",
                 "Each chunk SHOULD use the <location> of the response before it"),
    *_of_clients("Mounting a blob from another repository", SHOULD,
                 "A client that uses Docker-Content-Digest SHOULD verify it"),
    *_of_clients(PUSHING, SHOULD,
                 "Clients SHOULD set Content-Type to the type of the manifest",
                 "The client SHOULD NOT include parameters on the Content-Type header",
                 "All manifests SHOULD include a mediaType field"),
    *_of_clients(PUSHING, MUST,
                 "Content-Type MUST be the mediaType of the manifest",
                 "The manifest MUST reference any blobs that make up the object"),
    *_of_clients(SUBJECT, MUST,
                 "Without OCI-Subject, the client MUST maintain the referrers tag"),
    *_of_clients(REFERRERS, MUST,
                 "If the referrers API is 404, the client MUST use the referrers tag schema"),
    *_of_clients("Deleting Manifests", SHOULD,
                 "If the referrers API is 404, clients SHOULD update the referrers tag"),
    *_of_clients("Backwards Compatibility", MUST,
                 "Clients MUST support registries of partial or older versions"),
    *_of_clients(UNAVAILABLE, MUST,
                 "A client that pushes a subject MUST verify that the referrers API is there"),
    *_of_clients("Warnings", SHOULD,
                 "The client SHOULD report warnings in an unobtrusive way, each once"),
    *_of_clients("Warnings", MUST, "Clients MUST NOT act automatically on warnings"),
]  # fmt: skip

NOT_HERE = [
    Untested(
        Requirement("Single POST", SHOULD, "Without single POST, 202 and Location SHOULD be sent"),
        "a single POST is supported",
    ),
    Untested(
        Requirement(REFERRERS, MUST, "Several filters are listed, with commas, in the header"),
        "there is one filter",
    ),
    Untested(
        Requirement("Deleting tags", MUST, "If tag deletion is disabled, answer 400 or 405"),
        "deletion is enabled; an agent, which takes none, answers 405",
    ),
    Untested(
        Requirement("Deleting Manifests", MUST, "If deletion is disabled, answer 400 or 405"),
        "deletion is enabled; an agent, which takes none, answers 405",
    ),
    Untested(
        Requirement("Deleting Blobs", MUST, "If blob deletion is disabled, answer 400 or 405"),
        "deletion is enabled; an agent, which takes none, answers 405",
    ),
    Untested(
        Requirement(
            "Enabling the Referrers API", MUST,
            "Manifests listed under the referrers tag schema before MUST be included",
        ),
        "there was no release without the API: every manifest with a subject is recorded",
    ),
    Untested(
        Requirement("Error Codes", IS, "code-11 UNAUTHORIZED and code-12 DENIED"),
        "nobody is asked who they are",
    ),
    Untested(
        Requirement("Error Codes", MAY, "code-14 TOOMANYREQUESTS"),
        "no rate of requests is too high",
    ),
]  # fmt: skip
