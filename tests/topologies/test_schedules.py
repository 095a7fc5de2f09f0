"""The edges that the schedules make active."""

import networkx as nx
import numpy as np
import pytest

from topologies import CirculantOptions, CompleteOptions, RingOptions, SequenceOptions, StarOptions

BASES = [RingOptions, CirculantOptions, StarOptions, CompleteOptions]


def activity(topology, rounds=200):
    return np.array([topology.active(round) for round in range(rounds)])


def test_static_has_every_edge_in_every_round():
    topology = RingOptions().build(0)
    assert topology.is_static and activity(topology, 3).all()


@pytest.mark.parametrize("base", BASES)
def test_matchings_are_maximal_and_reach_every_edge(base):
    topology = base(schedule="matching").build(5)
    active = activity(topology)
    for row in active:
        assert nx.is_maximal_matching(topology.graph, set(map(tuple, topology.edges[row].tolist())))
    assert active.any(axis=0).all()
    assert not topology.is_static


def test_matchings_treat_symmetric_edges_alike():
    active = activity(StarOptions(nodes=5, schedule="matching").build(0), 2000)
    np.testing.assert_allclose(active.mean(axis=0), 1 / 4, atol=5 * np.sqrt(3 / 16 / 2000))


def test_failing_edges_fail_as_often_as_said_and_independently():
    topology = CompleteOptions(nodes=6, schedule={"name": "failing", "probability": 0.2}).build(0)
    active = activity(topology, 2000).astype(float)
    np.testing.assert_allclose(active.mean(axis=0), 0.8, atol=5 * np.sqrt(0.16 / 2000))
    correlation = np.corrcoef(active.T) - np.eye(15)
    assert np.abs(correlation).max() < 5 / np.sqrt(2000)
    assert np.abs(np.corrcoef(active[1:].ravel(), active[:-1].ravel())[0, 1]) < 5 / np.sqrt(active.size)
    assert not topology.is_static


@pytest.mark.parametrize("schedule", ["matching", "failing"])
def test_rounds_and_seeds_give_different_draws(schedule):
    options = CompleteOptions(schedule=schedule)
    assert (activity(options.build(0)) != activity(options.build(1))).any()
    assert len(np.unique(activity(options.build(0)), axis=0)) > 50


def test_rounds_share_no_part_of_the_random_stream():
    # Philox gives four numbers per count: keys that overlap show up as a stretch of one round within another
    active = activity(CompleteOptions(nodes=40, schedule={"name": "failing", "probability": 0.5}).build(0), 4)
    first, rest = active[0], active[1:]
    for shift in range(1, 100):
        assert all((first[shift:] != row[:-shift]).mean() > 0.35 for row in rest)


@pytest.mark.parametrize("schedule", ["static", "matching", "failing"])
def test_a_schedule_thins_the_graph_of_the_round(schedule):
    graphs = [nx.cycle_graph(6), nx.star_graph(5), nx.empty_graph(6)]
    whole = activity(SequenceOptions.from_graphs(graphs).build(0), 60)
    active = activity(SequenceOptions.from_graphs(graphs, schedule=schedule).build(0), 60)
    assert not (active & ~whole).any()
    assert active[0::3].any(axis=0).tolist() == whole[0].tolist()
    assert active[1::3].any(axis=0).tolist() == whole[1].tolist()
    if schedule == "matching":
        assert (active[1::3].sum(axis=1) == 1).all() and (active[0::3].sum(axis=1) >= 2).all()
