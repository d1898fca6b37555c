"""The name server of the local cluster (hack/local-kubernetes/cluster_addons/names.py)."""

import pathlib
import socket
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from cluster_addons import names
from dnslib import QTYPE, RCODE, DNSRecord

SERVICES: dict[tuple[str, str], dict[str, Any]] = {
    ("demo", "web"): {"metadata": {"namespace": "demo", "name": "web"}, "spec": {"clusterIP": "10.96.7.7"}},
    ("demo", "heads"): {"metadata": {"namespace": "demo", "name": "heads"}, "spec": {"clusterIP": "None"}},
    ("demo", "eager"): {
        "metadata": {"namespace": "demo", "name": "eager"},
        "spec": {"clusterIP": "None", "publishNotReadyAddresses": True},
    },
    ("demo", "outside"): {
        "metadata": {"namespace": "demo", "name": "outside"},
        "spec": {"type": "ExternalName", "externalName": "web.demo.svc.cluster.local"},
    },
}
SUBSETS = [
    {
        "addresses": [{"ip": "10.244.0.5", "hostname": "head"}, {"ip": "10.244.0.6"}],
        "notReadyAddresses": [{"ip": "10.244.0.7"}],
    }
]
ENDPOINTS: dict[tuple[str, str], dict[str, Any]] = {
    ("demo", "heads"): {"subsets": SUBSETS},
    ("demo", "eager"): {"subsets": SUBSETS},
}


@pytest.fixture
def responder(tmp_path: pathlib.Path) -> names.Responder:
    resolv_conf = tmp_path / "resolv.conf"
    resolv_conf.write_text("")
    table = names.Names(SimpleNamespace(objects=SERVICES), SimpleNamespace(objects=ENDPOINTS))
    return names.Responder(table, resolv_conf)


def ask(responder: names.Responder, name: str, kind: str = "A") -> DNSRecord:
    question = DNSRecord.question(name, kind)
    answer = DNSRecord.parse(responder.respond(question.pack(), over_tcp=False))
    assert answer.header.id == question.header.id
    return answer


@pytest.mark.parametrize(
    ("name", "addresses"),
    [
        ("web.demo.svc.cluster.local", ["10.96.7.7"]),
        ("WEB.demo.svc.Cluster.Local", ["10.96.7.7"]),
        ("heads.demo.svc.cluster.local", ["10.244.0.5", "10.244.0.6"]),
        ("head.heads.demo.svc.cluster.local", ["10.244.0.5"]),
        ("eager.demo.svc.cluster.local", ["10.244.0.5", "10.244.0.6", "10.244.0.7"]),
    ],
)
def test_a_service_name_gives_its_addresses(responder: names.Responder, name: str, addresses: list[str]) -> None:
    answer = ask(responder, name)
    assert answer.header.rcode == RCODE.NOERROR
    assert [str(record.rdata) for record in answer.rr] == addresses


@pytest.mark.parametrize(
    "name",
    [
        "web.other.svc.cluster.local",
        "missing.demo.svc.cluster.local",
        "other.heads.demo.svc.cluster.local",
        "host.web.demo.svc.cluster.local",
        "example.org.demo.svc.cluster.local",
        "web.demo.cluster.local",
        "cluster.local",
    ],
)
def test_an_unknown_cluster_name_is_refused_at_once(responder: names.Responder, name: str) -> None:
    assert ask(responder, name).header.rcode == RCODE.NXDOMAIN


def test_a_known_name_without_ipv6_is_not_unknown(responder: names.Responder) -> None:
    """With NXDOMAIN here, musl and others would take the name for missing altogether."""
    answer = ask(responder, "web.demo.svc.cluster.local", "AAAA")
    assert answer.header.rcode == RCODE.NOERROR
    assert answer.rr == []


def test_an_alias_comes_with_its_addresses(responder: names.Responder) -> None:
    answer = ask(responder, "outside.demo.svc.cluster.local")
    assert [QTYPE[record.rtype] for record in answer.rr] == ["CNAME", "A"]
    assert str(answer.rr[1].rdata) == "10.96.7.7"


def test_an_answer_too_long_for_udp_is_cut_and_says_so(
    responder: names.Responder, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [{"addresses": [{"ip": f"10.244.0.{number}"} for number in range(2, 102)]}]
    monkeypatch.setitem(ENDPOINTS, ("demo", "heads"), {"subsets": many})
    question = DNSRecord.question("heads.demo.svc.cluster.local").pack()
    assert DNSRecord.parse(responder.respond(question, over_tcp=False)).header.tc == 1
    assert len(DNSRecord.parse(responder.respond(question, over_tcp=True)).rr) == 100


def test_other_names_are_asked_from_the_machines_resolver(
    responder: names.Responder, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def first_is_dead(server: str, message: bytes, over_tcp: bool) -> bytes:
        asked.append(server)
        if server == "192.0.2.1":
            raise TimeoutError
        return b"the answer, byte for byte"

    monkeypatch.setattr(names, "ask", first_is_dead)
    responder.resolv_conf.write_text("search x\nnameserver 192.0.2.1\n# no\nnameserver 192.0.2.2\n")
    assert responder.respond(DNSRecord.question("example.org").pack(), over_tcp=False) == b"the answer, byte for byte"
    assert asked == ["192.0.2.1", "192.0.2.2"]


def test_without_a_resolver_the_answer_is_a_failure_not_silence(responder: names.Responder) -> None:
    assert ask(responder, "example.org").header.rcode == RCODE.SERVFAIL


@pytest.mark.parametrize("over_tcp", [False, True])
def test_it_serves_udp_and_tcp(responder: names.Responder, monkeypatch: pytest.MonkeyPatch, over_tcp: bool) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setattr(names, "DNS_PORT", port)
    servers = names.serve("127.0.0.1", responder)
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        question = DNSRecord.question("web.demo.svc.cluster.local")
        answer = DNSRecord.parse(question.send("127.0.0.1", port, tcp=over_tcp, timeout=5))
        assert str(answer.rr[0].rdata) == "10.96.7.7"
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
