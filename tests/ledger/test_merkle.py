"""The tree against RFC 6962's published vectors and against its own definition."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_path,
    inclusion_path,
    leaf_hash,
    root_of_path,
    tree,
    tree_root,
    verify_consistency,
    verify_inclusion,
)

REFUSED = r"leaf|path|hash|trees|tree of"
VECTORS = Path(__file__).parents[2] / "../shared/vectors/merkle/rfc6962"
INCLUSION = sorted(VECTORS.glob("inclusion/**/*.json"))
CONSISTENCY = sorted(VECTORS.glob("consistency/**/*.json"))

if not VECTORS.is_dir():
    VECTORS_MISSING = "the vectors of RFC 6962 are not beside the project"
else:
    VECTORS_MISSING = ""

leaves = st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=70)


def octets(case: dict[str, Any], name: str) -> Any:
    value = case[name]
    if isinstance(value, list) or value is None:
        return [base64.b64decode(each) for each in value or []]
    return base64.b64decode(value)


def slow_root(of: list[bytes]) -> bytes:
    """RFC 6962 §2.1, as it is written."""
    if len(of) == 1:
        return of[0]
    split = 1
    while split * 2 < len(of):
        split *= 2
    halves = slow_root(of[:split]) + slow_root(of[split:])
    return hashlib.sha256(b"\1" + halves).digest()


@pytest.mark.skipif(bool(VECTORS_MISSING), reason=VECTORS_MISSING)
def test_there_are_vectors() -> None:
    assert (len(INCLUSION), len(CONSISTENCY)) == (30, 34)


@pytest.mark.parametrize(
    "path", INCLUSION, ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_inclusion_vectors(path: Path) -> None:
    case = json.loads(path.read_text())

    def verify() -> None:
        verify_inclusion(
            octets(case, "leafHash"),
            index=case["leafIdx"],
            size=case["treeSize"],
            path=octets(case, "proof"),
            root=octets(case, "root"),
        )

    if case["wantErr"]:
        with pytest.raises(ValueError, match=REFUSED):
            verify()
    else:
        verify()


@pytest.mark.parametrize(
    "path", CONSISTENCY, ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_consistency_vectors(path: Path) -> None:
    case = json.loads(path.read_text())

    def verify() -> None:
        verify_consistency(
            size=case["size1"],
            root=octets(case, "root1"),
            later_size=case["size2"],
            later_root=octets(case, "root2"),
            path=octets(case, "proof"),
        )

    if case["wantErr"]:
        with pytest.raises(ValueError, match=REFUSED):
            verify()
    else:
        verify()


def test_the_tree_of_nothing() -> None:
    assert tree_root([]) == EMPTY_ROOT == hashlib.sha256(b"").digest()
    assert tree([]) == (EMPTY_ROOT, [])


@given(leaves)
def test_every_way_to_the_root_is_the_same(of: list[bytes]) -> None:
    root, paths = tree(of)
    assert root == tree_root(of) == slow_root(of)
    for index, (leaf, path) in enumerate(zip(of, paths, strict=True)):
        assert root_of_path(leaf, index, len(of), path) == root


@given(leaves, st.data())
def test_proofs_verify_and_prove_nothing_else(
    of: list[bytes], data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(of) - 1))
    size = data.draw(st.integers(1, len(of)))

    def subtree(start: int, count: int) -> bytes:
        return tree_root(of[start : start + count])

    path = inclusion_path(subtree, index, len(of))
    root = tree_root(of)
    verify_inclusion(of[index], index=index, size=len(of), path=path, root=root)
    steps = consistency_path(subtree, size, len(of))
    early = tree_root(of[:size])
    verify_consistency(
        size=size, root=early, later_size=len(of), later_root=root, path=steps
    )
    for wrong in ([*path, bytes(32)], path[:-1]) if path else ([bytes(32)],):
        with pytest.raises(ValueError, match=REFUSED):
            verify_inclusion(
                of[index], index=index, size=len(of), path=wrong, root=root
            )
    for wrong in ([*steps, bytes(32)], steps[:-1]) if steps else ([bytes(32)],):
        with pytest.raises(ValueError, match=REFUSED):
            verify_consistency(
                size=size, root=early, later_size=len(of), later_root=root, path=wrong
            )


@given(leaves, leaves)
def test_a_tree_that_grows(first: list[bytes], more: list[bytes]) -> None:
    grown = Frontier(first)
    before = grown.copy()
    for leaf in more:
        grown.append(leaf)
    assert grown.root == tree_root([*first, *more])
    assert (before.size, before.root) == (len(first), tree_root(first))


def test_what_is_no_place_in_a_tree() -> None:
    leaf = leaf_hash(b"")
    for index, count, path in ((0, 0, []), (1, 1, []), (-1, 1, []), (0, 2, [b"short"])):
        with pytest.raises(ValueError, match=REFUSED):
            root_of_path(leaf, index, count, path)
    for size, later in ((0, 1), (2, 1)):
        with pytest.raises(ValueError, match="nothing to compare"):
            consistency_path(lambda _, __: leaf, size, later)
    with pytest.raises(ValueError, match="no leaf"):
        inclusion_path(lambda _, __: leaf, 1, 1)
