"""Run the provisioner: python -m volume_provisioner --server ... (see --help)."""

import argparse
import logging
import pathlib
import ssl

from volume_provisioner.api import Api, Mirror
from volume_provisioner.volumes import VOLUMES_PATH, Provisioner


def main() -> None:
    """Follow claims and volumes until the process is ended."""
    parser = argparse.ArgumentParser(prog="volume_provisioner", description=__doc__)
    parser.add_argument("--server", required=True, help="URL of the Kubernetes API")
    parser.add_argument("--ca", required=True, help="file of the certificate authority")
    parser.add_argument("--certificate", required=True, help="file of the client certificate")
    parser.add_argument("--key", required=True, help="file of its key")
    parser.add_argument("--volumes", required=True, type=pathlib.Path, help="directory of the volumes")
    parser.add_argument("--nodes", required=True, nargs="+", help="names of the nodes that see this directory")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")

    context = ssl.create_default_context(cafile=arguments.ca)
    context.load_cert_chain(arguments.certificate, arguments.key)
    api = Api(arguments.server, context)

    provisioner = Provisioner(api, arguments.nodes, arguments.volumes)
    mirrors = [
        Mirror(api, "/api/v1/persistentvolumeclaims", provisioner.claim_changed),
        Mirror(api, VOLUMES_PATH, provisioner.volume_changed),
    ]
    for thread in [mirror.start() for mirror in mirrors]:
        thread.join()


if __name__ == "__main__":
    main()
