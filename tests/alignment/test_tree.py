"""Trees that tie the states of triphones: every triphone finds its leaf, and files bring back the same tree."""

import json
from itertools import product

import numpy as np
from conftest import random_tree

from kd_asr.alignment.topology import Topology
from kd_asr.alignment.tree import Leaf, Node, Root, Split, StateTree, leaves

PHONES = ("SIL", "SPN", "A0", "A1", "B", "C")


def walk(tree: StateTree, left: str, phone: str, right: str, state: int) -> int:
    """The leaf of a triphone, one question after the other."""
    (node,) = (root.states[state] for root in tree.roots if phone in root.phones)
    while not isinstance(node, Leaf):
        asked = {"left": left, "phone": phone, "right": right}[node.place]
        node = node.yes if asked in tree.questions[node.question] else node.no
    return node.pdf


def test_every_triphone_finds_the_leaf_its_answers_lead_to() -> None:
    for seed in range(5):
        tree = random_tree(PHONES, seed)
        topology = Topology.uniform(PHONES, tree=tree)
        found = set()
        for left, phone, right in product(PHONES, repeat=3):
            expected = tuple(walk(tree, left, phone, right, state) for state in range(3))
            assert topology.pdfs(phone, left, right) == expected
            assert topology.pdf(phone, 1, left, right) == expected[1]
            found |= set(expected)
        assert found <= set(range(topology.num_pdfs))


def test_monophones_share_their_states_in_all_positions() -> None:
    phones = ("SIL", "SPN", "A0_B", "A0_E", "A1_I", "B_S")
    topology = Topology.uniform(phones)
    assert topology.num_pdfs == 3 * 5
    pdfs = {phone: topology.pdfs(phone) for phone in phones}
    assert pdfs["A0_B"] == pdfs["A0_E"] == (6, 7, 8)
    assert (pdfs["SPN"], pdfs["A1_I"], pdfs["B_S"]) == ((3, 4, 5), (9, 10, 11), (12, 13, 14))
    # Tied, they may differ, in themselves and as neighbours.
    leaf = [Leaf(number, 1) for number in range(9)]
    last = Split("phone", "position-E", 1.0, leaf[6], Split("left", "position-S", 1.0, leaf[7], leaf[8]))
    roots = [(("SIL",), (leaf[0], leaf[0], leaf[0])), (("A0_B", "A0_E", "A1_I"), (leaf[4], leaf[5], last))]
    questions = {"position-E": ("A0_E",), "position-S": ("B_S",)}
    tied = Topology.uniform(phones, tree=StateTree(questions, tuple(Root(*root) for root in roots)))
    assert tied.pdfs("A0_E", "SIL", "SIL") == (4, 5, 6)
    assert tied.pdfs("A0_B", "B_S", "A0_E") == (4, 5, 7)
    assert tied.pdfs("A0_B", "SIL", "A0_E") == (4, 5, 8)


def test_the_leaves_are_numbered_from_left_to_right() -> None:
    tree = random_tree(PHONES, 3)
    pdfs = [leaf.pdf for root in tree.roots for node in root.states for leaf in leaves(node)]
    assert pdfs == list(range(tree.num_pdfs))
    assert Topology.uniform(PHONES, tree=tree).num_pdfs == tree.num_pdfs


def test_tree_and_topology_survive_their_file(tmp_path) -> None:
    tree = random_tree(PHONES, 1)
    assert StateTree.from_json(json.loads(json.dumps(tree.to_json()))) == tree
    topology = Topology.uniform(PHONES, tree=tree).with_self_loop(np.linspace(0.1, 0.9, tree.num_pdfs) ** 3)
    topology.save(tmp_path / "topology.json")
    assert Topology.load(tmp_path / "topology.json") == topology


def test_the_file_can_be_read_by_people() -> None:
    """A node names what it asks; a leaf is a pdf with its frames."""

    def check(fields: dict, node: Node) -> None:
        if isinstance(node, Leaf):
            assert fields == {"pdf": node.pdf, "frames": node.frames}
            return
        assert (fields["place"], fields["question"]) == (node.place, node.question)
        check(fields["yes"], node.yes)
        check(fields["no"], node.no)

    tree = random_tree(PHONES, 2)
    for fields, root in zip(tree.to_json()["roots"], tree.roots, strict=True):
        assert fields["phones"] == list(root.phones)
        for state, node in zip(fields["states"], root.states, strict=True):
            check(state, node)
