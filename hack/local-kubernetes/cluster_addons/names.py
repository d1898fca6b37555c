"""The cluster's name server: services by name, everything else from the machine's own resolver."""

import logging
import pathlib
import socket
import socketserver
import struct
from typing import Any, Protocol

from dnslib import CNAME, QTYPE, RCODE, RR, A, DNSError, DNSQuestion, DNSRecord

from cluster_addons.api import Key, Object

log = logging.getLogger(__name__)

CLUSTER_DOMAIN = "cluster.local"
TTL_SECONDS = 5
UPSTREAM_SECONDS = 3
DNS_PORT = 53
PLAIN_UDP_BYTES = 512
EDNS_UDP_BYTES = 1232


class Table(Protocol):
    """Kubernetes objects by (namespace, name)."""

    objects: dict[Key, Object]


class Names:
    """Knows the names below cluster.local, from live tables of services and endpoints."""

    def __init__(self, services: Table, endpoints: Table) -> None:
        self.services = services
        self.endpoints = endpoints

    def addresses(self, name: str) -> list[str] | None:
        """Return the addresses of [HOST.]SERVICE.NAMESPACE.svc.cluster.local, None if there is no such name."""
        labels = name.removesuffix("." + CLUSTER_DOMAIN).split(".")
        if labels[-1] != "svc" or len(labels) not in (3, 4):
            return None
        *host, service_name, namespace, _ = labels
        service = self.services.objects.get((namespace, service_name))
        if service is None:
            return None
        cluster_ip = service["spec"].get("clusterIP")
        if cluster_ip != "None":
            return [cluster_ip] if cluster_ip and not host else None
        found = self._endpoint_addresses(service, host[0] if host else None)
        return None if host and not found else found

    def alias(self, name: str) -> str | None:
        """Return what an ExternalName service points to."""
        labels = name.removesuffix("." + CLUSTER_DOMAIN).split(".")
        if labels[-1] != "svc" or len(labels) != 3:
            return None
        service = self.services.objects.get((labels[1], labels[0]), {})
        target: str | None = service.get("spec", {}).get("externalName")
        return target

    def _endpoint_addresses(self, service: Object, host: str | None) -> list[str]:
        metadata = service["metadata"]
        endpoints = self.endpoints.objects.get((metadata["namespace"], metadata["name"]), {})
        states = ["addresses"]
        if service["spec"].get("publishNotReadyAddresses"):
            states.append("notReadyAddresses")
        return [
            address["ip"]
            for subset in endpoints.get("subsets") or []
            for state in states
            for address in subset.get(state) or []
            if host is None or address.get("hostname") == host
        ]


def is_cluster_name(name: str) -> bool:
    """Tell whether the cluster alone knows the name."""
    return name == CLUSTER_DOMAIN or name.endswith("." + CLUSTER_DOMAIN)


def question_name(query: DNSRecord) -> str:
    """Return the name asked for, without the last dot."""
    return str(query.q.qname).rstrip(".").lower()


def answer_from_cluster(query: DNSRecord, names: Names) -> DNSRecord:
    """Answer a question below cluster.local."""
    reply = query.reply()
    reply.header.ra = 1
    name = question_name(query)
    alias = names.alias(name)
    addresses = names.addresses(name)
    if alias is not None:
        reply.add_answer(RR(query.q.qname, QTYPE.CNAME, ttl=TTL_SECONDS, rdata=CNAME(alias)))
    elif addresses is None:
        reply.header.rcode = RCODE.NXDOMAIN
    elif query.q.qtype in (QTYPE.A, QTYPE.ANY):
        for address in addresses:
            reply.add_answer(RR(query.q.qname, QTYPE.A, ttl=TTL_SECONDS, rdata=A(address)))
    return reply


def upstream_servers(resolv_conf: str) -> list[str]:
    """Return the name servers of a resolv.conf."""
    lines = [line.split() for line in resolv_conf.splitlines()]
    return [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"]


def read_exactly(connection: socket.socket, count: int) -> bytes:
    """Read count bytes, in as many parts as they come."""
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            raise ConnectionError("the connection ended in the middle of a message")
        data += part
    return data


def read_message(connection: socket.socket) -> bytes:
    """Read one DNS message from a TCP connection: two bytes of length, then the message."""
    (length,) = struct.unpack("!H", read_exactly(connection, 2))
    return read_exactly(connection, length)


def ask(server: str, message: bytes, over_tcp: bool) -> bytes:
    """Send a message to another name server and return its answer as it is."""
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    kind = socket.SOCK_STREAM if over_tcp else socket.SOCK_DGRAM
    with socket.socket(family, kind) as connection:
        connection.settimeout(UPSTREAM_SECONDS)
        connection.connect((server, DNS_PORT))
        if over_tcp:
            connection.sendall(struct.pack("!H", len(message)) + message)
            return read_message(connection)
        connection.send(message)
        while True:
            answer = connection.recv(65535)
            if answer[:2] == message[:2]:
                return answer


class Responder:
    """Turns the bytes of a query into the bytes of its answer."""

    def __init__(self, names: Names, resolv_conf: pathlib.Path) -> None:
        self.names = names
        self.resolv_conf = resolv_conf

    def respond(self, message: bytes, over_tcp: bool) -> bytes:
        """Answer from the cluster's names, or ask the machine's name servers."""
        query = DNSRecord.parse(message)
        if not is_cluster_name(question_name(query)):
            return self._forward(query, message, over_tcp)
        reply = answer_from_cluster(query, self.names)
        alias = self.names.alias(question_name(query))
        if alias is not None:
            # Resolvers in C libraries do not follow an alias: the addresses must come with it.
            target = DNSRecord(q=DNSQuestion(alias, query.q.qtype))
            reply.add_answer(*DNSRecord.parse(self.respond(target.pack(), over_tcp)).rr)
        packed: bytes = reply.pack()
        if not over_tcp and len(packed) > (EDNS_UDP_BYTES if query.ar else PLAIN_UDP_BYTES):
            packed = reply.truncate().pack()
        return packed

    def _forward(self, query: DNSRecord, message: bytes, over_tcp: bool) -> bytes:
        # Read each time: a laptop changes networks.
        for server in upstream_servers(self.resolv_conf.read_text()):
            try:
                return ask(server, message, over_tcp)
            except OSError as error:
                log.warning("%s by %s: %s", question_name(query), server, error)
        reply = query.reply()
        reply.header.rcode = RCODE.SERVFAIL
        packed: bytes = reply.pack()
        return packed


def serve(address: str, responder: Responder) -> list[socketserver.BaseServer]:
    """Bind address for UDP and TCP."""

    class UdpHandler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            message, server_socket = self.request
            try:
                server_socket.sendto(responder.respond(message, over_tcp=False), self.client_address)
            except (DNSError, OSError) as error:
                log.warning("query from %s: %s", self.client_address[0], error)

    class TcpHandler(socketserver.BaseRequestHandler):
        request: Any

        def handle(self) -> None:
            self.request.settimeout(10)
            try:
                answer = responder.respond(read_message(self.request), over_tcp=True)
                self.request.sendall(struct.pack("!H", len(answer)) + answer)
            except (DNSError, OSError) as error:
                log.warning("query from %s: %s", self.client_address[0], error)

    class UdpServer(socketserver.ThreadingUDPServer):
        daemon_threads = True

    class TcpServer(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    return [UdpServer((address, DNS_PORT), UdpHandler), TcpServer((address, DNS_PORT), TcpHandler)]
