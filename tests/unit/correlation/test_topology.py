import pickle

import numpy as np
import pytest

from agent.correlation.topology import Topology, TopologySettings
from agent.detection.anomaly import ServiceKey
from agent.detection.red import RedBins, RedKey, RedKind, concat_bins
from agent.telemetry.frames import KIND_CLIENT, SYSTEM_DB, SYSTEM_GEN_AI, SpanFrame, select
from tests.unit.detection.builders import T0, S, Sp, bin_of, frame
from tests.unit.detection.shop import Shop, batches


def at(service: str) -> ServiceKey:
    return ServiceKey("default", "", service)


def shop(service: str) -> ServiceKey:
    return ServiceKey("default", "shop", service)


def learned(*parts: SpanFrame, settings: TopologySettings | None = None) -> Topology:
    topology = Topology(settings)
    for part in parts:
        topology.observe(part)
    return topology


def pairs(topology: Topology) -> list[tuple[str, str]]:
    return [(edge.caller.service, edge.callee.service) for edge in topology.edges()]


PARENT = Sp("front", "GET /", 2.0, span=1)
CHILD = Sp("cart", "GET /cart", 1.9, 0.2, span=2, parent=1, failed=True)


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([frame(PARENT, CHILD)], id="together"),
        pytest.param([frame(PARENT), frame(CHILD)], id="parent first"),
        pytest.param([frame(CHILD), frame(PARENT)], id="child first"),
        pytest.param([frame(CHILD), frame(PARENT), frame(CHILD), frame(PARENT)], id="sent twice"),
    ],
)
def test_a_child_of_another_service_is_a_call(parts: list[SpanFrame]) -> None:
    (edge,) = learned(*parts).edges()
    assert (edge.caller, edge.callee, edge.calls, edge.errors) == (at("front"), at("cart"), 1.0, 1.0)
    assert edge.p50_ns == pytest.approx(0.2 * S, rel=0.13)
    assert edge.first_ns == edge.last_ns == T0 + round(1.9 * S)


def test_spans_of_one_service_are_no_call() -> None:
    assert pairs(learned(frame(PARENT, Sp("front", "render", 1.9, span=2, parent=1)))) == []


def test_equal_span_ids_of_two_traces_are_two_spans() -> None:
    other = Sp("cart", "x", 1.0, span=2, parent=1, trace=9)
    assert pairs(learned(frame(PARENT, other))) == []


def test_children_that_wait_outlive_one_turn_of_the_tables() -> None:
    filler = frame(*(Sp("x", "x", 130.0, span=100 + i) for i in range(10)))
    late = frame(Sp("front", "GET /", 131.0, span=1))
    assert pairs(learned(frame(CHILD), filler, late)) == [("front", "cart")]
    assert pairs(learned(frame(CHILD), filler, frame(Sp("x", "x", 260.0, span=7)), late)) == []


@pytest.mark.parametrize(("system", "node"), [(SYSTEM_DB, "cart:db"), (SYSTEM_GEN_AI, "cart:model")])
def test_what_sends_no_spans_is_a_pseudo_node(system: int, node: str) -> None:
    call = Sp("cart", "SELECT", 1.0, span=3, parent=2, kind=KIND_CLIENT, system=system)
    (edge,) = learned(frame(call)).edges()
    assert (edge.callee.service, edge.pseudo) == (node, True)


def test_a_model_that_answers_is_a_service() -> None:
    call = Sp("assistant", "chat", 1.0, span=3, parent=2, kind=KIND_CLIENT, system=SYSTEM_GEN_AI)
    model = Sp("model", "POST /v1/chat", 0.9, span=4, parent=3)
    assert pairs(learned(frame(call), frame(model))) == [("assistant", "model")]


def test_cycles_end() -> None:
    there = [
        Sp("a", "x", 1.0, span=1),
        Sp("b", "x", 1.0, span=2, parent=1),
        Sp("a", "x", 1.0, span=3, parent=2),
    ]
    topology = learned(frame(*there))
    assert pairs(topology) == [("a", "b"), ("b", "a")]
    assert topology.distance(at("a"), at("z")) is None


def test_distances_in_the_shop() -> None:
    topology = learned(*(spans for _, spans in batches(Shop(1, 60).spans(), 1.0)))
    assert topology.distance(shop("front"), shop("front")) == 0
    assert topology.distance(shop("front"), shop("payment")) == 2
    assert topology.connected(shop("cart"), shop("payment"))
    assert not topology.connected(shop("model"), shop("payment"), within=3)
    assert topology.callers(shop("payment")) == (shop("checkout"),)
    assert shop("catalogue:db") in topology.neighbours(shop("catalogue"))
    assert pairs(topology).count(("assistant", "assistant:model")) == 0


