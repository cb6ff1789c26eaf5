"""Where an origin fetches blobs from that no origin has: upstream registries and backends."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from octopull.backends.contract import BlobBackend, BlobName
from octopull.kernel.digest import Digest
from octopull.oci.upstreams import split
from octopull.services.origin.condemned import Condemned


@dataclass(frozen=True, slots=True)
class Source:
    """A blob in the words of the backend that may have it."""

    backend: BlobBackend
    blob: BlobName


@dataclass(frozen=True, slots=True)
class Sources:
    """Upstreams by the first part of the namespace, then what ``backend_of`` says of it."""

    upstreams: Mapping[str, BlobBackend]
    backend_of: Callable[[str], BlobBackend | None]
    condemned: Condemned = field(default_factory=Condemned)

    def written(self, namespace: str) -> BlobBackend | None:
        """Where what is pushed under ``namespace`` goes; None for what comes from upstreams."""
        return None if split(namespace, self.upstreams) else self.backend_of(namespace)

    def of(self, namespace: str, digest: Digest, *, manifest: bool = False) -> Source | None:
        """Where to fetch ``digest`` from; None if there is nothing for ``namespace``, or the blob
        is condemned.
        """
        found = split(namespace, self.upstreams)
        if found is not None:
            upstream, repository = found
            return Source(self.upstreams[upstream], BlobName(repository, digest, manifest))
        backend = None if digest in self.condemned else self.backend_of(namespace)
        return None if backend is None else Source(backend, BlobName(namespace, digest, manifest))
