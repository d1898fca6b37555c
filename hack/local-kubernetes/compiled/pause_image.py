"""Write the image of the pause container: one static program that waits, packed as docker-archive."""

import argparse
import hashlib
import io
import json
import pathlib
import tarfile


def tar_of(files: dict[str, tuple[bytes, int]]) -> bytes:
    """Return a tar archive of files given as name -> (content, mode)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, (content, mode) in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), mode
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def pause_image(program: bytes, name: str) -> bytes:
    """Return an image called name that runs `catatonit -P`: wait for a signal, reap children."""
    layer = tar_of({"catatonit": (program, 0o755)})
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": ["/catatonit", "-P"]},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    return tar_of(
        {
            "layer.tar": (layer, 0o644),
            "config.json": (json.dumps(config).encode(), 0o644),
            "manifest.json": (json.dumps(manifest).encode(), 0o644),
        }
    )


def main() -> None:
    """Read the program, write the image."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("name")
    parser.add_argument("output", type=pathlib.Path)
    arguments = parser.parse_args()
    arguments.output.write_bytes(pause_image(arguments.program.read_bytes(), arguments.name))


if __name__ == "__main__":
    main()
