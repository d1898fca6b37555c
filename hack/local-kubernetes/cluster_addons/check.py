"""Exit with 0 if a name server resolves a name: python -m cluster_addons.check ADDRESS NAME."""

import sys

from dnslib import DNSRecord


def main() -> None:
    """Ask once."""
    address, name = sys.argv[1:]
    try:
        answer = DNSRecord.parse(DNSRecord.question(name).send(address, 53, timeout=2))
    except OSError as error:
        sys.exit(f"{address} does not answer: {error}")
    if not answer.rr:
        sys.exit(f"{address} does not know {name}")


if __name__ == "__main__":
    main()
