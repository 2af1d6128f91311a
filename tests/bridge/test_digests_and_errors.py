"""Digests of file trees, and errors for the person who reads them."""

import os
from pathlib import Path

import pytest

from bridge.digests import file_digest, tree_digest, tree_entries
from bridge.errors import AntumbraError, ExperimentFailed, InternalError, UserError


def make_tree(root: Path, names: list[str]) -> Path:
    root.mkdir()
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"content of " + os.fsencode(name))
    (root / "empty").mkdir()
    (root / "link").symlink_to("a/b")
    return root


def test_a_tree_has_the_same_digest_whatever_the_order_times_and_modes(tmp_path: Path) -> None:
    first = make_tree(tmp_path / "first", ["a/b", "a/c", "d", "\udcff"])
    second = make_tree(tmp_path / "second", ["\udcff", "d", "a/c", "a/b"])
    os.utime(second / "d", (0, 0))
    (second / "d").chmod(0o600)
    assert tree_digest(first) == tree_digest(second)
    assert list(tree_entries(first)) == ["a", "a/b", "a/c", "d", "empty", "link", "\udcff"]


def test_every_kind_of_difference_changes_the_digest(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree", ["a/b", "d"])
    digests = [tree_digest(tree)]
    (tree / "d").write_text("other")
    digests.append(tree_digest(tree))
    (tree / "d").rename(tree / "e")
    digests.append(tree_digest(tree))
    (tree / "empty").rmdir()
    digests.append(tree_digest(tree))
    (tree / "link").unlink()
    (tree / "link").symlink_to("a/c")
    digests.append(tree_digest(tree))
    os.mkfifo(tree / "pipe")
    digests.append(tree_digest(tree))
    assert len(set(digests)) == len(digests)
    assert tree_entries(tree)["pipe"] == "special"


def test_a_link_into_the_tree_counts_by_its_name_there(tmp_path: Path) -> None:
    trees = [make_tree(tmp_path / name, ["a/b"]) for name in ("first", "second")]
    for tree in trees:
        (tree / "absolute").symlink_to(tree / "a/b")
    assert tree_digest(trees[0]) == tree_digest(trees[1])
    digests = set()
    for target in (trees[0] / "empty", trees[1] / "a/b", Path("a/b")):
        (trees[0] / "absolute").unlink()
        (trees[0] / "absolute").symlink_to(target)
        digests.add(tree_digest(trees[0]))
    assert len(digests | {tree_digest(trees[1])}) == 4


def test_a_link_to_a_directory_is_not_followed(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree", ["a/b"])
    (tree / "loop").symlink_to(".")
    assert "loop/a" not in tree_entries(tree)


def test_a_file_digest_is_its_sha256(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"")
    assert file_digest(tmp_path / "f").startswith("e3b0c44298fc1c14")


def test_an_error_says_where_what_and_what_would_be_right() -> None:
    error = UserError("unit 'mss' is unknown", where="a.yaml:3: general.stop_time", hint="write 10 ms")
    assert str(error) == "a.yaml:3: general.stop_time: unit 'mss' is unknown (write 10 ms)"
    assert str(UserError("nothing to do")) == "nothing to do"


@pytest.mark.parametrize(
    ("kind", "code"), [(ExperimentFailed, 1), (UserError, 2), (InternalError, 3), (AntumbraError, 3)]
)
def test_the_class_of_an_error_decides_the_exit_code(kind: type[AntumbraError], code: int) -> None:
    assert kind("wrong").exit_code == code
