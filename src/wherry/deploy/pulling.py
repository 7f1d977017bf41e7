"""Whether the nodes can have an image that is said to be there: known before anything changes, not after a rollout."""

from __future__ import annotations

from wherry.contract.events import Note, Tell
from wherry.deploy import registry
from wherry.deploy.cluster import Cluster
from wherry.deploy.resources import NODE
from wherry.errors import ClusterFailed, ImageMissing, ImageNameRefused, NoCluster, RegistryFailed
from wherry.release.reference import Reference

LISTED = 50  # images that a node names at most; it may hold more


def found(reference: Reference, cluster: Cluster, tell: Tell) -> Reference:
    """The image by its digest, which no tag moves meanwhile, as far as its registry tells.

    An image that was loaded into a node needs none. Raises ImageMissing where its registry says that it has none such
    and no node has.
    """
    try:
        digest = registry.digest(reference)
    except RegistryFailed as error:
        if not on_a_node(reference, cluster):
            text = (
                f"whether {reference} is there cannot be told from here, and the nodes may reach more: {error.reason}"
            )
            tell(Note(text, hint=error.hint))
        return reference
    if digest:
        return reference if reference.digest else reference.pinned(digest)
    if on_a_node(reference, cluster):
        return reference
    raise ImageMissing(str(reference))


def on_a_node(reference: Reference, cluster: Cluster) -> bool:
    """Whether a node has it, or may have it among those that it does not name."""
    try:
        nodes = cluster.list(NODE)
    except NoCluster:
        raise
    except ClusterFailed:
        return False
    held = [(node.get("status") or {}).get("images") or () for node in nodes]
    names = (name for images in held for one in images for name in one.get("names") or ())
    return any(len(images) >= LISTED for images in held) or any(same(name, reference) for name in names)


def same(name: str, reference: Reference) -> bool:
    try:
        other = Reference.parse(name)
    except ImageNameRefused:
        return False  # what containerd calls an image that has no name
    meant = reference.digest or reference.tag or "latest"
    return (other.host, other.path, other.digest or other.tag) == (reference.host, reference.path, meant)
