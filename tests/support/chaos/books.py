"""What clients pushed, and what of it was acknowledged: by this, answers are judged."""

from dataclasses import dataclass, field

from octopull.kernel.digest import Digest
from support.images import Image, image

LAYERS = ((20_000,), (100_000, 3_000), (1_200_000,))
"""Bytes of an image's layers: of one piece, and of several."""


@dataclass
class Books:
    """Every image by its manifest's digest, whether its push was acknowledged or not."""

    images: dict[str, Image] = field(default_factory=dict[str, Image])
    repositories: dict[str, str] = field(default_factory=dict[str, str])
    """Where a manifest was acknowledged, by its digest."""
    blobs: set[Digest] = field(default_factory=set[Digest])
    """All that was acknowledged, manifests, too."""

    def drawn(self, seed: int) -> Image:
        """An image that is not in the books yet; now it is."""
        new = image(seed, *LAYERS[seed % len(LAYERS)])
        self.images[str(Digest.of(new.manifest))] = new
        return new

    def acknowledged(self, repository: str, pushed: Image) -> None:
        """The manifest's push was answered with success."""
        digest = Digest.of(pushed.manifest)
        self.repositories[str(digest)] = repository
        self.blobs.add(digest)

    def part(self, digest: Digest) -> tuple[str, str, bytes] | None:
        """Where a manifest or blob of an acknowledged image is to be had, and its bytes."""
        for manifest, repository in self.repositories.items():
            image = self.images[manifest]
            for kind, content in (
                ("manifests", image.manifest),
                *(("blobs", b) for b in image.blobs),
            ):
                if digest.proves(content):
                    return repository, kind, content
        return None
