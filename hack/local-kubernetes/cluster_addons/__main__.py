"""Run the add-ons: python -m cluster_addons --server ... (see --help)."""

import argparse
import logging
import pathlib
import ssl
import threading

from cluster_addons.api import Api, Mirror
from cluster_addons.names import Names, Responder, serve
from cluster_addons.volumes import VOLUMES_PATH, Provisioner


def main() -> None:
    """Start the mirrors and serve names until the process is ended."""
    parser = argparse.ArgumentParser(prog="cluster_addons", description=__doc__)
    parser.add_argument("--server", required=True, help="URL of the Kubernetes API")
    parser.add_argument("--ca", required=True, help="file of the certificate authority")
    parser.add_argument("--certificate", required=True, help="file of the client certificate")
    parser.add_argument("--key", required=True, help="file of its key")
    parser.add_argument("--node", required=True, help="name of the only node")
    parser.add_argument("--address", required=True, help="where the name server listens (port 53)")
    parser.add_argument("--volumes", required=True, type=pathlib.Path, help="directory of the volumes")
    parser.add_argument("--resolv-conf", default="/etc/resolv.conf", type=pathlib.Path)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")

    context = ssl.create_default_context(cafile=arguments.ca)
    context.load_cert_chain(arguments.certificate, arguments.key)
    api = Api(arguments.server, context)

    services = Mirror(api, "/api/v1/services")
    endpoints = Mirror(api, "/api/v1/endpoints")
    provisioner = Provisioner(api, arguments.node, arguments.volumes)
    claims = Mirror(api, "/api/v1/persistentvolumeclaims", provisioner.claim_changed)
    volumes = Mirror(api, VOLUMES_PATH, provisioner.volume_changed)
    responder = Responder(Names(services, endpoints), arguments.resolv_conf)

    servers = serve(arguments.address, responder)
    for mirror in (services, endpoints, claims, volumes):
        mirror.start()
    threads = [threading.Thread(target=server.serve_forever) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
