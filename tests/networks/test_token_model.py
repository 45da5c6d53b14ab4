"""DALL-E's transformer: what each token depends on, and how large the published ones are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from limner.config import TokenModelSettings
from limner.discrete import sequences
from limner.discrete.sequences import Vocabulary
from limner.errors import ShapeError
from limner.networks import patterns
from limner.networks.building import build, hollow
from limner.networks.patterns import Grid
from limner.networks.token_model import TokenModel

COUNTS = json.loads((Path(__file__).parents[1] / "golden" / "manifests" / "paper_param_counts.json").read_text())
TINY = TokenModelSettings(words=20, text=2, codes=9, rows=4, cols=3, width=8, depth=3, heads=2, kernel=1)


def model(settings: TokenModelSettings) -> TokenModel:
    torch.manual_seed(0)
    return TokenModel(settings).double()


def reach(net: TokenModel) -> torch.Tensor:
    """Which tokens the logits behind each token depend on, by gradient. Shapes: -> [L L] bool."""
    length = net.settings.length
    logits, _ = net(torch.arange(length)[None])  # every place has an id of its own, and so a row of the table
    rows = []
    for each in logits[0]:
        (slope,) = torch.autograd.grad(each.square().sum(), net.tokens.weight, retain_graph=True)
        rows.append(slope[:length].abs().sum(1) > 0)
    return torch.stack(rows)


@pytest.mark.parametrize(
    "changed", [{}, {"depth": 1, "kernel": 3}, {"depth": 2, "rows": 3, "cols": 5}, {"text": 4, "kernel": 3}]
)
def test_logits_depend_on_exactly_what_the_patterns_of_the_layers_let_through(changed: dict[str, int]) -> None:
    settings = TINY.model_copy(update=changed)
    grid = Grid(settings.text, settings.rows, settings.cols)
    seen = torch.eye(grid.length)
    for kind in patterns.kinds(settings.depth):
        seen = patterns.of(kind, grid, settings.kernel).float() @ seen
    assert torch.equal(reach(model(settings)), seen > 0)


def test_no_token_depends_on_a_later_one() -> None:
    assert not bool(reach(model(TINY)).triu(1).any())


@pytest.mark.parametrize("cuts", [(1,) * 14, (2, 12), (5, 1, 8)])
def test_tokens_handed_in_piece_by_piece_give_what_all_at_once_give(cuts: tuple[int, ...]) -> None:
    net = model(TINY)
    ids = torch.randint(0, TINY.size, (2, TINY.length), generator=torch.Generator().manual_seed(1))
    parts, past = [], ()
    for some in ids.split(cuts, dim=1):
        logits, past = net(some, past)
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, dim=1), net(ids)[0])


def test_the_rows_and_columns_of_the_picture_are_told_apart() -> None:
    net = model(TINY)
    places = net._places()
    assert len(torch.unique(places, dim=0)) == TINY.length
    torch.testing.assert_close(places[2 + 3 * 2 + 1], net.rows.weight[2] + net.cols.weight[1])


def test_it_learns_a_sequence_with_the_loss_of_both_kinds() -> None:
    vocabulary = Vocabulary(TINY.words, TINY.text, TINY.codes)
    net = model(TINY)
    text = sequences.padded(torch.tensor([[3, 0]]), torch.tensor([1]), vocabulary)
    labels = sequences.joined(text, torch.arange(12)[None] % TINY.codes, vocabulary)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.02)
    losses = []
    for _ in range(30):
        loss = sequences.token_loss(net(labels[:, :-1])[0], labels[:, 1:], vocabulary, first=1)
        optimiser.zero_grad()
        loss.total.backward()
        optimiser.step()
        losses.append(loss.total.item())
    assert losses[-1] < losses[0] / 10


def test_more_tokens_than_the_sequence_has_are_refused() -> None:
    net = model(TINY)
    _, past = net(torch.zeros(1, 13, dtype=torch.int64))
    with pytest.raises(ShapeError, match=r"N at most 1 behind 13 others; got \[1, 2\]"):
        net(torch.zeros(1, 2, dtype=torch.int64), past)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="width 8 is not a multiple of heads 3"):
        TokenModelSettings(width=8, heads=3)


def test_the_sequence_has_as_many_ids_as_the_vocabulary_it_is_scored_with() -> None:
    assert TINY.size == Vocabulary(TINY.words, TINY.text, TINY.codes).size
    assert TINY.length == Grid(TINY.text, TINY.rows, TINY.cols).length


def test_the_default_is_the_twelve_billion_of_the_paper() -> None:
    net = hollow(build, TokenModelSettings())
    blocks = sum(p.numel() for name, p in net.named_parameters() if name.startswith("blocks."))
    out = sum(p.numel() for name, p in net.named_parameters() if name.startswith(("norm.", "head.")))
    assert blocks == COUNTS["dalle1_12b_blocks_64"]
    assert out == COUNTS["dalle1_12b_unembedding"]
    assert sum(p.numel() for p in net.parameters()) == COUNTS["dalle1_12b_total"]


@pytest.mark.parametrize(("width", "name"), [(1920, "dalle1_2.8b_blocks_64"), (2688, "dalle1_5.6b_blocks_64")])
def test_the_smaller_studied_sizes_have_the_published_blocks(width: int, name: str) -> None:
    net = hollow(TokenModel, TokenModelSettings(width=width, heads=width // 64))
    assert sum(p.numel() for p in net.blocks.parameters()) == COUNTS[name]
