"""The image of the pause container (hack/local-kubernetes/compiled/pause_image.py)."""

import hashlib
import io
import json
import tarfile

import pause_image


def test_the_image_names_its_program_and_its_layer() -> None:
    with tarfile.open(fileobj=io.BytesIO(pause_image.pause_image(b"program", "localhost/pause:1"))) as image:
        files = {member.name: stream.read() for member in image if (stream := image.extractfile(member)) is not None}
    (manifest,) = json.loads(files["manifest.json"])
    assert manifest["RepoTags"] == ["localhost/pause:1"]
    config = json.loads(files[manifest["Config"]])
    layer = files[manifest["Layers"][0]]
    assert config["rootfs"]["diff_ids"] == ["sha256:" + hashlib.sha256(layer).hexdigest()]
    with tarfile.open(fileobj=io.BytesIO(layer)) as content:
        program = content.getmember(config["config"]["Entrypoint"][0].lstrip("/"))
        assert program.mode == 0o755