def test_any_order_gives_the_same_edges() -> None:
    spans = Shop(2, 60).spans()
    shuffled = select(spans, np.random.default_rng(1).permutation(len(spans)))
    straight = {(e.caller, e.callee): e.calls for e in learned(spans).edges()}
    assert {(e.caller, e.callee): e.calls for e in learned(shuffled).edges()} == straight


def test_sampling_bounds_the_work_and_keeps_the_counts() -> None:
    spans = Shop(3, 300, rate_hz=40).spans()
    parts = [part for _, part in batches(spans, 1.0)]
    whole = {(e.caller, e.callee): e.calls for e in learned(*parts).edges()}
    topology = learned(*parts, settings=TopologySettings(max_spans_per_s=50))
    assert topology.sample_ratio < 0.5
    for edge in topology.edges():
        if whole[edge.caller, edge.callee] > 2000:
            assert edge.calls == pytest.approx(whole[edge.caller, edge.callee], rel=0.25)


def test_edges_age() -> None:
    topology = learned(frame(PARENT, CHILD), frame(Sp("x", "x", 4000.0)))
    assert pairs(topology) == []
    assert topology.neighbours(at("front")) == ()


def test_a_flood_of_services_is_bounded() -> None:
    spans = [Sp("a", "x", 1.0, span=1), *(Sp(f"s{i}", "x", 1.0, span=2 + i, parent=1) for i in range(50))]
    topology = learned(frame(*spans), settings=TopologySettings(max_edges=10))
    assert len(topology.edges()) <= 10
    assert topology.calls_refused > 0
    assert len(topology.services()) <= 21


def test_goes_on_after_pickling() -> None:
    topology = pickle.loads(pickle.dumps(learned(frame(CHILD), settings=TopologySettings(table_spans=64))))
    topology.observe(frame(PARENT))
    assert pairs(topology) == [("front", "cart")]


def told(caller: str, callee: str, at_s: int = 0, namespace: str = "shop") -> RedBins:
    """Ten calls, three of which fail, as a proxy tells them."""
    return bin_of(at_s, (RedKey(caller, namespace, "default", callee, RedKind.CALLS), [0.2] * 10, 3))


def serving(service: str, namespace: str = "shop") -> RedBins:
    return bin_of(0, (RedKey(service, namespace, "default", "http", RedKind.SERVED), [0.2] * 10, 3))


def meshed(*parts: RedBins, topology: Topology | None = None) -> Topology:
    topology = topology or Topology()
    topology.observe_mesh(concat_bins(parts))
    return topology


def test_calls_that_a_mesh_tells_of_are_edges() -> None:
    (edge,) = meshed(told("front", "cart"), told("front", "cart", 5)).edges()
    assert (edge.caller, edge.callee, edge.calls, edge.errors) == (shop("front"), shop("cart"), 20.0, 6.0)
    assert edge.p50_ns == pytest.approx(0.2 * S, rel=0.13)
    assert (edge.first_ns, edge.last_ns, edge.pseudo) == (T0, T0 + 5 * S, True)


@pytest.mark.parametrize("callee", ["unknown", "…other", "front"])
def test_calls_to_nobody_known_are_no_edge(callee: str) -> None:
    assert meshed(told("front", callee)).edges() == ()


def test_a_service_that_is_called_lies_where_it_serves() -> None:
    (edge,) = meshed(told("front", "cart"), serving("cart", "backend")).edges()
    assert edge.callee == ServiceKey("default", "backend", "cart")


def test_a_service_known_by_its_spans_is_the_same() -> None:
    (edge,) = meshed(told("front", "cart"), serving("cart"), topology=learned(frame(CHILD))).edges()
    assert (edge.callee, edge.pseudo) == (at("cart"), False)


def test_an_edge_that_spans_tell_of_is_left_to_them() -> None:
    topology = meshed(told("front", "cart", 60), topology=learned(frame(PARENT, CHILD)))
    assert [edge.calls for edge in topology.edges()] == [1.0]
    meshed(told("front", "cart", 600), topology=topology)
    assert [edge.calls for edge in topology.edges()] == [11.0]


def test_edges_of_a_mesh_are_bounded_and_counted() -> None:
    topology = meshed(told("a", "b"), told("b", "a"), topology=Topology(TopologySettings(max_edges=1)))
    assert (len(topology.edges()), topology.calls_refused) == (1, 10)
